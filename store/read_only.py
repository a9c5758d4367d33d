"""Read a store without changing it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from jobs.paths import Home
from store.backends.backend import UnusableError
from store.connect import Store, open_existing, open_memory
from store.ingest import ingest


@contextmanager
def read_only(home: Home) -> Iterator[Store]:
    """Open the store as it is; where there is none, read the journals into one in memory.

    The journals also replace a store that is damaged or of an older schema: only a command that may write sets it
    aside. Raises UnreachableError for such a store where there are no journals either.
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
