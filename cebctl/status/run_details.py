"""The details of each run that the page shows beside its numbers, from the store and the run's own folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cebctl.status.states import RunStatus
from experiments import lineage
from experiments.identity import run_id
from experiments.regular_files import open_regular
from jobs import provenance
from jobs.paths import Home
from store import queries
from store.connect import Store
from store.row_types import AttemptRow, MetricPoint

POINTS = 60
"""The most points of a curve. The ends, the range and every spike stay (`store.downsample`)."""
TAIL_BYTES = 4000


@dataclass(frozen=True)
class RunDetails:
    """The details of one run."""

    status: RunStatus
    jobs: tuple[AttemptRow, ...]
    """Every attempt."""
    curves: tuple[MetricPoint, ...]
    """The metrics of the runs that it extends, then its own."""
    provenance: Mapping[str, Any]
    """Empty as long as the run has not started."""
    log: str
    """The last lines that its newest attempt printed."""


def collect_run_details(
    runs: Sequence[RunStatus], store: Store, home: Home, metrics: Collection[str]
) -> list[RunDetails]:
    """Return the details of every run, in order, with the curves of these metrics."""
    jobs: dict[str, list[AttemptRow]] = defaultdict(list)
    for job in queries.attempts(store, [run.planned.run_id for run in runs]):
        jobs[job.run_id].append(job)
    return [_run_details(run, jobs[run.planned.run_id], store, home, metrics) for run in runs]


def _run_details(
    run: RunStatus, jobs: Sequence[AttemptRow], store: Store, home: Home, metrics: Collection[str]
) -> RunDetails:
    paths = home.run(run.planned.run_id)
    ancestors = [run_id(ancestor) for ancestor in lineage.ancestors(run.planned.run)]
    curves = queries.metrics(store, run.planned.run_id, metrics, POINTS, ancestors) if jobs else []
    newest = max(jobs, key=lambda job: job.updated_at, default=None)
    log = _tail(paths.log(newest.stage, newest.attempt)) if newest else ""
    return RunDetails(run, tuple(jobs), tuple(curves), provenance.read(paths), log)


def _tail(path: Path) -> str:
    try:
        with open_regular(path) as file:
            file.seek(0, 2)
            size = file.tell()
            file.seek(max(0, size - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return text.partition("\n")[2] if size > TAIL_BYTES else text
