"""Comparison of the numerics versions that runs were trained and results were measured with to today's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from experiments import lineage, numerics
from experiments.benchmarks import AnyBenchmark, Transfer
from experiments.identity import run_id
from experiments.numerics import FIRST, VersionDifference
from experiments.spec import Run
from store.row_types import AttemptRow, ResultRow


@dataclass(frozen=True)
class TrainingDrift:
    """How the versions that the weights of a run were made with differ from today's."""

    difference: VersionDifference
    """Empty where there is no attempt."""
    mixed: tuple[str, ...]
    """The parts in which attempts differ, those of the runs that it extends included: `optimiser.adam 1 and 2`."""


@dataclass(frozen=True)
class ResultDrift:
    """How the versions that a result was made with differ from today's."""

    evaluation: VersionDifference
    training: VersionDifference
    mixed: tuple[str, ...]
    """As in `TrainingDrift`."""

    @property
    def difference(self) -> VersionDifference:
        return self.evaluation | self.training


@dataclass(frozen=True)
class Versions:
    """The versions of some runs and their results.

    A number whose record states no versions, but whose engine is today's, was made with today's versions.
    """

    runs: Mapping[str, Run]
    """By id."""
    attempts: Sequence[AttemptRow]
    """The attempts of these runs, of those that they extend and of the sources of transfer."""
    engine: str
    """The digest of today's code."""
    _training_drifts: dict[tuple[str, int | None, float | None], TrainingDrift] = field(
        default_factory=dict, init=False, repr=False
    )
    _result_drifts: dict[tuple[str, str, str, int], ResultDrift] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def _trainings(self) -> dict[str, list[AttemptRow]]:
        trainings: dict[str, list[AttemptRow]] = defaultdict(list)
        for attempt in self.attempts:
            if attempt.stage == "train":
                trainings[attempt.run_id].append(attempt)
        return trainings

    def training_drift(self, run: str, generation: int | None = None, before: float | None = None) -> TrainingDrift:
        """Return the drift of a run's weights, the training of the runs that it extends included.

        These are the weights that a result of this generation was measured on, or that existed `before` a time, or by
        default the newest.
        """
        key = run, generation, before
        if key not in self._training_drifts:
            spec = self.runs.get(run)
            own = [a for a in self._trainings.get(run, ()) if generation is None or a.generation <= generation]
            training = _begun_before(own, before)
            attempts = contributing_attempts(training)
            for ancestor in [*lineage.ancestors(spec)][::-1] if spec else ():
                # A run that was trained again later has not changed the runs that continued its earlier training.
                before = min((a.started_at for a in attempts if a.started_at is not None), default=before)
                training = _begun_before(self._trainings.get(run_id(ancestor), []), before)
                attempts = [*contributing_attempts(training), *attempts]
            needed = numerics.training_versions(spec) if spec else {}
            made = [self._recorded(attempt.numerics, attempt.engine, needed) for attempt in attempts]
            total = VersionDifference()
            for versions in made:
                total |= numerics.compare_versions(versions, needed)
            mixed = _mixed(made, [attempt.engine or "" for attempt in attempts])
            self._training_drifts[key] = TrainingDrift(total, mixed)
        return self._training_drifts[key]

    def result_drift(self, result: ResultRow) -> ResultDrift:
        """Return how the versions of one measure, of the newest attempt of its generation, differ from today's."""
        key = result.run_id, result.evaluation_id, numerics.corruption_name(result.name), result.generation
        if key not in self._result_drifts:  # a matrix has thousands of measures under corruptions
            self._result_drifts[key] = self._compute_result_drift(result)
        return self._result_drifts[key]

    def _compute_result_drift(self, result: ResultRow) -> ResultDrift:
        run, benchmark = self.runs.get(result.run_id), result.benchmark
        needed = numerics.evaluation_versions(run, benchmark) if run else {}
        made = self._recorded(result.numerics, result.engine, needed)
        if made is not None:
            made = numerics.measure_versions(made, result.name)
        evaluation = numerics.compare_versions(made, numerics.measure_versions(needed, result.name))
        own = self.training_drift(result.run_id, result.generation)
        training = own.difference
        if isinstance(benchmark, Transfer):
            training |= self.training_drift(benchmark.source, before=result.measured_at).difference
        return ResultDrift(evaluation, training, own.mixed)

    def _recorded(
        self, versions: Mapping[str, int] | None, engine: str | None, needed: Mapping[str, int]
    ) -> Mapping[str, int] | None:
        made = numerics.recorded_versions(versions or {}, engine)
        return needed if made is None and engine == self.engine else made


def _begun_before(attempts: Sequence[AttemptRow], time: float | None) -> Sequence[AttemptRow]:
    """Return the attempts that had begun by a time; all of them if none had, which clocks that differ can cause."""
    begun = [a for a in attempts if time is None or a.started_at is None or a.started_at < time]
    return begun or attempts


def contributing_attempts(attempts: Iterable[AttemptRow]) -> list[AttemptRow]:
    """Return the attempts at a training whose steps are in its newest checkpoint, in order.

    An attempt that resumed from a step keeps the work of earlier ones up to that step. One that wrote no checkpoint
    after the step that it began with left nothing.
    """
    chain: list[AttemptRow] = []
    for attempt in sorted(attempts, key=lambda row: row.attempt):
        begun, reached = attempt.resumed_step or 0, attempt.checkpoint_step
        if reached is None or (begun and reached <= begun):
            continue
        chain = [earlier for earlier in chain if (earlier.resumed_step or 0) < begun]
        chain.append(attempt)
    return chain


def _mixed(made: Sequence[Mapping[str, int] | None], engines: Sequence[str]) -> tuple[str, ...]:
    """Return the parts that have several versions, or a note on engines of which one recorded none."""
    unrecorded = {engine for versions, engine in zip(made, engines, strict=True) if versions is None}
    if unrecorded:
        several = len(unrecorded) > 1 or any(versions is not None for versions in made)
        return ("engines that recorded no versions",) if several else ()
    parts = sorted({part for versions in made for part in versions or ()})
    mixed = []
    for part in parts:
        versions = sorted({(recorded or {}).get(part, FIRST) for recorded in made})
        if len(versions) > 1:
            mixed.append(f"{part} {' and '.join(map(str, versions))}")
    return tuple(mixed)


def training_dependencies(runs: Mapping[str, Run], benchmarks: Iterable[AnyBenchmark]) -> list[str]:
    """Return the ids of the runs on whose training the results of some runs depend.

    These are the runs, all that they extend, and the sources of transfer.
    """
    extended = [run_id(ancestor) for run in runs.values() for ancestor in lineage.ancestors(run)]
    sources = [benchmark.source for benchmark in benchmarks if isinstance(benchmark, Transfer)]
    return list(dict.fromkeys([*runs, *extended, *sources]))
