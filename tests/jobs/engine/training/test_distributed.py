"""Training by several processes: what they learn together is what one learns, and they begin and end as one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import distributed, nn

from experiments import datasets, spec
from experiments.errors import InputError
from experiments.identity import run_id
from experiments.resources import Execution
from jobs.engine import checkpoint_format
from jobs.engine.data import FolderImages
from jobs.engine.distributed import Group, translate_peer_loss
from jobs.engine.models import build
from jobs.engine.training.batch_norm_stats import RunningStatistics
from jobs.engine.training.loop import train
from jobs.engine.training.sync_batch_norm import synchronise
from jobs.engine.training.train_state import DEFAULT
from jobs.errors import PeerLostError, Stopped
from jobs.journal.files import Journal, read
from jobs.journal.records import Checkpointed, Metrics, Succeeded
from jobs.paths import RunPaths
from tests.jobs.engine.conftest import TINY
from tests.jobs.engine.training.test_resume import VAMP, assert_same

NORMED = spec.WideResNet(blocks=1, width=1, norm="batch", z_dim=4)
TRANSFORMER = spec.Timm(
    model="test_vit",
    args='{"attn_drop_rate":0.2,"drop_path_rate":0.3,"drop_rate":0.1,"pos_drop_rate":0.1,"proj_drop_rate":0.2}',
    input_size=32,
)
TIMMS_NORMS = spec.Timm(model="test_efficientnet", input_size=32)
"""Its layers are BatchNorm and activation in one."""
MIXED = spec.Data(name="digits", train_subset=60, augment=spec.TrivialAugment(), erasing=0.5, mixup=0.4, cutmix=1.0)
ADVERSARY = spec.PgdAdversary(norm="l2", eps=0.5, steps=2, step_size=0.3)
SGD = spec.Sgd(lr=0.01, weight_decay=1e-4)
COMPILED = msgspec.structs.replace(TINY, precision="fp64", batch=10, replica_batch=3, optimiser=SGD)
ROOT = Path(__file__).parents[4]
DONE, STOPPED, LOST, FAILED = 0, 3, 4, 5
Ask = Callable[[int, int], bool]
"""(rank, steps done) -> whether this process is asked to stop."""


def never(rank: int, steps: int) -> bool:
    return False


def second_at(last: int, rank: int, steps: int) -> bool:
    return rank == 1 and steps == last


def together(world: int, run: spec.Run, paths: RunPaths, ask: Ask = never, seconds: float = 60.0) -> list[int]:
    """Train by so many forked processes, the first with a journal; how each ended."""
    number = paths.next_attempt("train")
    paths.folder.mkdir(parents=True, exist_ok=True)
    children = []
    for rank in range(world):
        child = os.fork()
        if child == 0:
            os._exit(one_of(rank, world, run, paths, number, ask, seconds))
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def one_of(
    rank: int,
    world: int,
    run: spec.Run,
    paths: RunPaths,
    attempt: int,
    ask: Ask = never,
    seconds: float = 60.0,
    execution: Execution = DEFAULT,
) -> int:
    """Train as one of so many processes; how it ended."""
    calls = iter(range(1, 1_000_000))
    journal = Journal(paths.journal("train", attempt)) if rank == 0 else None
    try:
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        warnings.simplefilter("error")  # a user would find it in the log of every process
        with translate_peer_loss():
            meeting = f"file://{paths.folder}/group.{attempt}"
            timeout = timedelta(seconds=60)
            distributed.init_process_group("gloo", meeting, rank=rank, world_size=world, timeout=timeout)
            train(run, paths, journal, paths.folder, "cpu", lambda: ask(rank, next(calls)), seconds, execution)
    except Stopped:
        return STOPPED
    except PeerLostError:
        return LOST
    except BaseException:
        traceback.print_exc()
        return FAILED
    return DONE


def metrics(paths: RunPaths) -> list[dict[str, float | None]]:
    """Of all attempts, what does not depend on time."""
    found = []
    for attempt in paths.attempts("train"):
        for record in read(paths.journal("train", attempt)).records:
            if isinstance(record, Metrics):
                timed = ("images_per_second", "data_wait_share", "memory_mb")
                found.append({name: value for name, value in record.values.items() if name not in timed})
    return found


def state(run: spec.Run, paths: RunPaths) -> dict[str, Any]:
    loaded = checkpoint_format.load_newest(run, paths.checkpoints)
    assert loaded is not None
    return loaded.state


def alone(run: spec.Run, paths: RunPaths) -> None:
    with Journal(paths.journal("train", paths.next_attempt("train"))) as journal:
        train(run, paths, journal, paths.folder, "cpu", lambda: False)


def assert_learned_alike(run: spec.Run, ours: RunPaths, theirs: RunPaths) -> None:
    assert len(metrics(ours)) == len(metrics(theirs))
    for found, expected in zip(metrics(ours), metrics(theirs), strict=True):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    for weights in ("model", "ema") if run.ema_decay else ("model",):
        learned = [state(run, paths)[weights] for paths in (ours, theirs)]
        learned = learned if weights == "model" else [average["tensors"] for average in learned]
        for name, value in learned[0].items():
            torch.testing.assert_close(value, learned[1][name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("world", "fields"),
    [
        (2, {"batch": 9}),
        (3, {"batch": 100, "objective": spec.Cceb(rho=0.0, jump_start=spec.GatedJumpStart(epochs=1, threshold=0.05))}),
        (
            2,
            {"objective": spec.Vib(rho=1.0), "adversary": ADVERSARY},
        ),
        (2, {"objective": spec.Xent(), "network": NORMED, "batch": 10, "replica_batch": 4}),
        (3, {"network": NORMED, "batch": 10, "batch_norm": "sync", "adversary": ADVERSARY, "optimiser": SGD}),
        (
            2,
            {
                "network": NORMED,
                "batch": 9,
                "replica_batch": 3,
                "ema_decay": 0.8,
                "clip_norm": 0.5,
                "label_smoothing": 0.1,
            },
        ),
        (3, {"batch": 10, "objective": spec.Cceb(rho=0.0), "data": MIXED}),
        (2, {"batch": 9, "objective": VAMP}),
        (2, {"network": TRANSFORMER, "batch": 9, "optimiser": SGD}),
        (2, {"network": TIMMS_NORMS, "batch": 10, "batch_norm": "sync", "optimiser": spec.Sgd(lr=1e-5)}),
    ],
    ids=[
        "uneven shares",
        "less data than a batch",
        "adversary",
        "batch norm over parts",
        "batch norm over all",
        "average and clipping",
        "mixtures",
        "full covariance, vamp",
        "dropout of a transformer of timm",
        "batch norm of timm over all",
    ],
)
def test_many_learn_what_one_learns(tmp_path: Path, change: Any, world: int, fields: dict[str, Any]) -> None:
    if isinstance(fields.get("network"), spec.Timm):
        pytest.importorskip("timm")
    run = change(precision="fp64", epochs=2.5, **fields)
    ours, theirs = RunPaths(tmp_path / "ours"), RunPaths(tmp_path / "theirs")
    assert together(world, run, ours) == [DONE] * world
    alone(run, theirs)
    assert_learned_alike(run, ours, theirs)


@pytest.mark.soak  # a minute on two cores
@pytest.mark.usefixtures("compiler")
def test_compiled_many_learn_what_one_learns_uncompiled(tmp_path: Path) -> None:
    ours, theirs = RunPaths(tmp_path / "ours"), RunPaths(tmp_path / "theirs")
    ours.folder.mkdir()
    command = [sys.executable, "-m", "tests.jobs.engine.training.compiled_trial", str(ours.folder)]
    processes = [subprocess.Popen([*command, str(rank), "2"], cwd=ROOT) for rank in range(2)]
    assert [process.wait() for process in processes] == [DONE] * 2
    alone(COMPILED, theirs)
    assert_learned_alike(COMPILED, ours, theirs)


def test_parts_add_up_to_the_batch(tmp_path: Path, change: Any) -> None:
    whole = change(precision="fp64", batch=10)
    parts = change(precision="fp64", batch=10, replica_batch=4)
    ours, theirs = RunPaths(tmp_path / "ours"), RunPaths(tmp_path / "theirs")
    alone(parts, ours)
    alone(whole, theirs)
    for found, expected in zip(metrics(ours), metrics(theirs), strict=True):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("fields", [{}, {"batch_norm": "sync", "precision": "bf16"}], ids=["", "batch norm over all"])
def test_resumed_bit_for_bit_after_a_stop_that_one_process_heard(
    tmp_path: Path, change: Any, fields: dict[str, Any]
) -> None:
    """Every time only the second one hears it, and both stop at the same step."""
    run = change(
        **fields,
        network=NORMED,
        optimiser=spec.Sgd(lr=0.01),
        adversary=spec.PgdAdversary(norm="l2", eps=0.5, steps=1, step_size=0.3),
    )
    stopped, whole = RunPaths(tmp_path / "stopped"), RunPaths(tmp_path / "whole")
    for last in (5, 2, 9):
        assert together(2, run, stopped, partial(second_at, last)) == [STOPPED] * 2
    assert together(2, run, stopped, seconds=0.0) == [DONE] * 2
    assert together(2, run, whole) == [DONE] * 2
    assert_same(state(run, stopped), state(run, whole))
    saved = [
        [record.step for record in read(stopped.journal("train", attempt)).records if isinstance(record, Checkpointed)]
        for attempt in stopped.attempts("train")
    ]
    assert saved == [[5], [7], [16], list(range(17, 25))]


def test_resumed_by_another_number_of_processes(tmp_path: Path, change: Any) -> None:
    run = change(precision="fp64")
    ours, theirs = RunPaths(tmp_path / "ours"), RunPaths(tmp_path / "theirs")
    assert together(2, run, ours, lambda rank, steps: rank == 0 and steps == 5) == [STOPPED] * 2
    assert together(3, run, ours, lambda rank, steps: steps == 6) == [STOPPED] * 3
    alone(run, ours)
    alone(run, theirs)
    assert_learned_alike(run, ours, theirs)


def test_all_begin_where_the_run_they_extend_ended(tmp_path: Path, change: Any) -> None:
    run, longer, whole = change(epochs=1.0), change(epochs=2.0, extends=(1,)), change(epochs=2.0)
    paths = {one: RunPaths(tmp_path / "runs" / run_id(one)) for one in (run, longer, whole)}
    assert together(2, run, paths[run]) == [DONE] * 2
    assert together(2, longer, paths[longer]) == [FAILED, LOST]  # nothing says yet that the first is trained
    with Journal(paths[run].journal("train", 1)) as journal:
        journal.write(Succeeded())
    for one in (longer, whole):
        assert together(2, one, paths[one]) == [DONE] * 2
    assert_same(state(longer, paths[longer])["model"], state(whole, paths[whole])["model"])


def test_a_process_that_is_killed_ends_the_others(tmp_path: Path, tiny: spec.Run) -> None:
    def killed(rank: int, steps: int) -> bool:
        if rank == 1 and steps == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    assert together(2, tiny, RunPaths(tmp_path), killed) == [LOST, -signal.SIGKILL]


@pytest.mark.parametrize(
    "fields",
    [{"batch": 6}, {"network": NORMED, "batch": 12, "replica_batch": 2, "optimiser": SGD}],
    ids=["whole", "batch norm over parts"],
)
def test_images_that_can_not_be_decoded_count_over_all_processes(
    tmp_path: Path, change: Any, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    for number in range(12):
        Image.new("RGB", (32, 32), (20 * number, 90, 10)).save(tmp_path / f"{number}.png")
    for number in (4, 8):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    names_N = np.array([f"{number}.png" for number in range(12)], dtype=np.bytes_)
    info = datasets.info("cifar10")
    images = FolderImages(info, "train", "d", torch.arange(12) % 3, tmp_path, names_N, crop=None)
    monkeypatch.setattr("jobs.engine.data.images.MAX_CORRUPT_SHARE", 0.5)
    monkeypatch.setattr("jobs.engine.training.loop.load", lambda *_: replace(images, corrupt={}))
    run = change(data=spec.Data(name="cifar10"), precision="fp64", epochs=2, **fields)
    ours, theirs = RunPaths(tmp_path / "ours"), RunPaths(tmp_path / "theirs")
    assert together(2, run, ours) == [DONE] * 2
    alone(run, theirs)
    assert_learned_alike(run, ours, theirs)
    assert [values["corrupt_images"] for values in metrics(ours)] == [2, 2]


@given(images=st.integers(1, 300), unit=st.integers(1, 20), size=st.integers(1, 40))
def test_shares_are_disjoint_whole_parts_and_fair(images: int, unit: int, size: int) -> None:
    batch_B = torch.arange(images)
    if -(-images // unit) < size:
        with pytest.raises(InputError, match=f"{size} processes for a batch of {images}"):
            Group(0, size).shard(batch_B, unit)
        return
    shares = [Group(rank, size).shard(batch_B, unit) for rank in range(size)]
    assert torch.equal(torch.cat(shares), batch_B)
    assert all(int(share[0]) % unit == 0 for share in shares)
    assert max(map(len, shares)) - min(map(len, shares)) < 2 * unit


def test_on_gpus_batch_norm_over_all_is_torch_s(change: Any) -> None:
    model = build(change(network=NORMED))
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    synchronise(model, "cuda")
    assert sum(isinstance(module, nn.SyncBatchNorm) for module in model.modules()) == norms > 0


def test_running_statistics_are_the_mean_over_the_parts() -> None:
    norm = nn.BatchNorm1d(3).double()
    model = nn.Sequential(norm, nn.BatchNorm1d(3, affine=False).double())
    norm.running_mean = torch.full((3,), 2.0, dtype=torch.float64)
    x_B3 = torch.randn(10, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    statistics = RunningStatistics(model)
    for part in (x_B3[:4], x_B3[4:]):
        statistics.begin_part()
        model(part)
        statistics.end_part(len(part) / 10)
    statistics.end_step(Group())
    torch.testing.assert_close(norm.running_mean, 0.9 * 2.0 + 0.1 * x_B3.mean(dim=0))
    variances = 0.4 * x_B3[:4].var(dim=0) + 0.6 * x_B3[4:].var(dim=0)
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * variances)
    assert norm.num_batches_tracked == 1
