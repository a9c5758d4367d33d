"""Which checkpoints may go, and removing them.

The policy: of a run that is trained and has the result of every benchmark of the matrix, all checkpoints but the
newest intact one of its newest training; with `keep="none"` that one too, unless some submission waits for another
evaluation of the run, or the matrix asks for one that this version can't run. Of any other run, nothing. Never a
journal, and so never a result.
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
    """What may go of one run."""

    planned: PlannedRun
    files: tuple[Path, ...]
    size: int
    """In bytes."""


@dataclass(frozen=True)
class Collection:
    """What may go of a matrix, and why not more."""

    removals: tuple[Removal, ...]
    kept: Counter[str] = field(default_factory=Counter)
    """How many runs keep something, by the reason."""

    @property
    def files(self) -> int:
        return sum(len(removal.files) for removal in self.removals)

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(removal.size for removal in self.removals)


def collect(matrix: Matrix, store: Store, home: Home, keep: Keep) -> Collection:
    """What the policy lets go. Removes nothing."""
    runs = collect_statuses(matrix, store, home)
    waiting = _waiting(store, runs) if keep == "none" else {}
    removals: list[Removal] = []
    kept: Counter[str] = Counter()
    for run in runs:
        trainings = {paths.generation: paths for paths in home.run(run.planned.run_id).generations()}
        of_each = {
            number: list(checkpoint_files.newest_first(paths.checkpoints)) for number, paths in trainings.items()
        }
        if not any(of_each.values()):
            continue
        files = of_each.get(run.stages[0].training_generation, [])
        going = [found.path for found in itertools.chain(*of_each.values())]
        if run.state != "done":
            kept["is not trained and evaluated"] += 1
            continue
        reason = "keeps its last" if keep == "last" else waiting.get(run.planned.run_id)
        if reason:
            last = _newest_intact(files)
            if last is None:
                kept["has no intact checkpoint"] += 1
                continue
            kept[reason] += 1
            going.remove(last.path)
        going += [path for paths in trainings.values() for path in checkpoint_files.leftovers(paths.checkpoints)]
        if going:
            removals.append(Removal(run.planned, tuple(going), sum(path.stat().st_size for path in going)))
    return Collection(tuple(removals), kept)


def remove(agreed: Collection, matrix: Matrix, store: Store, home: Home, keep: Keep) -> Collection:
    """Remove what was agreed to, as far as it may still go; what went.

    Nobody can submit meanwhile, and a run that somebody works on is passed over.
    """
    gone: list[Removal] = []
    with store.exclusive():
        now = collect(matrix, store, home, keep)
        asked = {path for removal in agreed.removals for path in removal.files}
        kept = Counter(now.kept)
        for removal in now.removals:
            if not asked.issuperset(removal.files):
                kept["has changed meanwhile"] += 1
                continue
            with ExitStack() as held:
                if not _take(held, home, removal.planned.run_id):
                    kept["is being worked on"] += 1
                    continue
                removed = [(path, size) for path in removal.files if (size := _unlink(path)) is not None]
            gone.append(Removal(removal.planned, tuple(path for path, _ in removed), sum(size for _, size in removed)))
    return Collection(tuple(gone), kept)


def _unlink(path: Path) -> int | None:
    """Remove a file and return its size in bytes; None where it was gone already."""
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return None
    return size


def _newest_intact(files: Sequence[checkpoint_files.CheckpointFile]) -> checkpoint_files.CheckpointFile | None:
    # A lone one stays whatever it is, so that nobody has to read its gigabytes.
    return files[0] if len(files) == 1 else next((found for found in files if found.read() is not None), None)


def _waiting(store: Store, runs: Sequence[RunStatus]) -> dict[str, str]:
    """The runs whose checkpoint is needed, and what for: an evaluation of the run itself or a transfer attack from it
    that has no result yet, asked for by the matrix or by an open claim of any, or a run that extends it."""
    data = {row.run_id: str(row.spec["data"]["name"]) for row in queries.runs(store)}
    data |= {run.planned.run_id: run.planned.run.data.name for run in runs}
    asked = {run.planned.run_id: [(benchmark, 1) for benchmark in run.planned.benchmarks] for run in runs}
    for claim in queries.open_claims(store):
        asked.setdefault(claim.run_id, []).extend((benchmark, claim.generation) for benchmark in claim.benchmarks)
    have = {(result.run_id, result.evaluation_id): result.generation for result in queries.results(store, asked)}
    waiting = {
        extended: f"keeps its last: {run.planned.name} extends it"
        for run in runs
        if run.stages[0].state != "done" and (extended := lineage.parent_id(run.planned.run))
    }
    for run_id, benchmarks in asked.items():
        for benchmark, generation in benchmarks:
            if have.get((run_id, evaluation_id(benchmark, data[run_id])), 0) < generation:
                needed = {run_id, benchmark.source} if isinstance(benchmark, Transfer) else {run_id}
                waiting |= dict.fromkeys(needed, f"keeps its last: {describe(benchmark)} has no result")
    return waiting


def _take(held: ExitStack, home: Home, run_id: str) -> bool:
    for stage in STAGES:
        taken = lease.acquire(home.run(run_id).lease(stage))
        if taken is None:
            return False
        held.callback(taken.release)
    return True
