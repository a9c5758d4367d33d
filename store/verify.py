"""Does the store say what its journals say? Every journal is read again, and every row compared.

The journals are read a few at a time into stores in memory, so that a large home needs little of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from jobs.paths import Home
from store import journal_scan, tables
from store.connect import Store, open_memory
from store.ingest import read_all
from store.journal_scan import JournalFile

_BYTES_AT_ONCE = 32 << 20
_OF_SUBMISSIONS = (tables.submissions, tables.runs, tables.claims, tables.releases, tables.workers)
_OF_A_JOB = (tables.jobs, tables.metrics, tables.results)


def disagreements(store: Store, home: Home) -> list[str]:
    """The journals (relative to CEBCTL_HOME) whose rows are not those that a rebuild would give, and the keys of
    rows that come from no journal. Journals that were not read to their end, or grow meanwhile, are passed over.
    """
    sources = list(journal_scan.journal_files(home))
    submissions = [source for source in sources if source.submission]
    found = _compare(store, submissions)
    for group in _groups(source for source in sources if source.job):
        found += _compare(store, group)
    return found + _orphans(store)


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
        with store.reading() as ours, fresh.reading() as theirs:
            same = [
                s
                for s in sources
                if journal_scan.read_position(ours, s).offset == journal_scan.read_position(theirs, s).offset
            ]
            if sources and sources[0].submission:
                # Submissions share runs: they are compared together or not at all.
                if len(same) == len(sources) and any(_differ(ours, theirs, table) for table in _OF_SUBMISSIONS):
                    return ["submissions/"]
                return []
            return [s.name for s in same if any(_differ(ours, theirs, table, s) for table in _OF_A_JOB)]


def _differ(ours: Connection, theirs: Connection, table: Table, source: JournalFile | None = None) -> bool:
    query = sa.select(table)
    if source is not None:
        assert source.job
        for name, value in zip(("run_id", "stage", "attempt"), source.job, strict=True):
            query = query.where(table.c[name] == value)
    # Rows begin with their key, so that the values behind it, null or JSON, are never put in order.
    one, other = (sorted(map(_plain, side.execute(query))) for side in (ours, theirs))
    return one != other


def _plain(row: Iterable[Any]) -> tuple[Any, ...]:
    """PostgreSQL can't hold a NUL: see `store.backends.postgresql`."""
    return tuple(value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in row)


def _orphans(store: Store) -> list[str]:
    key = [tables.jobs.c.run_id, tables.jobs.c.stage, tables.jobs.c.attempt]
    with store.reading() as connection:
        journals = set(connection.scalars(sa.select(tables.journals.c.path)))
        names = [f"runs/{run}/journal/{stage}.{n}.jsonl" for run, stage, n in connection.execute(sa.select(*key))]
    return [name for name in names if name not in journals]
