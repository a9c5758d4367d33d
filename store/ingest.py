"""Read the journals into the store, each line exactly once.

One transaction writes the rows of a piece of a journal together with the offset behind it. There is one writer at a
time, and each reads the offset again inside its transaction. So nothing is lost or doubled if an ingest is killed, or
if several run at once. The content of the store is a function of the files, in whatever order they were read.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy import Connection

from experiments.errors import InputError, UnreachableError
from experiments.regular_files import open_regular
from jobs.journal import files
from jobs.journal import records as journal
from jobs.paths import Home
from store import journal_scan, projection, tables
from store.backends.backend import Backend, DamagedError, RenewedError
from store.connect import Store, another_home_error
from store.journal_scan import JournalFile

PIECE_BYTES = 4 << 20
"""The amount read within one transaction: half a second of work, some 100 MB of memory."""

_PASSES = 20
"""Scans of an ingest before it gives up, each after a journal was replaced during the one before."""

_log = logging.getLogger(__name__)


@dataclass
class Ingested:
    """The amount that one ingest read."""

    journals: set[str] = field(default_factory=set)
    records: int = 0
    damaged: Counter[str] = field(default_factory=Counter)
    """New damaged lines by journal (relative to CEBCTL_HOME); `queries.damaged_journals` has all of them."""

    @property
    def files(self) -> int:
        return len(self.journals)


def ingest(store: Store, home: Home) -> Ingested:
    """Read the new lines in the journals of the home.

    Raises UnreachableError if a journal or the store can't be used, InputError if the store belongs to another
    home or one run_id was claimed with two specs. A damaged store is set aside and rebuilt at once.
    """
    began = time.monotonic()
    try:
        ingested = _ingest(store, home)
    except RenewedError as error:  # an empty store has taken its place
        store.warnings.append(error.warning)
        ingested = _ingest(store, home)
    _log.debug("%s: %d new records (%.2f s)", store.where, ingested.records, time.monotonic() - began)
    return ingested


def _ingest(store: Store, home: Home) -> Ingested:
    total = Ingested()
    for _ in range(_PASSES):
        with store.reading() as connection:
            scan = journal_scan.scan(connection, home)
        # Without any journal of the store under this home, the store is another home's.
        if scan.vanished and len(scan.vanished) == scan.stored and not store.backend.is_inside(home.folder):
            raise another_home_error(store, home)
        if scan.replaced or scan.vanished:
            _delete_rows(store, scan.replaced + scan.vanished)
        elif read_all(store, scan.grown, total):
            return total
    raise UnreachableError(str(home.folder), "its journals are being replaced faster than they can be read")


def read_all(store: Store, sources: Iterable[JournalFile], total: Ingested | None = None) -> bool:
    """Read the journals to their ends, and add to the total; return False if one was replaced meanwhile."""
    total = total or Ingested()
    waiting = deque(sources)
    clean = True
    while waiting:
        read = 0
        with store.writing() as connection:
            while waiting and read < PIECE_BYTES:
                piece = _read_piece(store.backend, connection, waiting[0], total)
                clean = clean and piece is not None
                size, has_more = piece or (0, False)
                read += size
                if not has_more:
                    waiting.popleft()
    return clean


def _read_piece(
    backend: Backend, connection: Connection, source: JournalFile, total: Ingested
) -> tuple[int, bool] | None:
    """Read one piece from the store's position on; return its bytes and whether there is more.

    Returns None if the journal was replaced.
    """
    position = journal_scan.read_position(connection, source)
    try:
        with open_regular(source.path) as file:
            if journal_scan.fingerprint(file, position.offset) != position.fingerprint:
                return None
            now = os.fstat(file.fileno())
            chunk = files.read_open(file, position.offset, PIECE_BYTES)
            if chunk.offset == position.offset:
                return 0, False
            fingerprint = journal_scan.fingerprint(file, chunk.offset)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise journal_scan.unreadable(source, error) from error
    owner = source.owner(position.foreign)
    own = owner.sift(chunk.records)
    write = _write_job if source.job else _write_submission
    damaged = chunk.damaged + len(chunk.records) - len(own) + write(backend, connection, source, own)
    entry = {
        "path": source.name,
        "byte_offset": chunk.offset,
        "fingerprint": fingerprint,
        "mtime_ns": journal_scan.mtime_ns(now),
        "damaged": position.damaged + damaged,
        "foreign": owner.foreign,
    }
    backend.upsert(connection, tables.journals, [entry])
    total.journals.add(source.name)
    total.records += len(chunk.records)
    if damaged:
        total.damaged[source.name] += damaged
    return chunk.offset - position.offset, now.st_size - position.offset > PIECE_BYTES


def _write_job(backend: Backend, connection: Connection, source: JournalFile, records: list[journal.AnyRecord]) -> int:
    """Write the rows of an attempt's records; return the number of records that no job writes."""
    assert source.job
    before = connection.execute(sa.select(tables.jobs).where(is_of_attempt(source))).mappings().first()
    rows = projection.fold_job(source.job, dict(before) if before else None, records)
    if rows.job["updated_at"] is not None:
        backend.upsert(connection, tables.jobs, [rows.job])
    backend.write_metrics(connection, rows.metrics)
    if rows.results:
        # A repeated result may have fewer measures: an upsert alone would leave the old ones.
        repeated = tables.results.c.evaluation_id.in_(rows.results)
        connection.execute(sa.delete(tables.results).where(is_of_attempt(source, tables.results), repeated))
        backend.upsert(connection, tables.results, [row for result in rows.results.values() for row in result])
    return rows.misplaced


