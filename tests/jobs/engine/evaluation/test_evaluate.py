"""The evaluate stage: from a checkpoint to results in a journal."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

import jobs.engine.evaluation.evaluators.pgd
from experiments import datasets
from experiments.benchmarks import AnyBenchmark, Calibration, Clean, CleanHoldout, Information, Pgd, Transfer
from experiments.errors import CebctlError, InputError
from experiments.identity import evaluation_id, run_id
from experiments.spec import Adam, Ceb, Data, ResNet, Run, SmallCnn
from jobs import per_sample, provenance
from jobs.attempt.runner import run_attempt
from jobs.engine import checkpoint_format
from jobs.engine.data import load
from jobs.engine.errors import NoCheckpointError
from jobs.engine.evaluation.evaluate import evaluate
from jobs.engine.evaluation.evaluators import EVALUATORS, Summary
from jobs.engine.models import build
from jobs.errors import Stopped
from jobs.journal.files import Journal, read
from jobs.journal.records import Claim, Failed, Heartbeat, Result, Submitted, Succeeded
from jobs.paths import Home, RunPaths

RUN = Run(
    data=Data(name="digits"),
    network=SmallCnn(width=4, z_dim=6),
    objective=Ceb(rho=1.0),
    optimiser=Adam(),
    epochs=1.0,
    batch=32,
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    """The run's folder, with its initial weights for a checkpoint of step 7."""
    return checkpointed(RUN, tmp_path)


def checkpointed(run: Run, tmp_path: Path) -> RunPaths:
    paths = Home(tmp_path).run(run_id(run))
    checkpoint_format.write(paths.checkpoints, 7, checkpoint_format.content(run, build(run)))
    return paths


def evaluated(
    paths: RunPaths,
    benchmarks: list[AnyBenchmark],
    should_stop: Callable[[], bool] = lambda: False,
    run: Run = RUN,
) -> tuple[list[Result], list[Heartbeat], BaseException | None]:
    """The results and heartbeats in the journal, and what was raised."""
    path, raised = paths.journal("evaluate", 1), None
    with Journal(path) as journal:
        try:
            evaluate(run, benchmarks, paths, journal, paths.folder.parent, "cpu", should_stop, "engine 1")
        except BaseException as error:
            raised = error
    records = read(path).records
    results = [record for record in records if isinstance(record, Result)]
    return results, [record for record in records if isinstance(record, Heartbeat)], raised


def test_one_result_for_each_benchmark(paths: RunPaths) -> None:
    benchmarks = [Clean(), Information(samples=2), Pgd(norm="linf", eps=8 / 255, steps=2)]
    results, heartbeats, raised = evaluated(paths, benchmarks)
    assert raised is None and [result.benchmark for result in results] == benchmarks
    for result in results:
        assert result.evaluation_id == evaluation_id(result.benchmark, "digits")
        assert result.data_digest == datasets.info("digits").digest
        assert (result.checkpoint_step, result.engine) == (7, "engine 1")
        assert result.libraries["scipy"] == version("scipy")
        assert result.seconds > 0 and all(measure.total == 360 for measure in result.measures)
    assert [[measure.name for measure in result.measures] for result in results] == [
        ["clean"],
        ["rate", "residual_information", "conditional_entropy"],
        ["pgd_linf", "zero_gradient_share"],
    ]
    assert [beat.activity for beat in heartbeats] == ["clean", "information", "pgd_linf@eps=8/255,n=2"]
    assert all((beat.step, beat.steps) == (0, 360) for beat in heartbeats)


def test_numbers_are_those_of_the_model(paths: RunPaths) -> None:
    model, images = checkpoint_format.load_model(RUN, paths.checkpoints)[0], load(RUN.data, "test", paths.folder)
    x_NCHW = images.images_NCHW.float() / 255  # type: ignore[union-attr]
    right_N = model.classify(x_NCHW).argmax(1) == images.labels_N
    (clean, information), _, _ = evaluated(paths, [Clean(), Information(samples=1)])
    assert clean.measures[0].correct == right_N.sum() and clean.measures[0].value is None
    assert clean.per_sample and per_sample.unpack(clean.per_sample, 360) == right_N.tolist()
    assert information.per_sample is None
    entropy = information.measures[-1]
    assert entropy.unit == "nats" and entropy.correct is None
    assert entropy.value is not None and math.log(10) - 0.5 < entropy.value < math.log(10) + 0.5
    assert entropy.std is not None and entropy.std > 0


