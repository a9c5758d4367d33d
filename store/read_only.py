"""A store that is read and left as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from jobs.paths import Home
from store.backends.backend import UnusableError
from store.connect import Store, open_existing, open_memory
from store.ingest import ingest


@contextmanager
def read_only(home: Home) -> Iterator[Store]:
    """The store as it is, unchanged; where there is none, the journals are read into one in memory.

    So they are where it is damaged or of an older schema, which the next command that may write sets aside. Raises
    UnreachableError for such a store where there are no journals to read instead.
    """
    try:
        existing = open_existing(home.store_url)
    except UnusableError:
        if not home.folder.exists():
            raise
        existing = None
    with existing or open_memory() as store:
        if existing is None:
            ingest(store, home)
        yield store
