"""The removal of checkpoints that nothing needs any more.

The policy: of a run that is trained and has the result of every benchmark of the matrix, remove all checkpoints but the
newest intact one of its newest training. With `keep="none"` remove that one too, unless some submission waits for
another evaluation of the run, or the matrix requests one that this version can't run. Of any other run, remove nothing.
Never remove a journal, and so never a result.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cebctl.status.collect import collect_statuses
from cebctl.status.states import RunStatus
from experiments import lineage
from experiments.benchmarks import Transfer, describe
from experiments.identity import evaluation_id
from experiments.matrix.planned_run import Matrix, PlannedRun
from jobs import checkpoint_files
from jobs.attempt import lease
from jobs.paths import STAGES, Home
from store import queries
from store.connect import Store

Keep = Literal["last", "none"]


@dataclass(frozen=True)
class Removal:
    """The files of one run that may be removed."""

    planned: PlannedRun
    files: tuple[Path, ...]
    size: int
    """In bytes."""


@dataclass(frozen=True)
class GarbagePlan:
    """The files of a matrix's runs that may be removed, and why the others stay."""

    removals: tuple[Removal, ...]
    kept_runs: Counter[str] = field(default_factory=Counter)
    """How many runs keep a checkpoint, by the reason."""

    @property
    def files(self) -> int:
        return sum(len(removal.files) for removal in self.removals)

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(removal.size for removal in self.removals)


def plan_removals(matrix: Matrix, store: Store, home: Home, keep: Keep) -> GarbagePlan:
    """Return what the policy lets go. Removes nothing."""
    runs = collect_statuses(matrix, store, home)
    reasons = _reasons_to_keep(store, runs) if keep == "none" else {}
    removals: list[Removal] = []
    kept_runs: Counter[str] = Counter()
    for run in runs:
        trainings = {paths.generation: paths for paths in home.run(run.planned.run_id).generations()}
        checkpoints = {
            generation: list(checkpoint_files.newest_first(paths.checkpoints))
            for generation, paths in trainings.items()
        }
        if not any(checkpoints.values()):
            continue
        if run.state != "done":
            kept_runs["is not trained and evaluated"] += 1
            continue
        removable = [checkpoint.path for checkpoint in itertools.chain(*checkpoints.values())]
        reason = "keeps its last" if keep == "last" else reasons.get(run.planned.run_id)
        if reason:
            newest = _newest_intact(checkpoints.get(run.stages[0].training_generation, []))
            if newest is None:
                kept_runs["has no intact checkpoint"] += 1
                continue
            kept_runs[reason] += 1
            removable.remove(newest.path)
        removable += [path for paths in trainings.values() for path in checkpoint_files.leftovers(paths.checkpoints)]
        if removable:
            removals.append(Removal(run.planned, tuple(removable), sum(path.stat().st_size for path in removable)))
    return GarbagePlan(tuple(removals), kept_runs)


def remove(agreed: GarbagePlan, matrix: Matrix, store: Store, home: Home, keep: Keep) -> GarbagePlan:
    """Remove what the user agreed to, as far as the policy still lets it go, and return what was removed.

    Nobody can submit meanwhile, and a run that somebody works on is passed over.
    """
    removals: list[Removal] = []
    with store.exclusive():
        plan = plan_removals(matrix, store, home, keep)
        agreed_files = {path for removal in agreed.removals for path in removal.files}
        kept_runs = Counter(plan.kept_runs)
        for removal in plan.removals:
            if not agreed_files.issuperset(removal.files):
                kept_runs["has changed meanwhile"] += 1
                continue
            with ExitStack() as locks:
                if not _lock_run(locks, home, removal.planned.run_id):
                    kept_runs["is being worked on"] += 1
                    continue
                sizes = {path: size for path in removal.files if (size := _unlink(path)) is not None}
            removals.append(Removal(removal.planned, tuple(sizes), sum(sizes.values())))
    return GarbagePlan(tuple(removals), kept_runs)


def _unlink(path: Path) -> int | None:
    """Remove a file and return its size in bytes; None if another process has removed it already."""
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return None
    return size


def _newest_intact(files: Sequence[checkpoint_files.CheckpointFile]) -> checkpoint_files.CheckpointFile | None:
    # A single file stays whatever its state, so that nobody has to read its gigabytes.
    return files[0] if len(files) == 1 else next((file for file in files if file.read() is not None), None)


def _reasons_to_keep(store: Store, runs: Sequence[RunStatus]) -> dict[str, str]:
    """Return the runs whose checkpoint is needed, by id, with the reason.

    It may be for an evaluation of the run, or a transfer attack from it, that has no result yet and that the matrix or
    an open claim of any matrix requests; or for a run that extends it.
    """
    data = {row.run_id: str(row.spec["data"]["name"]) for row in queries.runs(store)}
    data |= {run.planned.run_id: run.planned.run.data.name for run in runs}
    requested = {run.planned.run_id: [(benchmark, 1) for benchmark in run.planned.benchmarks] for run in runs}
    for claim in queries.open_claims(store):
        requested.setdefault(claim.run_id, []).extend((benchmark, claim.generation) for benchmark in claim.benchmarks)
    results = queries.results(store, requested)
    generations = {(result.run_id, result.evaluation_id): result.generation for result in results}
    reasons = {
        parent: f"keeps its last: {run.planned.name} extends it"
        for run in runs
        if run.stages[0].state != "done" and (parent := lineage.parent_id(run.planned.run))
    }
    for run_id, benchmarks in requested.items():
        for benchmark, generation in benchmarks:
            if generations.get((run_id, evaluation_id(benchmark, data[run_id])), 0) < generation:
                needed = {run_id, benchmark.source} if isinstance(benchmark, Transfer) else {run_id}
                reasons |= dict.fromkeys(needed, f"keeps its last: {describe(benchmark)} has no result")
    return reasons


def _lock_run(locks: ExitStack, home: Home, run_id: str) -> bool:
    """Take the leases of a run's stages until `locks` closes; return False if somebody else has one."""
    for stage in STAGES:
        taken = lease.acquire(home.run(run_id).lease(stage))
        if taken is None:
            return False
        locks.callback(taken.release)
    return True