def test_a_subset_marks_its_images_among_all(paths: RunPaths) -> None:
    tiny = {"norm": "linf", "eps": 1e-6, "steps": 1}
    (clean, part), _, _ = evaluated(paths, [Clean(), Pgd(**tiny, subset=100)])
    assert part.measures[0].total == 100 and part.per_sample and clean.per_sample
    flags = per_sample.unpack(part.per_sample, 360)
    assert sum(flags) == part.measures[0].correct
    assert all(right <= whole for right, whole in zip(flags, per_sample.unpack(clean.per_sample, 360), strict=True))


def test_images_held_out_of_training(tmp_path: Path) -> None:
    run = msgspec.structs.replace(RUN, data=Data(name="digits", train_subset=50, holdout=300))
    paths = checkpointed(run, tmp_path)
    (clean, held), _, raised = evaluated(paths, [Clean(), CleanHoldout()], run=run)
    assert raised is None and held.measures[0].name == "clean_holdout"
    images, model = load(run.data, "holdout", paths.folder), checkpoint_format.load_model(run, paths.checkpoints).model
    right_N = model.classify(images.images_NCHW.float() / 255).argmax(1) == images.labels_N  # type: ignore[union-attr]
    assert (held.measures[0].correct, held.measures[0].total) == (right_N.sum(), 300)
    assert held.per_sample and per_sample.unpack(held.per_sample, 300) == right_N.tolist()
    assert held.data_digest == datasets.info("digits").train_digest != clean.data_digest


def test_nothing_held_out_is_one_line(paths: RunPaths) -> None:
    results, _, raised = evaluated(paths, [CleanHoldout(), Clean()])
    assert [type(result.benchmark) for result in results] == [Clean]
    assert "data.holdout: nothing was held out in training" in str(raised)


def test_an_impossible_benchmark_leaves_the_others_alone(paths: RunPaths) -> None:
    too_far = [Pgd(norm="linf", eps=2), Pgd(norm="l2", eps=9)]
    results, _, raised = evaluated(paths, [too_far[0], Clean(), too_far[1], Information(samples=1)])
    assert [type(result.benchmark) for result in results] == [Clean, Information]
    assert isinstance(raised, InputError) and "\n" not in str(raised)
    assert "larger than the range of images in linf" in str(raised) and "images in l2" in str(raised)


