"""Evaluations that are stopped, killed or divided end with the results of one that is left alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from experiments import numerics
from experiments.benchmarks import AnyBenchmark, Clean, GradientAudit, Information, Pgd
from experiments.errors import InputError
from experiments.identity import run_id
from jobs.engine import checkpoint_format
from jobs.engine.evaluation.evaluate import evaluate
from jobs.engine.evaluation.evaluators import ImageValues
from jobs.engine.evaluation.evaluators.context import BatchResult
from jobs.engine.evaluation.partial_results import PartialResults
from jobs.engine.evaluation.sharding import Shard
from jobs.engine.models import CebModel, build
from jobs.errors import Stopped
from jobs.journal.files import Journal, read
from jobs.journal.records import Result
from jobs.paths import Home, RunPaths
from tests.jobs.engine.group_trial import RUN

pytestmark = pytest.mark.fault

BENCHMARKS: list[AnyBenchmark] = [
    Clean(),
    Information(samples=2),
    Pgd(norm="l2", eps=0.5, steps=2, restarts=2, target="random"),
    Pgd(norm="linf", eps=0.1, steps=2, target=3, subset=170),
    GradientAudit(norm="linf", eps=0.1, steps=2, queries=5, subset=120),
]


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr("jobs.engine.evaluation.evaluate._batch_size", lambda images: 50)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The size of every batch that the network sees."""
    seen: list[int] = []
    encode = CebModel.encode

    def counted(self: CebModel, x_BCHW: Tensor) -> Tensor:
        seen.append(len(x_BCHW))
        return encode(self, x_BCHW)

    monkeypatch.setattr(CebModel, "encode", counted)
    yield seen


class Evaluated:
    """A run's folder with its initial weights, in which attempts follow one another."""

    def __init__(self, home: Path) -> None:
        self.paths: RunPaths = Home(home).run(run_id(RUN))
        checkpoint_format.write(self.paths.checkpoints, 7, checkpoint_format.content(RUN, build(RUN)))

    def __call__(
        self,
        *benchmarks: AnyBenchmark,
        should_stop: Callable[[], bool] = lambda: False,
        engine: str = "engine 1",
        shard: Shard | None = None,
    ) -> list[Result]:
        """One attempt; the results it journalled."""
        path = self.paths.journal("evaluate", self.paths.next_attempt("evaluate"))
        with Journal(path) as journal:
            evaluate(RUN, benchmarks, self.paths, journal, self.paths.folder, "cpu", should_stop, engine, shard=shard)
        return [record for record in read(path).records if isinstance(record, Result)]

    def stopped(self, benchmark: AnyBenchmark, after: int) -> None:
        """An attempt that is asked to stop at the given time of asking."""
        asked = iter([False] * after)
        with pytest.raises(Stopped):
            self(benchmark, should_stop=lambda: next(asked, True))

    @property
    def notes(self) -> list[Path]:
        return sorted(self.paths.partial.glob("*"))


@pytest.fixture
def new(tmp_path: Path) -> Callable[[str], Evaluated]:
    return lambda name: Evaluated(tmp_path / name)


def same(ours: Result, theirs: Result) -> bool:
    fields = ("evaluation_id", "data_digest", "checkpoint_step", "engine", "measures", "per_sample")
    return all(getattr(ours, name) == getattr(theirs, name) for name in fields)


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda one: f"{type(one).__name__}-{getattr(one, 'target', '')}")
def test_goes_on_at_the_batch_where_it_stopped(
    benchmark: AnyBenchmark, new: Callable[[str], Evaluated], passes: list[int]
) -> None:
    asked: list[None] = []
    (whole,) = new("undisturbed")(benchmark, should_stop=lambda: asked.append(None) or False)  # type: ignore[func-returns-value]
    undisturbed = sum(passes)
    evaluated = new("stopped")
    passes.clear()
    for share in (0.5, 0.3):
        evaluated.stopped(benchmark, int(share * len(asked)))
        assert evaluated.notes
    (resumed,) = evaluated(benchmark)
    assert same(resumed, whole) and resumed.seconds > 0
    assert not evaluated.notes
    if isinstance(benchmark, GradientAudit):  # which is stopped within a batch
        assert sum(passes) < 2 * undisturbed
    else:
        assert sum(passes) == undisturbed


def test_a_killed_writer_s_torn_line_is_measured_again(new: Callable[[str], Evaluated], passes: list[int]) -> None:
    (whole,) = new("undisturbed")(Clean())
    evaluated = new("killed")
    evaluated.stopped(Clean(), 5)
    (notes,) = evaluated.notes
    notes.write_bytes(notes.read_bytes()[:-20])
    passes.clear()
    (resumed,) = evaluated(Clean())
    assert same(resumed, whole) and passes == [50, 50, 50, 10]  # 4 of 8 were whole


def test_killed_in_the_middle(new: Callable[[str], Evaluated], passes: list[int]) -> None:
    (whole,) = new("undisturbed")(BENCHMARKS[2])
    evaluated = new("killed")
    child = os.fork()
    if child == 0:
        try:
            evaluated(BENCHMARKS[2], should_stop=lambda: time.sleep(0.05) is not None)
        finally:
            os._exit(0)
    while not evaluated.notes or evaluated.notes[0].read_bytes().count(b"\n") < 3:
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it was done before it could be killed"
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    done = evaluated.notes[0].read_bytes().count(b"\n")
    before = sum(passes)
    (resumed,) = evaluated(BENCHMARKS[2])
    assert same(resumed, whole) and sum(passes) - before < before * (1 - (done - 1) / 8)


