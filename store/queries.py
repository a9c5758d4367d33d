"""The questions asked of the store. Each is one consistent reading; rows come in the order of their keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Select

from experiments.benchmarks import AnyBenchmark
from store import downsample, tables
from store.connect import Store
from store.row_types import AttemptRow, ClaimRow, MetricPoint, Renewal, ResultRow, RunRow, SubmissionRow, WorkerRow
from store.tables import latest_results
from store.tables import open_claims as open_claims_view

_IDS_AT_ONCE = 500
"""How many ids one statement holds: databases limit the number of its variables."""


def runs(store: Store, prefix: str | None = None) -> list[RunRow]:
    """The runs that were ever claimed; with a prefix, those whose id begins so."""
    query = sa.select(tables.runs).order_by(tables.runs.c.run_id)
    if prefix is not None:
        query = query.where(sa.func.substr(tables.runs.c.run_id, 1, len(prefix)) == prefix)
    with store.reading() as connection:
        return [RunRow(**row) for row in connection.execute(query).mappings()]


def submissions(store: Store) -> list[SubmissionRow]:
    """Every submission, in order of name."""
    query = sa.select(tables.submissions).order_by(tables.submissions.c.name)
    with store.reading() as connection:
        return [SubmissionRow(**row) for row in connection.execute(query).mappings()]


def attempts(store: Store, run_ids: Collection[str] | None = None) -> list[AttemptRow]:
    """Every attempt of the runs (None: of all), in order of run, stage and attempt."""
    query = sa.select(*[tables.jobs.c[name] for name in AttemptRow.__slots__])
    with store.reading() as connection:
        found = [AttemptRow(*row) for row in _of_runs(connection, query, tables.jobs.c.run_id, run_ids)]
    return sorted(found, key=lambda row: (row.run_id, row.stage, row.attempt))


def open_claims(store: Store, run_ids: Collection[str] | None = None) -> list[ClaimRow]:
    """The claims on the runs (None: on all) that nobody gave back, finished or not."""
    claim, submission = open_claims_view.c, tables.submissions.c
    # As text: thousands of claims share few lists of benchmarks.
    own = [sa.cast(c, sa.Text).label(c.name) if c.name == "benchmarks" else c for c in claim]
    query = sa.select(*own, submission.executor, submission.host, submission.submitted_by).join(
        tables.submissions, submission.name == claim.submission
    )
    with store.reading() as connection:
        rows = [row._asdict() for row in _of_runs(connection, query, claim.run_id, run_ids)]
        workers = _workers(connection)
    found = [
        ClaimRow(**row | {"benchmarks": _benchmarks(row["benchmarks"])}, workers=workers.get(row["submission"], ()))
        for row in rows
    ]
    return sorted(found, key=lambda row: (row.run_id, row.stage, row.submission))


def claimed_benchmarks(store: Store, submissions: Collection[str]) -> list[tuple[str, str, tuple[AnyBenchmark, ...]]]:
    """Return run, its name then and the benchmarks of every claim that these submissions ever made, the oldest first,
    whether it was given back since or not."""
    claim = tables.claims.c
    query = sa.select(claim.submission, claim.run_id, claim.label, sa.cast(claim.benchmarks, sa.Text).label("text"))
    with store.reading() as connection:
        rows = list(_of_runs(connection, query, claim.submission, submissions))
    rows.sort(key=lambda row: (row.submission, row.run_id))
    return [(row.run_id, row.label, _benchmarks(row.text)) for row in rows]


def renewals(store: Store, run_ids: Collection[str]) -> list[Renewal]:
    """The claims by which something of the runs was to be done anew, also where they were given back since."""
    claim = tables.claims.c
    query = sa.select(claim.run_id, claim.stage, claim.generation, sa.cast(claim.benchmarks, sa.Text))
    query = query.where(claim.generation > 1)
    with store.reading() as connection:
        rows = list(_of_runs(connection, query, claim.run_id, run_ids))
    return [Renewal(run_id, stage, number, _benchmarks(text)) for run_id, stage, number, text in rows]


def failed_benchmarks(
    store: Store, run_ids: Collection[str], wanted: Callable[[str, AnyBenchmark], int] = lambda *_: 1
) -> dict[str, set[AnyBenchmark]]:
    """What attempts at evaluations that failed were to measure, by run; also where the claim was given back since. Of
    each benchmark, those of generations before the one that is `wanted` do not count."""
    claim, job = tables.claims.c, tables.jobs.c
    failed = sa.and_(job.run_id == claim.run_id, job.stage == claim.stage, job.submission == claim.submission)
    columns = claim.run_id, job.generation, sa.cast(claim.benchmarks, sa.Text)
    query = sa.select(*columns).select_from(tables.claims).join(tables.jobs, failed)
    query = query.where(claim.stage == "evaluate", job.state == "failed")
    found: dict[str, set[AnyBenchmark]] = defaultdict(set)
    with store.reading() as connection:
        for run_id, generation, text in _of_runs(connection, query, claim.run_id, run_ids):
            found[run_id].update(b for b in _benchmarks(text) if generation >= wanted(run_id, b))
    return found


def results(store: Store, run_ids: Collection[str]) -> list[ResultRow]:
    """Every measure of the newest attempt that finished each evaluation of the runs."""
    query = sa.select(*[latest_results.c[name] for name in ResultRow.__slots__])
    # As text: thousands of rows share few benchmarks and versions.
    query = query.with_only_columns(
        *[sa.cast(c, sa.Text).label(c.name) if c.name in _DECODERS else c for c in query.selected_columns]
    )
    with store.reading() as connection:
        rows = [row._asdict() for row in _of_runs(connection, query, latest_results.c.run_id, run_ids)]
    found = [ResultRow(**row | {name: decode(row[name]) for name, decode in _DECODERS.items()}) for row in rows]
    return sorted(found, key=lambda row: (row.run_id, row.evaluation_id, row.name))


def per_sample(store: Store, run_id: str, evaluation_id: str) -> str | None:
    """Correct or not for each image, as `jobs.journal.records.Result.per_sample` has it; None if it was not kept."""
    query = sa.select(latest_results.c.per_sample).where(
        latest_results.c.run_id == run_id, latest_results.c.evaluation_id == evaluation_id
    )
    with store.reading() as connection:
        return next((text for (text,) in connection.execute(query) if text is not None), None)


def metrics(
    store: Store,
    run_id: str,
    names: Collection[str] | None = None,
    at_most: int | None = None,
    ancestors: Sequence[str] = (),
) -> list[MetricPoint]:
    """The metrics of a run (None: all), by stage, name and step; a step run twice counts as last run. Of a training
    that was done anew, those of its newest generation that is complete, as the results are.

    `ancestors`: the runs that it extends, the first one first, whose training is the beginning of its own; one that the
    store does not know is left out. For a plot, no more than `at_most` points of each curve, by the rule of
    `store.downsample`; at least `thin.FEWEST`.
    """
    table = tables.metrics.c
    query = sa.select(*[table[name] for name in MetricPoint.__slots__]).order_by(table.attempt)
    if names is not None:
        query = query.where(table.name.in_(names))
    newest: dict[tuple[str, str, int], MetricPoint] = {}
    with store.reading() as connection:
        for one in (*ancestors, run_id):
            others = _of_other_generations(connection, one)
            whose = query.where(table.run_id == one, sa.or_(table.stage != "train", table.attempt.not_in(others)))
            for row in connection.execute(whose if one == run_id else whose.where(table.stage == "train")):
                newest[row.stage, row.name, row.step] = MetricPoint(*row)
    points = [newest[key] for key in sorted(newest)]
    if at_most is None:
        return points
    curves = groupby(points, key=lambda point: (point.stage, point.name))
    return [point for _, curve in curves for point in downsample.minmax_decimate(list(curve), at_most)]


def last_metrics(store: Store, name: str, run_ids: Collection[str] | None = None) -> dict[str, MetricPoint]:
    """Return the point of the last step of a training metric, by run (None: of all); a step run twice counts as last
    run. Of a training that was done anew, that of its newest generation that is complete, as in `metrics`."""
    table, job = tables.metrics.c, tables.jobs.c
    trainings = sa.select(
        job.run_id,
        sa.func.coalesce(
            sa.func.max(sa.case((job.state == "succeeded", job.generation))), sa.func.max(job.generation)
        ).label("generation"),
    ).where(job.stage == "train")
    counts = trainings.group_by(job.run_id).subquery()
    counting = (
        sa.select(job.run_id, job.attempt)
        .join(counts, sa.and_(counts.c.run_id == job.run_id, counts.c.generation == job.generation))
        .where(job.stage == "train")
        .subquery()
    )
    points = (
        sa.select(*[table[column] for column in MetricPoint.__slots__], table.run_id)
        .join(counting, sa.and_(counting.c.run_id == table.run_id, counting.c.attempt == table.attempt))
        .where(table.stage == "train", table.name == name)
        .subquery()
    )
    ends = sa.select(points.c.run_id, sa.func.max(points.c.step).label("step")).group_by(points.c.run_id).subquery()
    query = (
        sa.select(*[points.c[column] for column in MetricPoint.__slots__], points.c.run_id)
        .join(ends, sa.and_(points.c.run_id == ends.c.run_id, points.c.step == ends.c.step))
        .order_by(points.c.attempt)
    )
    with store.reading() as connection:
        return {run_id: MetricPoint(*point) for *point, run_id in _of_runs(connection, query, points.c.run_id, run_ids)}


def _of_other_generations(connection: Connection, run_id: str) -> list[int]:
    """The attempts at a training that are not of the generation that counts."""
    job = tables.jobs.c
    query = sa.select(job.attempt, job.generation, job.state).where(job.run_id == run_id, job.stage == "train")
    rows = list(connection.execute(query))
    complete = [generation for _, generation, state in rows if state == "succeeded"]
    counts = max(complete or [generation for _, generation, _ in rows], default=1)
    return [attempt for attempt, generation, _ in rows if generation != counts]


def metric_names(store: Store) -> list[str]:
    """The names of all metrics that any run has, in order."""
    query = sa.select(tables.metrics.c.name).distinct().order_by(tables.metrics.c.name)
    with store.reading() as connection:
        return list(connection.execute(query).scalars())


def damaged_journals(store: Store) -> dict[str, int]:
    """Journals (relative to CEBCTL_HOME) with lines that made no sense, and how many."""
    journals = tables.journals.c
    query = sa.select(journals.path, journals.damaged).where(journals.damaged > 0).order_by(journals.path)
    with store.reading() as connection:
        return {row.path: row.damaged for row in connection.execute(query)}


def _of_runs(
    connection: Connection, query: Select[Any], column: ColumnElement[str], run_ids: Collection[str] | None
) -> Iterator[Any]:
    if run_ids is None:
        yield from connection.execute(query)
        return
    ids = sorted(set(run_ids))
    for first in range(0, len(ids), _IDS_AT_ONCE):
        yield from connection.execute(query.where(column.in_(ids[first : first + _IDS_AT_ONCE])))


def _workers(connection: Connection) -> dict[str, tuple[WorkerRow, ...]]:
    table = tables.workers
    workers: dict[str, list[WorkerRow]] = defaultdict(list)
    query = sa.select(*[table.c[name] for name in WorkerRow.__slots__])
    for row in connection.execute(query.order_by(table.c.submission, table.c.job)):
        workers[row.submission].append(WorkerRow(*row))
    return {submission: tuple(rows) for submission, rows in workers.items()}


@lru_cache(maxsize=4096)
def _benchmark(text: str) -> AnyBenchmark:
    benchmark: AnyBenchmark = msgspec.json.decode(text, type=AnyBenchmark)
    return benchmark


@lru_cache(maxsize=4096)
def _benchmarks(text: str) -> tuple[AnyBenchmark, ...]:
    return tuple(msgspec.json.decode(text, type=list[AnyBenchmark]))


@lru_cache(maxsize=4096)
def _versions(text: str | None) -> dict[str, Any] | None:
    return None if text is None else msgspec.json.decode(text, type=dict[str, Any])


_DECODERS: dict[str, Callable[[Any], Any]] = {"benchmark": _benchmark, "numerics": _versions, "libraries": _versions}
"""Of the JSON columns of a result."""