def _write_submission(
    backend: Backend, connection: Connection, source: JournalFile, records: list[journal.AnyRecord]
) -> int:
    """Write the rows of a submission's records; return the number of records that no submission writes."""
    assert source.submission
    if not records:
        return 0
    named = sa.select(tables.submissions.c.name).where(tables.submissions.c.name == source.submission)
    rows = projection.fold_submission(source.submission, connection.scalar(named) is None, records)
    if rows.submission:
        backend.upsert(connection, tables.submissions, [rows.submission])
    backend.upsert(connection, tables.runs, _newest_runs(backend, connection, source, rows))
    backend.upsert(connection, tables.claims, rows.claims)
    backend.upsert(connection, tables.workers, rows.workers)
    backend.upsert(connection, tables.releases, rows.releases)
    return rows.misplaced


def _newest_runs(
    backend: Backend, connection: Connection, source: JournalFile, rows: projection.SubmissionRows
) -> list[projection.Row]:
    """Return the runs to write: the new ones, and those that no newer submission has named.

    Raises InputError if a run was claimed with two specs, and DamagedError if the store holds another than was claimed.
    """
    runs = tables.runs
    ids = sorted(rows.runs)
    stored: dict[str, sa.Row[tuple[str, str, projection.Row]]] = {}
    for at in range(0, len(ids), 500):
        query = sa.select(runs.c.run_id, runs.c.submission, runs.c.spec)
        stored |= {row.run_id: row for row in connection.execute(query.where(runs.c.run_id.in_(ids[at : at + 500])))}
    for run_id in rows.conflicts + [i for i, row in stored.items() if row.spec != rows.runs[i]["spec"]]:
        if run_id in stored and projection.is_another_run(run_id, stored[run_id].spec):
            raise DamagedError(backend.where, f"holds another spec of run {run_id} than was claimed")
        other = stored[run_id].submission if run_id in stored else source.submission
        raise InputError(
            source.path,
            f"claims run {run_id} with another spec than submission {other} did",
            "one run_id means one spec; remove the wrong one of the two journals",
        )
    return [row for i, row in rows.runs.items() if i not in stored or row["submission"] >= stored[i].submission]


def _delete_rows(store: Store, sources: Iterable[JournalFile]) -> None:
    """Delete the rows of journals that were cut, replaced or removed, unless another process has just done so.

    Submissions share runs, so that all of them are deleted, and then read, together: they are small.
    """
    with store.writing() as connection:
        for source in sources:
            if _is_intact(connection, source):
                continue
            if source.job:
                # Metrics and results go with their job.
                connection.execute(sa.delete(tables.jobs).where(is_of_attempt(source)))
                connection.execute(sa.delete(tables.journals).where(tables.journals.c.path == source.name))
                continue
            for table in (tables.releases, tables.workers, tables.claims, tables.runs, tables.submissions):
                connection.execute(sa.delete(table))
            of_submissions = tables.journals.c.path.startswith("submissions/")
            connection.execute(sa.delete(tables.journals).where(of_submissions))


def _is_intact(connection: Connection, source: JournalFile) -> bool:
    """Whether the journal still begins with the bytes that the store has read."""
    position = journal_scan.read_position(connection, source)
    try:
        with open_regular(source.path) as file:
            return journal_scan.fingerprint(file, position.offset) == position.fingerprint
    except FileNotFoundError:
        return position.offset == 0
    except OSError as error:
        raise journal_scan.unreadable(source, error) from error


def is_of_attempt(source: JournalFile, table: sa.Table = tables.jobs) -> sa.ColumnElement[bool]:
    assert source.job
    run_id, stage, attempt = source.job
    return sa.and_(table.c.run_id == run_id, table.c.stage == stage, table.c.attempt == attempt)
