"""The runs whose target rho was not in force when training ended, so that their numbers are another model's."""

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
    """The trained runs whose jump-starts did not reach their targets, by their journals."""

    last_rho: Mapping[str, float | None] = field(default_factory=dict)
    """By run_id: the last rho in force, where it is not the spec's; None for an infinite one."""
    without_rate: Collection[str] = ()
    """The ids of the runs in which no epoch began with the target rho in force, so that they have no training rate."""


def off_target(runs: Sequence[RunStatus], store: Store) -> OffTarget:
    """Return the trained runs that ended off their targets, by the journalled metrics."""
    trained = _trained(runs, store)
    rated = [
        run.planned.run
        for run in runs
        if run.planned.run_id in trained and any(isinstance(b, TrainingRate) for b in run.planned.benchmarks)
    ]
    return OffTarget(_last_rho(runs, trained, store), [run_id(run) for run in rated if _is_without_rate(run, store)])


def last_rho(runs: Sequence[RunStatus], store: Store) -> dict[str, float | None]:
    """Return the `last_rho` of `OffTarget` for these runs."""
    return _last_rho(runs, _trained(runs, store), store)


def _last_rho(runs: Sequence[RunStatus], trained: Collection[str], store: Store) -> dict[str, float | None]:
    objectives = {run.planned.run_id: run.planned.run.objective for run in runs if run.planned.run_id in trained}
    points = queries.last_metrics(store, "rho", objectives).items()
    return {key: point.value for key, point in points if not jump_start_checks.is_target(objectives[key], point.value)}


def _trained(runs: Sequence[RunStatus], store: Store) -> set[str]:
    """Return the ids of the runs with a complete training, also while it is done again: its numbers count till then."""
    attempts = queries.attempts(store, [run.planned.run_id for run in runs])
    complete = {attempt.run_id for attempt in attempts if (attempt.stage, attempt.state) == ("train", "succeeded")}
    return complete | {run.planned.run_id for run in runs if run.stages[0].state == "done"}


def last_rho_text(last_rho: float | None) -> str:
    """Return the text of a rho that was in force: `rho 5.3`."""
    return "an infinite rho" if last_rho is None else f"rho {last_rho:.4g}"


def _is_without_rate(run: Run, store: Store) -> bool:
    if isinstance(run.objective, Xent) or isinstance(run.objective.jump_start, NoJumpStart):
        return False
    by_step: dict[int, dict[str, float | None]] = defaultdict(dict)
    ancestors = [run_id(ancestor) for ancestor in lineage.ancestors(run)]
    for point in queries.metrics(store, run_id(run), ("rho", "rate", "collapsed"), ancestors=ancestors):
        if point.stage == "train":
            by_step[point.step][point.name] = point.value
    # Only the last step of an epoch has the metric "collapsed".
    epochs = [values for _, values in sorted(by_step.items()) if "collapsed" in values]
    return any("rate" in values for values in epochs) and not jump_start_checks.rates_behind_jump_start(
        run.objective, epochs
    )
