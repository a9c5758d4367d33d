"""`submit --again`: the repetition of finished work, which leaves the earlier results in place.

Each run counts its generations. A repetition raises the required generation, so that the work is missing like work that
was never done. The claim hands the generation to the attempt, and the attempt to its results. The newest generation
counts, whichever attempt ends last. Nothing is deleted: until there is a new number, the old one counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from cebctl.status.states import Observations, RunStatus, StageStatus
from experiments import lineage
from experiments.benchmarks import AnyBenchmark, Transfer, describe
from experiments.matrix.planned_run import Matrix
from experiments.matrix.selection import TRAIN, benchmarks
from experiments.spec import read_run
from store import queries
from store.connect import Store


@dataclass(frozen=True)
class Rerun:
    """The selection of what is to be done again of the runs of a matrix."""

    train: bool = False
    """The training, and with it every evaluation."""
    benchmarks: frozenset[AnyBenchmark] = frozenset()

    def restrict(self, run: RunStatus, stage: StageStatus) -> StageStatus | None:
        """Return the selected part of a stage that can be submitted; None if nothing of it is selected."""
        if self.train:
            return stage
        missing = tuple(benchmark for benchmark in stage.missing if benchmark in self.benchmarks)
        trained = run.stages[0].state == "done"
        return replace(stage, missing=missing) if stage.stage == "evaluate" and trained and missing else None


def parse_selections(texts: Sequence[str], matrix: Matrix) -> Rerun | None:
    """Return the parsed selections; None without any. Raises InputError for one that selects nothing of the matrix."""
    if not texts:
        return None
    tree = matrix.parts.benchmark_schema
    selected = [b for text in texts if text.strip() != TRAIN for b in benchmarks(text, matrix.benchmarks, tree)]
    return Rerun(any(text.strip() == TRAIN for text in texts), frozenset(selected))


def raise_generations(observations: Observations, runs: Iterable[RunStatus], again: Rerun) -> Observations:
    """Return the observations with a new generation required of all selected work of the runs that has ended.

    Runs that are under way are left alone. Work that was never done, or was lost, goes on in its own generation.
    """
    trainings = dict(observations.training_generations)
    renewed = {run_id: dict(benchmarks) for run_id, benchmarks in observations.renewed_benchmarks.items()}
    failed = {run_id: set(benchmarks) for run_id, benchmarks in observations.failed_benchmarks.items()}
    for run in runs:
        if is_under_way(run):
            continue
        run_id = run.planned.run_id
        generation = observations.latest_generations.get(run_id, 1) + 1
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
    return replace(observations, training_generations=trainings, renewed_benchmarks=renewed, failed_benchmarks=failed)


def is_under_way(run: RunStatus) -> bool:
    """Whether somebody is at a stage of the run, or will be."""
    return any(stage.state in ("queued", "running") for stage in run.stages)


def describe_outdated_dependents(matrix: Matrix, retrained: Collection[str], store: Store) -> list[str]:
    """Return messages on what depends on the older trainings of these runs and is not done again with them."""
    specs = {row.run_id: (row.label, row.spec) for row in queries.runs(store)}
    names = {run_id: label for run_id, (label, _) in specs.items()} | {run.run_id: run.name for run in matrix.runs}
    messages = []
    for run_id, (label, spec) in specs.items():
        run = read_run(spec) if run_id not in retrained else None
        parent = lineage.parent_id(run) if run else None
        if parent and parent in retrained:
            messages.append(f"{run_id} ({label}), which extends {parent} ({names[parent]}), stays as it was trained")
    attacked = {
        (row.run_id, row.benchmark)
        for row in (queries.results(store, names) if retrained else ())
        if row.run_id not in retrained and isinstance(row.benchmark, Transfer) and row.benchmark.source in retrained
    }
    for run_id, benchmark in sorted(attacked, key=lambda item: (item[0], describe(item[1]))):
        messages.append(
            f"{describe(benchmark)} of {run_id} ({names[run_id]}) stays: `--again transfer` measures it anew"
        )
    return messages


def restrict_stages(
    stages: Iterable[tuple[RunStatus, StageStatus]], again: Rerun | None
) -> list[tuple[RunStatus, StageStatus]]:
    """Return the selected parts of the stages; all of them without `again`."""
    if again is None:
        return list(stages)
    return [(run, part) for run, stage in stages if (part := again.restrict(run, stage)) is not None]
