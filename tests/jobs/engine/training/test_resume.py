"""A run that was interrupted ends bit for bit as one that was not, on the CPU, whatever the interruption."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch

from experiments import spec
from experiments.errors import UnreachableError
from experiments.identity import run_id
from jobs import checkpoint_files
from jobs.engine import checkpoint_format
from jobs.errors import Stopped
from jobs.journal.records import Resumed

pytestmark = pytest.mark.fault

STEPS = 24
ADVERSARY = spec.PgdAdversary(norm="l2", eps=0.5, steps=2, step_size=0.3)
GATED = spec.GatedJumpStart(epochs=1, threshold=0.05)
VAMP = spec.Vib(rho=1.0, covariance="full", bottleneck_dim=3, marginal=spec.Marginal(name="vamp", components=2))
NORMED = spec.WideResNet(blocks=1, width=1, norm="batch", z_dim=4)
TRANSFORMER = spec.Timm(
    model="test_vit", args='{"attn_drop_rate":0.2,"drop_path_rate":0.3,"patch_drop_rate":0.25}', input_size=32
)
"""Its patch dropout draws from torch's own generator."""


class Killed(BaseException):
    """Stands for SIGKILL: nothing gets written any more."""


def content(run: spec.Run, folder: Path) -> dict[str, Any]:
    loaded = checkpoint_format.load_newest(run, folder)
    assert loaded is not None and loaded.step == STEPS
    return loaded.state


def assert_same(one: Any, other: Any, where: str = "checkpoint") -> None:
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}[{number}]")
    else:
        assert one == other, where


def stop() -> bool:
    return True


def kill() -> bool:
    raise Killed


def interrupt(attempt: Any, run: spec.Run, steps: int, how: Callable[[], bool], checkpoint_seconds: float) -> bool:
    """One attempt, interrupted after so many steps; True if it got to the end before."""
    left = iter(range(steps - 1))
    try:
        attempt(run, lambda: how() if next(left, None) is None else False, checkpoint_seconds)
    except (Stopped, Killed):
        return False
    return True


def to_the_end(attempt: Any, run: spec.Run) -> dict[str, Any]:
    attempt(run)
    return content(run, attempt.paths.checkpoints)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"objective": spec.Xent(), "adversary": ADVERSARY},
        {"objective": spec.Vib(rho=1.0), "network": NORMED, "optimiser": spec.Sgd(lr=0.01, weight_decay=1e-4)},
        {"objective": spec.Cceb(rho=0.0, jump_start=GATED), "precision": "bf16"},
        {
            "network": NORMED,
            "optimiser": spec.RAdam(beta2=0.9),
            "schedule": spec.Schedule(name="one_cycle"),
            "ema_decay": 0.9,
            "ema_every": 2,
            "ema_form": "tensorflow",
            "clip_norm": 1.0,
            "label_smoothing": 0.1,
            "data": spec.Data(
                name="digits", train_subset=60, augment=spec.AugMix(), erasing=0.5, mixup=0.4, cutmix=1.0
            ),
        },
        {"network": TRANSFORMER},
        {"objective": VAMP, "network": NORMED},
        {"objective": spec.Ceb(rho=1.0, covariance="diagonal", marginal=spec.Marginal(name="diagonal_mixture"))},
    ],
    ids=[
        "ceb, adam",
        "xent, adversary",
        "vib, sgd, batch norm",
        "cceb, gated, bf16",
        "average, clipping, radam",
        "a transformer of timm",
        "full covariance, vamp",
        "diagonal covariance",
    ],
)
def test_stopped_after_every_single_step(new_attempt: Any, change: Callable[..., spec.Run], fields: Any) -> None:
    if fields.get("network") is TRANSFORMER:
        pytest.importorskip("timm")
    run = change(**fields)
    stopped = new_attempt("stopped")
    while not interrupt(stopped, run, 1, stop, 60.0):
        pass
    assert stopped.attempt == STEPS
    assert_same(content(run, stopped.paths.checkpoints), to_the_end(new_attempt("whole"), run))


def at_random(new_attempt: Any, run: spec.Run, interruptions: int, seed: int) -> None:
    """Stops and kills at random steps, some with a checkpoint at every step, some with none but the last."""
    draw = random.Random(seed)
    broken = new_attempt("broken")
    for _ in range(interruptions):
        interrupt(broken, run, draw.randint(1, 8), draw.choice([stop, kill]), draw.choice([0.0, 60.0]))
    assert_same(to_the_end(broken, run), to_the_end(new_attempt("whole"), run))


@pytest.mark.parametrize("seed", range(3))
def test_interrupted_three_times_at_random(new_attempt: Any, tiny: spec.Run, seed: int) -> None:
    at_random(new_attempt, tiny, 3, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_interrupted_ten_times_at_random(new_attempt: Any, tiny: spec.Run, seed: int) -> None:
    at_random(new_attempt, tiny, 10, seed)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip, empty])
@pytest.mark.parametrize("files", [1, 2], ids=["the newest", "both"])
def test_a_damaged_checkpoint_costs_steps_and_nothing_else(
    new_attempt: Any, tiny: spec.Run, damage: Callable[[Path], None], files: int
) -> None:
    broken = new_attempt("broken")
    assert not interrupt(broken, tiny, 10, kill, 0.0)
    for path in sorted(broken.paths.checkpoints.glob("*.pt"))[-files:]:
        damage(path)
    # Stopped again before it is as far as the damaged ones: what it writes now must be kept, not they.
    assert not interrupt(broken, tiny, 1, stop, 60.0)
    at = checkpoint_format.load_model(tiny, broken.paths.checkpoints).step
    assert at == (9 if files == 1 else 1)
    assert len(list(broken.paths.checkpoints.glob("*.broken"))) == files
    assert_same(to_the_end(broken, tiny), to_the_end(new_attempt("whole"), tiny))


