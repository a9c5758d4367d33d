"""Verification of a store: every journal is read again, and every row compared.

The journals are read a few at a time into stores in memory, so that a large home needs little memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from jobs.paths import Home
from store import journal_scan, tables
from store.connect import Store, open_memory
from store.ingest import is_of_attempt, read_all
from store.journal_scan import JournalFile

_BYTES_AT_ONCE = 32 << 20
_SUBMISSION_TABLES = (tables.submissions, tables.runs, tables.claims, tables.releases, tables.workers)
_ATTEMPT_TABLES = (tables.jobs, tables.metrics, tables.results)


def disagreements(store: Store, home: Home) -> list[str]:
    """Return the journals (relative to CEBCTL_HOME) whose rows differ from those of a rebuild, or that have rows but
    were never read. Journals that were not read to their end, or that grow meanwhile, are skipped.
    """
    sources = list(journal_scan.journal_files(home))
    names = _compare(store, [source for source in sources if source.submission])
    for group in _groups(source for source in sources if source.job):
        names += _compare(store, group)
    return names + _orphans(store)


def _groups(sources: Iterable[JournalFile]) -> Iterator[list[JournalFile]]:
    group: list[JournalFile] = []
    size = 0
    for source in sources:
        group.append(source)
        size += source.path.stat().st_size if source.path.exists() else 0
        if size > _BYTES_AT_ONCE:
            yield group
            group, size = [], 0
    if group:
        yield group


def _compare(store: Store, sources: list[JournalFile]) -> list[str]:
    with open_memory() as fresh:
        read_all(fresh, sources)
        # The store is the inner one: what it meets is its own error, not that of the one in memory.
        with fresh.reading() as rebuilt, store.reading() as stored:
            offsets = [[journal_scan.read_position(side, s).offset for s in sources] for side in (stored, rebuilt)]
            same = [source for source, before, now in zip(sources, *offsets, strict=True) if before == now]
            if sources and sources[0].submission:
                # Submissions share runs: they are compared together or not at all.
                if len(same) == len(sources) and any(_differ(stored, rebuilt, table) for table in _SUBMISSION_TABLES):
                    return ["submissions/"]
                return []
            return [s.name for s in same if any(_differ(stored, rebuilt, table, s) for table in _ATTEMPT_TABLES)]


def _differ(stored: Connection, rebuilt: Connection, table: Table, source: JournalFile | None = None) -> bool:
    query = sa.select(table)
    if source is not None:
        query = query.where(is_of_attempt(source, table))
    # Rows begin with their key, so that sorting never compares the values behind it, which may be null or JSON.
    rows, rebuilt_rows = (sorted(map(_plain, side.execute(query))) for side in (stored, rebuilt))
    return rows != rebuilt_rows


def _plain(row: Iterable[Any]) -> tuple[Any, ...]:
    """Replace NUL characters, as `store.backends.postgresql` does: its text can't hold one."""
    return tuple(value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in row)


def _orphans(store: Store) -> list[str]:
    key = [tables.jobs.c.run_id, tables.jobs.c.stage, tables.jobs.c.attempt]
    with store.reading() as connection:
        journals = set(connection.scalars(sa.select(tables.journals.c.path)))
        names = [f"runs/{run}/journal/{stage}.{n}.jsonl" for run, stage, n in connection.execute(sa.select(*key))]
    return [name for name in names if name not in journals]
