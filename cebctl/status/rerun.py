"""`submit --again`: what is done again although it is done, beside what there is.

Each run counts its generations. Doing something again raises the generation that is wanted, so that it is missing like
anything that was never done. The claim hands the number to the attempt and the attempt to its results; the newest
generation counts, whichever attempt ends last. Nothing is deleted; until the new number is there, the old one counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec

from cebctl.status.states import Observations, RunStatus, StageStatus
from experiments import lineage
from experiments.benchmarks import AnyBenchmark, Transfer, describe
from experiments.matrix.planned_run import Matrix
from experiments.matrix.selection import TRAIN, benchmarks
from experiments.spec import Run
from store import queries
from store.connect import Store


@dataclass(frozen=True)
class Rerun:
    """What is to be done again of the runs of a matrix."""

    train: bool = False
    """The training, and so every evaluation."""
    benchmarks: frozenset[AnyBenchmark] = frozenset()

    def restrict(self, run: RunStatus, stage: StageStatus) -> StageStatus | None:
        """Return what of a stage that is offered is meant; None if nothing."""
        if self.train:
            return stage
        missing = tuple(benchmark for benchmark in stage.missing if benchmark in self.benchmarks)
        trained = run.stages[0].state == "done"
        return replace(stage, missing=missing) if stage.stage == "evaluate" and trained and missing else None


def parse_selections(texts: Sequence[str], matrix: Matrix) -> Rerun | None:
    """Return what the selections name; None without any. Raises InputError for one that names nothing of the matrix."""
    if not texts:
        return None
    chosen = [benchmark for text in texts if text.strip() != TRAIN for benchmark in benchmarks(text, matrix.benchmarks)]
    return Rerun(any(text.strip() == TRAIN for text in texts), frozenset(chosen))


def raise_generations(facts: Observations, runs: Iterable[RunStatus], again: Rerun) -> Observations:
    """Return the facts, from which the states of the runs follow, with a new generation wanted of what is meant and has
    ended.

    What is under way is left to it, and what was never done, or was lost, goes on in its own generation.
    """
    trainings = dict(facts.training_generations)
    renewed = {run_id: dict(of_run) for run_id, of_run in facts.renewed_benchmarks.items()}
    failed = {run_id: set(of_run) for run_id, of_run in facts.failed_benchmarks.items()}
    for run in runs:
        if is_under_way(run):
            continue
        run_id = run.planned.run_id
        generation = facts.latest_generations.get(run_id, 1) + 1
        if again.train:
            if run.stages[0].state in ("done", "failed"):
                trainings[run_id], failed[run_id] = generation, set()
        elif run.stages[0].state == "done":
            evaluate = run.stages[-1]
            unmeasured = evaluate.missing if evaluate.state != "failed" else ()
            ended = [b for b in run.planned.benchmarks if b in again.benchmarks and b not in unmeasured]
            if ended:
                renewed.setdefault(run_id, {}).update(dict.fromkeys(ended, generation))
                failed[run_id] = failed.get(run_id, set()).difference(ended)
    return replace(facts, training_generations=trainings, renewed_benchmarks=renewed, failed_benchmarks=failed)


def is_under_way(run: RunStatus) -> bool:
    """Whether somebody is at a stage of the run, or will be."""
    return any(stage.state in ("queued", "running") for stage in run.stages)


def describe_outdated_dependents(matrix: Matrix, retrained: Collection[str], store: Store) -> list[str]:
    """Return, in words, what was made from the older trainings of these runs and is not done again with them."""
    specs = {row.run_id: (row.label, row.spec) for row in queries.runs(store)}
    others = {run_id: label for run_id, (label, _) in specs.items()} | {run.run_id: run.name for run in matrix.runs}
    words = []
    for run_id, (label, spec) in specs.items():
        parent = _parent(spec) if run_id not in retrained else None
        if parent is not None and parent in retrained:
            words.append(f"{run_id} ({label}), which extends {parent} ({others[parent]}), stays as it was trained")
    attacked = {
        (row.run_id, row.benchmark)
        for row in (queries.results(store, others) if retrained else ())
        if row.run_id not in retrained and isinstance(row.benchmark, Transfer) and row.benchmark.source in retrained
    }
    for run_id, benchmark in sorted(attacked, key=lambda one: (one[0], describe(one[1]))):
        words.append(f"{describe(benchmark)} of {run_id} ({others[run_id]}) stays: `--again transfer` measures it anew")
    return words


def _parent(spec: object) -> str | None:
    try:
        return lineage.parent_id(msgspec.convert(spec, Run))
    except msgspec.ValidationError:  # an older version's
        return None


def restrict_stages(
    offered: Iterable[tuple[RunStatus, StageStatus]], again: Rerun | None
) -> list[tuple[RunStatus, StageStatus]]:
    """Return what of the offered stages is meant; all of it without `again`."""
    if again is None:
        return list(offered)
    return [(run, meant) for run, stage in offered if (meant := again.restrict(run, stage)) is not None]
