"""An evaluation by a group of processes: what they find together is what one finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from experiments.errors import InputError
from jobs.engine import checkpoint_format
from jobs.engine.evaluation import evaluate
from jobs.engine.evaluation.sharding import Shard
from jobs.engine.models import build
from jobs.journal.files import Journal, read
from jobs.journal.records import Heartbeat, Result
from jobs.paths import RunPaths
from tests.jobs.engine import group_trial as trial

TRIAL = Path(__file__).parents[1] / "group_trial.py"


def group(paths: RunPaths, *stop: str, **extra: str) -> list[tuple[int, str]]:
    """(exit code, output) of each of two processes."""
    root = Path(__file__).parents[4]
    started = [
        subprocess.Popen(
            [sys.executable, str(TRIAL), str(paths.folder), str(rank), "2", *stop],
            env={"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"} | extra,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    return [(process.wait(), output) for process in started for output in process.communicate()[:1]]


def results(paths: RunPaths) -> list[Result]:
    return [record for record in read(paths.journal("evaluate", 1)).records if isinstance(record, Result)]


def test_a_group_finds_what_one_process_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(evaluate, "_batch_size", lambda images: 50)
    alone, together = RunPaths(tmp_path / "alone"), RunPaths(tmp_path / "together")
    for paths in (alone, together):
        checkpoint_format.write(paths.checkpoints, 7, checkpoint_format.content(trial.RUN, build(trial.RUN)))
    with Journal(alone.journal("evaluate", 1)) as journal, pytest.raises(InputError, match="images in l2"):
        evaluate.evaluate(
            trial.RUN, trial.BENCHMARKS, alone, journal, tmp_path, "cpu", lambda: False, "engine 1", shard=Shard()
        )
    # The second process alone is asked to stop, in its first benchmark: both do.
    assert group(together, "1") == [(0, ""), (0, "")]
    assert not results(together) and len(list(together.partial.iterdir())) == 2
    ends = group(together)
    assert [code for code, _ in ends] == [2, 2] and all("images in l2" in output for _, output in ends)
    assert [one.benchmark for one in results(together)] == [one.benchmark for one in results(alone)]
    for ours, theirs in zip(results(together), results(alone), strict=True):
        assert (ours.measures, ours.per_sample) == (theirs.measures, theirs.per_sample)
    assert not list(together.partial.iterdir())
    beats = [one for one in read(together.journal("evaluate", 1)).records if isinstance(one, Heartbeat)]
    assert {beat.activity for beat in beats} == {
        "clean",
        "information",
        "pgd_linf@eps=0.1,n=2,subset=230,target=random",
    }


def test_all_take_smaller_batches_where_one_lacks_memory(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path / "together")
    checkpoint_format.write(paths.checkpoints, 7, checkpoint_format.content(trial.RUN, build(trial.RUN)))
    ends = group(paths, SCARCE="1")
    assert [code for code, _ in ends] == [2, 2] and all("images in l2" in output for _, output in ends)
    assert "process 1: MemoryError; tried again on 12 images at a time instead of 50" in ends[0][1]
    assert [result.batch_size for result in results(paths)] == [None, None, 12]
    assert results(paths)[-1].measures[0].total == 230


def test_every_batch_is_one_process_s() -> None:
    for world in range(1, 6):
        shards = [Shard(number, world) for number in range(world)]
        assert all(sum(shard.owns(batch) for shard in shards) == 1 for batch in range(50))