def test_other_weights_versions_or_images_begin_anew(
    new: Callable[[str], Evaluated], passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated = new("run")
    evaluated.stopped(Clean(), 4)
    passes.clear()
    evaluated.stopped(Clean(), 0)
    assert passes == []
    evaluated(Clean(), engine="of a comment more")
    assert 0 < sum(passes) < 360
    evaluated.stopped(Clean(), 4)
    passes.clear()
    monkeypatch.setitem(numerics.VERSIONS, "evaluator.clean", 2)
    (other,) = evaluated(Clean())
    assert sum(passes) == 360 and other.numerics["evaluator.clean"] == 2
    evaluated.stopped(Clean(), 4)
    model = build(RUN)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    checkpoint_format.write(evaluated.paths.checkpoints, 7, checkpoint_format.content(RUN, model))
    next(path for path in evaluated.paths.checkpoints.iterdir() if path.name in evaluated.notes[0].read_text()).unlink()
    passes.clear()
    evaluated(Clean())
    assert sum(passes) == 360
    evaluated.stopped(Clean(), 4)
    text = evaluated.notes[0].read_text()
    evaluated.notes[0].write_text(text.replace('"data_digest":"sha256:', '"data_digest":"sha256:0'))
    passes.clear()
    evaluated(Clean())
    assert sum(passes) == 360


def test_a_finished_benchmark_is_not_repeated_for_one_that_cannot_be_run(
    new: Callable[[str], Evaluated], passes: list[int]
) -> None:
    evaluated = new("run")
    with pytest.raises(InputError, match="a subset of 361"):
        evaluated(Clean(), Pgd(norm="l2", eps=0.1, subset=361))
    assert not evaluated.notes and sum(passes) == 360


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_the_last_of_several_jobs_writes_the_result(order: tuple[int, ...], new: Callable[[str], Evaluated]) -> None:
    (whole,) = new("one job")(BENCHMARKS[2])
    evaluated = new("three jobs")
    found = [evaluated(BENCHMARKS[2], shard=Shard(number, 3)) for number in order]
    assert found[:2] == [[], []] and same(found[2][0], whole) and not evaluated.notes


def test_jobs_at_the_same_time(new: Callable[[str], Evaluated]) -> None:
    """The second is done while the first is in the middle: the first, being last, writes."""
    (whole,) = new("one job")(Clean())
    evaluated = new("two jobs")
    second: list[list[Result]] = []

    def meanwhile() -> bool:
        if not second and evaluated.notes:
            second.append([])
            second[0] = evaluated(Clean(), shard=Shard(1, 2))
        return False

    (result,) = evaluated(Clean(), should_stop=meanwhile, shard=Shard(0, 2))
    assert second == [[]] and same(result, whole) and not evaluated.notes


class TestPartialResults:
    def result(self, values_M: Tensor) -> BatchResult:
        samples_M = torch.arange(len(values_M)) * 3 + 2**40
        return BatchResult((ImageValues("a", "nats", samples_M, values_M),), {5: "torn"}, 1.5)

    @pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.float64])
    def test_come_back_as_they_were(self, dtype: torch.dtype, tmp_path: Path) -> None:
        values_M = torch.tensor([0, 1e-300, float("nan"), -1 / 3]).to(dtype)
        partial = PartialResults(tmp_path, "e1", "origin", Shard())
        partial.append("digest", "fog/3", 2, self.result(values_M))
        partial.append("digest", "fog/3", 4, self.result(values_M[:0]))
        partial.close()
        back = PartialResults(tmp_path, "e1", "origin", Shard(1, 2)).batches("digest", "fog/3")
        assert list(back) == [2, 4] and back[2].corrupt == {5: "torn"} and back[2].seconds == 1.5
        (one,) = back[2].columns
        assert (one.name, one.unit) == ("a", "nats") and one.samples_M.tolist() == [2**40 + 3 * i for i in range(4)]
        np.testing.assert_array_equal(one.values_M.numpy(), values_M.numpy())
        assert one.values_M.dtype == dtype and len(back[4].columns[0].values_M) == 0
        other = PartialResults(tmp_path, "e1", "origin", Shard())
        assert other.batches("digest", "") == other.batches("other", "fog/3") == {}
        assert PartialResults(tmp_path, "e2", "origin", Shard()).batches("digest", "fog/3") == {}

    def test_a_damaged_line_is_passed_over(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        partial = PartialResults(tmp_path, "e1", "origin", Shard())
        for batch in range(2):
            partial.append("digest", "", batch, self.result(torch.ones(9)))
        partial.close()
        (path,) = tmp_path.iterdir()
        first, second = path.read_text().splitlines()
        at = first.index('"values":"') + 20
        path.write_text(first[:at] + ("A" if first[at] != "A" else "B") + first[at + 1 :] + f"\n{second}\n")
        assert list(PartialResults(tmp_path, "e1", "origin", Shard()).batches("digest", "")) == [1]
        assert "batch 0 is damaged" in caplog.text