class TestUnforeseenErrors:
    """Whatever one benchmark meets, the others have their results."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("an error that can't say what it is")

    @pytest.fixture(
        params=[
            ZeroDivisionError("division by zero"), KeyError("fog"), OSError(5, "I/O error"), ValueError(), Mute(),
            RecursionError("too deep"), SystemExit(0), torch.OutOfMemoryError("CUDA out of memory"), MemoryError(),
        ],
        ids=lambda error: type(error).__name__,
    )  # fmt: skip
    def error(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Exception:
        """One of PGD's in l2, met in the midst of a batch."""
        search, error = jobs.engine.evaluation.evaluators.pgd.search, request.param

        def broken(*args: Any, norm: str, **more: Any) -> Any:
            if norm == "l2":
                raise error
            return search(*args, norm=norm, **more)

        monkeypatch.setattr(jobs.engine.evaluation.evaluators.pgd, "search", broken)
        return error

    ASKED = (Pgd(norm="l2", eps=0.5, steps=1), Clean(), Pgd(norm="linf", eps=0.1, steps=1))

    def test_leave_the_other_benchmarks_alone(self, paths: RunPaths, error: Exception) -> None:
        results, _, raised = evaluated(paths, [*self.ASKED])
        assert [result.benchmark for result in results] == [*self.ASKED[1:]]
        assert isinstance(raised, CebctlError) and not isinstance(raised, InputError) and raised.exit_code == 1
        assert str(raised).startswith(f"evaluate: pgd_l2@eps=0.5,n=1: {type(error).__name__}")
        assert "\n" not in str(raised)

    def test_are_named_in_the_journal_with_their_traceback(self, tmp_path: Path, error: Exception) -> None:
        checkpointed(RUN, tmp_path)
        submitted = Submitted(name="s1", matrix="", matrix_path="", executor="local", code=provenance.code_digest())
        spec = msgspec.to_builtins(RUN)
        claim = Claim(run_id=run_id(RUN), label="", stage="evaluate", spec=spec, benchmarks=[*self.ASKED])
        end = run_attempt(Home(tmp_path), submitted, claim, "evaluate")
        assert isinstance(end, Failed) and end.kind == ("memory" if "Memory" in type(error).__name__ else "error")
        assert list(end.benchmarks) == [evaluation_id(self.ASKED[0], "digits")]
        assert end.benchmarks.popitem()[1] in end.error
        assert "pgd_l2@eps=0.5,n=1" in end.error and "in broken" in end.traceback

    def test_a_request_to_stop_comes_first(self, paths: RunPaths, error: Exception) -> None:
        """The signal ends loader processes too, whose end is an error here."""
        asked = iter([False, *[True] * 9])
        results, _, raised = evaluated(paths, [*self.ASKED], lambda: next(asked))
        assert isinstance(raised, Stopped) and not results

    @pytest.mark.parametrize("end", [KeyboardInterrupt(), RuntimeError("gloo: connection closed by peer")])
    def test_what_ends_the_process_ends_the_evaluation(
        self, paths: RunPaths, end: BaseException, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*args: Any, **more: Any) -> Any:
            raise end

        monkeypatch.setattr(jobs.engine.evaluation.evaluators.pgd, "search", broken)
        results, _, raised = evaluated(paths, [*self.ASKED])
        assert raised is end and not results

    @pytest.mark.parametrize(
        "lack",
        [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDNN_STATUS_ALLOC_FAILED")],
        ids=lambda error: type(error).__name__,
    )
    def test_too_little_memory_is_met_by_smaller_batches(
        self, paths: RunPaths, lack: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plenty, _, _ = evaluated(paths, [*self.ASKED])
        (paths.journal("evaluate", 1)).unlink()
        search = jobs.engine.evaluation.evaluators.pgd.search

        def scarce(logits_of: Any, x_BCHW: torch.Tensor, *args: Any, norm: str, **more: Any) -> Any:
            if norm == "l2" and len(x_BCHW) > 125:
                raise lack
            return search(logits_of, x_BCHW, *args, norm=norm, **more)

        monkeypatch.setattr(jobs.engine.evaluation.evaluators.pgd, "search", scarce)
        results, _, raised = evaluated(paths, [*self.ASKED])
        assert raised is None and [result.batch_size for result in results] == [125, None, None]
        assert [result.measures for result in results] == [result.measures for result in plenty]
        assert not list(paths.partial.iterdir())

    def test_behind_a_broken_gpu_the_others_come_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Such a GPU measures nothing more in this process, and would do so in each attempt that begins alike."""
        paths, search = checkpointed(RUN, tmp_path), jobs.engine.evaluation.evaluators.pgd.search

        def broken(*args: Any, norm: str, **more: Any) -> Any:
            if norm == "l2":
                raise torch.AcceleratorError("CUDA error: device-side assert triggered")
            return search(*args, norm=norm, **more)

        monkeypatch.setattr(jobs.engine.evaluation.evaluators.pgd, "search", broken)
        submitted = Submitted(name="s1", matrix="", matrix_path="", executor="local", code=provenance.code_digest())
        spec = msgspec.to_builtins(RUN)
        claim = Claim(run_id=run_id(RUN), label="", stage="evaluate", spec=spec, benchmarks=[*self.ASKED])
        end = run_attempt(Home(tmp_path), submitted, claim, "evaluate")
        assert isinstance(end, Failed) and end.kind == "device" and len(end.benchmarks) == 1
        assert end.error.endswith("not measured behind it: clean, pgd_linf@eps=0.1,n=1")
        submitted = msgspec.structs.replace(submitted, name="s2")
        assert isinstance(run_attempt(Home(tmp_path), submitted, claim, "evaluate"), Failed)
        records = read(paths.journal("evaluate", 2)).records
        assert [record.benchmark for record in records if isinstance(record, Result)] == [*self.ASKED[1:]]

    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 1e300])
    def test_a_number_that_no_result_can_hold_fails(
        self, paths: RunPaths, number: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def summary(*_: object) -> list[Summary]:
            return [Summary("ece", "share", 360, number)]

        monkeypatch.setitem(EVALUATORS, Calibration, summary)
        results, _, raised = evaluated(paths, [Calibration(), Clean()])
        assert [type(result.benchmark) for result in results] == [Clean]
        assert str(raised).startswith(f"evaluate: calibration: the value of ece over 360 images is {number:g}")


def test_a_request_to_stop_is_heard_between_batches(paths: RunPaths) -> None:
    answers = iter([False, False, False, True])
    results, _, raised = evaluated(paths, [Clean(), Information(samples=1)], lambda: next(answers))
    assert isinstance(raised, Stopped)
    assert [type(result.benchmark) for result in results] == [Clean]


def foreign(run: Run, paths: RunPaths) -> None:
    """Weights of another network in the run's checkpoint."""
    for path in paths.checkpoints.iterdir():
        path.unlink()
    wider = build(msgspec.structs.replace(run, network=SmallCnn(width=5, z_dim=6)))
    checkpoint_format.write(paths.checkpoints, 7, checkpoint_format.content(run, wider))


def test_a_checkpoint_of_another_network_ends_the_attempt_in_one_line(tmp_path: Path) -> None:
    paths = checkpointed(RUN, tmp_path)
    foreign(RUN, paths)
    submitted = Submitted(name="s1", matrix="", matrix_path="", executor="local", code=provenance.code_digest())
    claim = Claim(run_id=run_id(RUN), label="", stage="evaluate", spec=msgspec.to_builtins(RUN), benchmarks=[Clean()])
    run_attempt(Home(tmp_path), submitted, claim, "evaluate")
    *_, end = read(paths.journal("evaluate", 1)).records
    assert isinstance(end, Failed) and end.kind == "input" and not end.traceback
    assert "a checkpoint of another network, not of the one of run" in end.error and "\n" not in end.error


def test_a_source_of_another_network_leaves_the_other_benchmarks_alone(paths: RunPaths) -> None:
    other = msgspec.structs.replace(RUN, seed=1)
    source = checkpointed(other, paths.folder.parents[1])
    foreign(other, source)
    source.spec.write_bytes(msgspec.json.encode(other))
    with Journal(source.journal("train", 1)) as journal:
        journal.write(Succeeded())
    transfer = Transfer(source=run_id(other), norm="linf", eps=0.1)
    results, _, raised = evaluated(paths, [transfer, Clean()])
    assert [type(result.benchmark) for result in results] == [Clean]
    assert isinstance(raised, InputError) and "a checkpoint of another network" in str(raised)
    assert "\n" not in str(raised)


def test_no_checkpoint(tmp_path: Path) -> None:
    results, _, raised = evaluated(Home(tmp_path).run(run_id(RUN)), [Clean()])
    assert isinstance(raised, NoCheckpointError) and not results


def test_fp64(tmp_path: Path) -> None:
    run = Run(**{name: getattr(RUN, name) for name in RUN.__struct_fields__} | {"precision": "fp64"})
    paths = checkpointed(run, tmp_path)
    benchmarks = [Clean(), Information(samples=1), Pgd(norm="l2", eps=0.5, steps=2)]
    results, _, raised = evaluated(paths, benchmarks, run=run)
    assert raised is None and len(results) == 3


@pytest.mark.parametrize("torn", [["n00000002/0"], ["n00000001/1", "n00000002/0"]])
def test_corrupt_images_are_counted_in_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: list[str]
) -> None:
    """Four noisy JPEGs of two classes stand for ImageNet; one of them is cut off, or one in each of two batches."""
    monkeypatch.setattr("jobs.engine.data.images.MAX_CORRUPT_SHARE", len(torn) / 4)
    facts = {"classes": 2, "train": 4, "test": 4, "size": 32}
    monkeypatch.setitem(datasets.DATASETS, "imagenet", replace(datasets.info("imagenet"), **facts))
    for name in ("n00000001", "n00000002"):
        folder = tmp_path / "runs" / "imagenet" / "val" / name
        folder.mkdir(parents=True)
        for index in range(2):
            pixels = np.random.default_rng(index).integers(256, size=(40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.JPEG")
    for name in torn:
        path = folder.parent / f"{name}.JPEG"
        path.write_bytes(path.read_bytes()[:-100])
    run = Run(
        data=Data(name="imagenet"), network=ResNet(depth=50), objective=Ceb(rho=1), optimiser=Adam(), epochs=1, batch=2
    )
    monkeypatch.setattr("jobs.engine.evaluation.evaluate._batch_size", lambda images: 2)
    paths, asked = checkpointed(run, tmp_path), iter([False, False, True])
    _, _, raised = evaluated(paths, [Clean()], lambda: next(asked), run=run)
    assert isinstance(raised, Stopped)  # behind the last image: nothing is read again
    (clean, information), _, raised = evaluated(paths, [Clean(), Information(samples=1)], run=run)
    assert raised is None
    for result in (clean, information):
        left_out = result.measures[-1]
        share = len(torn) / 4
        assert (left_out.name, left_out.unit, left_out.value, left_out.total) == ("corrupt_images", "share", share, 4)
        assert result.measures[0].total == 4 - len(torn)
    assert clean.per_sample and per_sample.unpack(clean.per_sample, 4)[2] is False
