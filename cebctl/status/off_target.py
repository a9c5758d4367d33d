"""The runs whose target rho was not in force when their training ended: their numbers are another model's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from cebctl.status.states import RunStatus
from experiments import jump_start_checks, lineage
from experiments.benchmarks import TrainingRate
from experiments.identity import run_id
from experiments.spec import NoJumpStart, Run, Xent
from store import queries
from store.connect import Store


@dataclass(frozen=True)
class OffTarget:
    """What the journals of trained runs say of their jump-starts."""

    last_rho: Mapping[str, float | None] = field(default_factory=dict)
    """Of each run whose last rho in force is not its spec's, by its id; None: it was infinite."""
    without_rate: Collection[str] = ()
    """The runs, by id, in which no epoch began with the target rho in force, so that there is no training rate."""


def off_target(runs: Sequence[RunStatus], store: Store) -> OffTarget:
    """Read off the journalled metrics which of the runs that are trained ended off their targets."""
    trained = _trained(runs, store)
    rated = [
        run.planned.run
        for run in runs
        if run.planned.run_id in trained and any(isinstance(one, TrainingRate) for one in run.planned.benchmarks)
    ]
    return OffTarget(_last_rho(runs, trained, store), [run_id(run) for run in rated if _is_without_rate(run, store)])


def last_rho(runs: Sequence[RunStatus], store: Store) -> dict[str, float | None]:
    """Return `OffTarget.last_rho` of these runs."""
    return _last_rho(runs, _trained(runs, store), store)


def _last_rho(runs: Sequence[RunStatus], trained: Collection[str], store: Store) -> dict[str, float | None]:
    objectives = {run.planned.run_id: run.planned.run.objective for run in runs if run.planned.run_id in trained}
    last = queries.last_metrics(store, "rho", objectives)
    return {key: end.value for key, end in last.items() if not jump_start_checks.is_target(objectives[key], end.value)}


def _trained(runs: Sequence[RunStatus], store: Store) -> set[str]:
    """The runs, by id, whose training is complete, also where it is being done anew: its numbers count until then."""
    attempts = queries.attempts(store, [run.planned.run_id for run in runs])
    complete = {attempt.run_id for attempt in attempts if (attempt.stage, attempt.state) == ("train", "succeeded")}
    return complete | {run.planned.run_id for run in runs if run.stages[0].state == "done"}


def last_rho_text(last_rho: float | None) -> str:
    """Say which rho was in force instead: `rho 5.3`."""
    return "an infinite rho" if last_rho is None else f"rho {last_rho:.4g}"


def _is_without_rate(run: Run, store: Store) -> bool:
    if isinstance(run.objective, Xent) or isinstance(run.objective.jump_start, NoJumpStart):
        return False
    by_step: dict[int, dict[str, float | None]] = defaultdict(dict)
    ancestors = [run_id(one) for one in lineage.ancestors(run)]
    for point in queries.metrics(store, run_id(run), ("rho", "rate", "collapsed"), ancestors=ancestors):
        if point.stage == "train":
            by_step[point.step][point.name] = point.value
    epochs = [
        values for _, values in sorted(by_step.items()) if "collapsed" in values
    ]  # which ends of epochs alone have
    return any("rate" in values for values in epochs) and not jump_start_checks.rates_behind_jump_start(
        run.objective, epochs
    )