def test_a_reader_falls_back_and_changes_nothing(attempt: Any, tiny: spec.Run) -> None:
    attempt(tiny, checkpoint_seconds=0)
    older, newest = sorted(attempt.paths.checkpoints.iterdir())
    truncate(newest)
    at = checkpoint_format.load_model(tiny, attempt.paths.checkpoints).step
    assert at == STEPS - 1
    assert sorted(attempt.paths.checkpoints.iterdir()) == [older, newest]


class Hostile:
    """A pickle that would run something."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


WRONG = {
    "no archive": b"e is not a pickle",
    "a number of a memo that is not there": b"\x80\x02he.",
    "an end in the middle": b"\x80\x02}q\x00(X\x06\x00\x00\x00run_id",
    "a list": [1, 2],
    "no optimiser": {"model": {}},
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_content_that_is_no_checkpoint_is_passed_over_by_name(
    new_attempt: Any, tiny: spec.Run, content: Any, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = new_attempt("wrong")
    assert not interrupt(wrong, tiny, 10, kill, 0.0)
    newest = sorted(wrong.paths.checkpoints.glob("*.pt"))[-1]
    newest.unlink()

    def dump(file: BinaryIO) -> None:
        if isinstance(content, bytes):
            file.write(content)
        else:
            torch.save({"run_id": run_id(tiny), **content} if isinstance(content, dict) else content, file)

    path = checkpoint_files.write(wrong.paths.checkpoints, 10, dump)
    assert_same(to_the_end(wrong, tiny), to_the_end(new_attempt("whole"), tiny))
    assert str(path) in caplog.text and path.with_suffix(".broken").exists()


@pytest.mark.parametrize("step", [12, STEPS], ids=["further", "the last"])
def test_a_checkpoint_is_of_the_step_that_it_holds_whatever_its_name(
    new_attempt: Any, tiny: spec.Run, step: int
) -> None:
    renamed = new_attempt("renamed")
    assert not interrupt(renamed, tiny, 10, kill, 0.0)
    newest = sorted(renamed.paths.checkpoints.glob("*.pt"))[-1]
    newest.rename(newest.with_name(f"{step:09d}{newest.name[9:]}"))
    assert checkpoint_format.load_model(tiny, renamed.paths.checkpoints).step == 8
    assert_same(to_the_end(renamed, tiny), to_the_end(new_attempt("whole"), tiny))


def test_a_checkpoint_of_an_earlier_commit_holds_no_step(attempt: Any, tiny: spec.Run) -> None:
    attempt(tiny)
    loaded = checkpoint_format.load_newest(tiny, attempt.paths.checkpoints)
    assert loaded and loaded.state["steps_done"] == STEPS and loaded.state["numerics"]
    loaded.file.unlink()
    older = {key: value for key, value in loaded.state.items() if key not in ("steps_done", "numerics")}
    checkpoint_format.write(attempt.paths.checkpoints, STEPS, older)
    assert checkpoint_format.load_model(tiny, attempt.paths.checkpoints).step == STEPS


def test_a_failed_read_ends_the_attempt_and_sets_nothing_aside(new_attempt: Any, tiny: spec.Run) -> None:
    unread = new_attempt("unread")
    assert not interrupt(unread, tiny, 10, kill, 0.0)
    newest = sorted(unread.paths.checkpoints.glob("*.pt"))[-1]
    newest.rename(newest.with_suffix(".away"))
    newest.symlink_to("/proc/self/mem")  # whose first page is read as EIO
    before = sorted(unread.paths.checkpoints.iterdir())
    with pytest.raises(UnreachableError, match=f"{newest.name}: can't be read: Input/output error"):
        unread(tiny)
    with pytest.raises(UnreachableError):
        checkpoint_format.load_model(tiny, unread.paths.checkpoints)
    assert sorted(unread.paths.checkpoints.iterdir()) == before
    newest.with_suffix(".away").rename(newest)
    assert_same(to_the_end(unread, tiny), to_the_end(new_attempt("whole"), tiny))


def test_the_journal_says_from_which_checkpoint_training_went_on(new_attempt: Any, tiny: spec.Run) -> None:
    resumed = new_attempt("resumed")
    assert not interrupt(resumed, tiny, 10, kill, 0.0)
    older, newest = sorted(resumed.paths.checkpoints.glob("*.pt"))
    truncate(newest)
    records = resumed(tiny)
    assert [(r.step, r.file) for r in records if isinstance(r, Resumed)] == [(8, older.name)]


def test_a_checkpoint_can_carry_no_code(attempt: Any, tiny: spec.Run, tmp_path: Path) -> None:
    """A pickle that would run something is passed over: checkpoints are read as weights only."""
    hostile = Hostile(tmp_path / "ran")
    path = checkpoint_files.write(attempt.paths.checkpoints, 3, lambda file: torch.save({"run_id": hostile}, file))
    attempt(tiny)
    assert not hostile.path.exists() and path.with_suffix(".broken").exists()
