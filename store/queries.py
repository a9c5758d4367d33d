"""The queries. Each reads one consistent state; rows come in the order of their keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache
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
"""The number of ids in one statement: databases limit its variables."""


def runs(store: Store, prefix: str | None = None) -> list[RunRow]:
    """Return the runs that were ever claimed; with a prefix, those whose id begins with it."""
    query = sa.select(tables.runs).order_by(tables.runs.c.run_id)
    if prefix is not None:
        query = query.where(sa.func.substr(tables.runs.c.run_id, 1, len(prefix)) == prefix)
    with store.reading() as connection:
        return [RunRow(**row) for row in connection.execute(query).mappings()]


def submissions(store: Store) -> list[SubmissionRow]:
    """Return every submission, in order of name."""
    query = sa.select(tables.submissions).order_by(tables.submissions.c.name)
    with store.reading() as connection:
        return [SubmissionRow(**row) for row in connection.execute(query).mappings()]


def attempts(store: Store, run_ids: Collection[str] | None = None) -> list[AttemptRow]:
    """Return every attempt of the runs (None: of all), in order of run, stage and attempt."""
    query = sa.select(*[tables.jobs.c[name] for name in AttemptRow.__slots__])
    with store.reading() as connection:
        rows = [AttemptRow(*row) for row in _select_in(connection, query, tables.jobs.c.run_id, run_ids)]
    return sorted(rows, key=lambda row: (row.run_id, row.stage, row.attempt))


def open_claims(store: Store, run_ids: Collection[str] | None = None) -> list[ClaimRow]:
    """Return the claims on the runs (None: on all) that were not released, finished or not."""
    claim, submission = open_claims_view.c, tables.submissions.c
    # As text: thousands of claims share few lists of benchmarks.
    own = [sa.cast(c, sa.Text).label(c.name) if c.name == "benchmarks" else c for c in claim]
    query = sa.select(*own, submission.executor, submission.host, submission.submitted_by).join(
        tables.submissions, submission.name == claim.submission
    )
    with store.reading() as connection:
        rows = [row._asdict() for row in _select_in(connection, query, claim.run_id, run_ids)]
        workers = _workers(connection)
    claims = [
        ClaimRow(**row | {"benchmarks": _benchmarks(row["benchmarks"])}, workers=workers.get(row["submission"], ()))
        for row in rows
    ]
    return sorted(claims, key=lambda row: (row.run_id, row.stage, row.submission))


def claimed_benchmarks(store: Store, submissions: Collection[str]) -> list[tuple[str, str, tuple[AnyBenchmark, ...]]]:
    """Return run, its name then and the benchmarks of every claim that these submissions made, the oldest first,
    released or not."""
    claim = tables.claims.c
    query = sa.select(claim.submission, claim.run_id, claim.label, sa.cast(claim.benchmarks, sa.Text).label("text"))
    with store.reading() as connection:
        rows = list(_select_in(connection, query, claim.submission, submissions))
    rows.sort(key=lambda row: (row.submission, row.run_id))
    return [(row.run_id, row.label, _benchmarks(row.text)) for row in rows]


def renewals(store: Store, run_ids: Collection[str]) -> list[Renewal]:
    """Return the claims that begin a new generation of something of the runs, released or not."""
    claim = tables.claims.c
    query = sa.select(claim.run_id, claim.stage, claim.generation, sa.cast(claim.benchmarks, sa.Text))
    query = query.where(claim.generation > 1)
    with store.reading() as connection:
        rows = list(_select_in(connection, query, claim.run_id, run_ids))
    return [Renewal(run_id, stage, number, _benchmarks(text)) for run_id, stage, number, text in rows]


def failed_benchmarks(
    store: Store, run_ids: Collection[str], valid_generation: Callable[[str, AnyBenchmark], int] = lambda *_: 1
) -> dict[str, set[AnyBenchmark]]:
    """Return the benchmarks of failed attempts at evaluations, by run, also where the claim was released since.

    `valid_generation` returns the generation of a run's benchmark that counts: attempts of earlier ones are ignored.
    """
    claim, job = tables.claims.c, tables.jobs.c
    failed = sa.and_(job.run_id == claim.run_id, job.stage == claim.stage, job.submission == claim.submission)
    columns = claim.run_id, job.generation, sa.cast(claim.benchmarks, sa.Text)
    query = sa.select(*columns).select_from(tables.claims).join(tables.jobs, failed)
    query = query.where(claim.stage == "evaluate", job.state == "failed")
    failures: dict[str, set[AnyBenchmark]] = defaultdict(set)
    with store.reading() as connection:
        for run_id, generation, text in _select_in(connection, query, claim.run_id, run_ids):
            failures[run_id].update(b for b in _benchmarks(text) if generation >= valid_generation(run_id, b))
    return failures


def results(store: Store, run_ids: Collection[str]) -> list[ResultRow]:
    """Return every measure of the newest attempt that finished each evaluation of the runs."""
    query = sa.select(*[latest_results.c[name] for name in ResultRow.__slots__])
    # As text: thousands of rows share few benchmarks and versions.
    query = query.with_only_columns(
        *[sa.cast(c, sa.Text).label(c.name) if c.name in _DECODERS else c for c in query.selected_columns]
    )
    with store.reading() as connection:
        rows = [row._asdict() for row in _select_in(connection, query, latest_results.c.run_id, run_ids)]
    decoded = [ResultRow(**row | {name: decode(row[name]) for name, decode in _DECODERS.items()}) for row in rows]
    return sorted(decoded, key=lambda row: (row.run_id, row.evaluation_id, row.name))


def first_result(store: Store, run_ids: Collection[str], evaluations: Collection[str] | None = None) -> float | None:
    """Return the time of the first result of the runs in these evaluations (None: in all), by the clock of its writer,
    also where it was measured again since; None if there is none."""
    table = tables.results.c
    query = sa.select(sa.func.min(table.measured_at))
    if evaluations is not None:
        query = query.where(table.evaluation_id.in_(evaluations))
    with store.reading() as connection:
        rows = list(_select_in(connection, query, table.run_id, run_ids))
    return min((time for (time,) in rows if time is not None), default=None)


def per_sample(store: Store, run_id: str, evaluation_id: str) -> str | None:
    """Return correct or not for each image, encoded by `jobs.per_sample`; None if it was not recorded."""
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
    """Return the metrics of these names (None: all) of a run, in order of stage, name and step.

    A step that ran twice has the values of its last run. Of a training that was done anew, the newest complete
    generation counts, as for results. `ancestors` are the runs that it extends, the first one first: their training is
    the beginning of its own. `at_most` limits the points of each curve for a plot: see `store.downsample`.
    """
    table = tables.metrics.c
    query = sa.select(*[table[name] for name in MetricPoint.__slots__]).order_by(table.attempt)
    if names is not None:
        query = query.where(table.name.in_(names))
    newest: dict[tuple[str, str], dict[int, Any]] = defaultdict(dict)
    with store.reading() as connection:
        for source in (*ancestors, run_id):
            outdated = _outdated_trainings(connection, source)
            points = query.where(table.run_id == source, sa.or_(table.stage != "train", table.attempt.not_in(outdated)))
            for row in connection.execute(points if source == run_id else points.where(table.stage == "train")).all():
                stage, name, step, *_ = row
                newest[stage, name][step] = row
    curves = ([points[step] for step in sorted(points)] for _, points in sorted(newest.items()))
    kept = curves if at_most is None else (downsample.minmax_decimate(curve, at_most) for curve in curves)
    return [MetricPoint(*row) for curve in kept for row in curve]


def last_metrics(store: Store, name: str, run_ids: Collection[str] | None = None) -> dict[str, MetricPoint]:
    """Return the point of the last step of a training metric, by run (None: of all); generations as in `metrics`."""
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
        rows = _select_in(connection, query, points.c.run_id, run_ids)
        return {run_id: MetricPoint(*point) for *point, run_id in rows}


def _outdated_trainings(connection: Connection, run_id: str) -> list[int]:
    """Return the attempts at a training whose generation is not the valid one: the newest complete one, if any."""
    job = tables.jobs.c
    query = sa.select(job.attempt, job.generation, job.state).where(job.run_id == run_id, job.stage == "train")
    rows = list(connection.execute(query))
    complete = [generation for _, generation, state in rows if state == "succeeded"]
    valid = max(complete or [generation for _, generation, _ in rows], default=1)
    return [attempt for attempt, generation, _ in rows if generation != valid]


def metric_names(store: Store) -> list[str]:
    """Return the names of all metrics of any run, in order."""
    query = sa.select(tables.metrics.c.name).distinct().order_by(tables.metrics.c.name)
    with store.reading() as connection:
        return list(connection.execute(query).scalars())


def damaged_journals(store: Store) -> dict[str, int]:
    """Return the number of damaged lines of each journal that has any (relative to CEBCTL_HOME)."""
    journals = tables.journals.c
    query = sa.select(journals.path, journals.damaged).where(journals.damaged > 0).order_by(journals.path)
    with store.reading() as connection:
        return {row.path: row.damaged for row in connection.execute(query)}


def _select_in(
    connection: Connection, query: Select[Any], column: ColumnElement[str], values: Collection[str] | None
) -> Iterator[Any]:
    """Yield the query's rows whose column has one of the values (None: all rows)."""
    if values is None:
        yield from connection.execute(query)
        return
    ordered = sorted(set(values))
    for first in range(0, len(ordered), _IDS_AT_ONCE):
        yield from connection.execute(query.where(column.in_(ordered[first : first + _IDS_AT_ONCE])))


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
"""The decoders of a result's JSON columns."""
