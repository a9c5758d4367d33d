"""Open a store: create it, upgrade it, refuse it, or set it aside when it is damaged.

with open_store(home.store_url) as store:
    ingest(store, home)
    rows = jobs(store)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import sqlalchemy as sa
from sqlalchemy import URL, Connection
from sqlalchemy.exc import ArgumentError

from experiments.errors import InputError, UnreachableError
from store.backend import Backend, DamagedError
from store.postgresql import Postgresql
from store.sqlite import Sqlite, at_rest
from store.tables import SCHEMA

_ALLOWED = "allowed: sqlite:////FOLDER/FILE.sqlite or postgresql://USER@HOST/DATABASE"


class Store:
    """What happened, as far as the journals were read. `store.ingest` fills it, `store.queries` asks it."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.warnings: list[str] = []
        """What a person should be shown, one line each: that a damaged file was set aside."""
        self._exclusive = False

    @property
    def where(self) -> str:
        """The store's file or address, for messages."""
        return self.backend.where

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state; for `store.queries`."""
        with self._renewed(), self.backend.reading() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The one transaction that writes; for `store.ingest`."""
        if self.backend.read_only:
            raise UnreachableError(self.where, "was opened only to be read")
        with self._renewed(), self.backend.writing() as connection:
            yield connection

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Let one process at a time decide what to submit: inside, `ingest` and ask, then write the claims.

        Others may go on reading journals into the store meanwhile, but not come in here.
        """
        if self._exclusive:
            raise RuntimeError("exclusive() inside exclusive() would wait for itself")
        with self.backend.exclusive():
            self._exclusive = True
            try:
                yield
            finally:
                self._exclusive = False

    @contextmanager
    def _renewed(self) -> Iterator[None]:
        """A damaged file met on the way is set aside; the caller learns that it has to read the journals again."""
        try:
            yield
        except DamagedError as error:
            if self.backend.read_only:
                raise
            self.warnings.append(self.backend.set_aside())
            _prepare(self.backend)
            raise DamagedError(self.where, "was damaged; set aside: try again to rebuild it") from error

    def close(self) -> None:
        self.backend.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_store(url: str) -> Store:
    """Open a store to read and write; create it where there is none, upgrade it where it is older.

    Raises InputError for an address that can't be one and UnreachableError where the database can't be used
    or was written by a newer cebctl. A damaged SQLite file is set aside: see `Store.warnings`.
    """
    address = _parse(url)
    if address.get_backend_name() == "postgresql":
        return _opened(Postgresql(address))
    path = _file(address)
    if path is None:
        return open_memory()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnreachableError(str(path), f"its folder can't be created: {error.strerror}") from error
    return _opened(Sqlite(path))


def open_anew(url: str) -> Store:
    """Open a store for `ingest.rebuild`: a SQLite file, whatever its state or schema, is set aside before.

    `Store.warnings` says so. Raises as `open_store` does; another program's database is refused and left alone.
    """
    with suppress(UnreachableError):  # what is wrong with it does not matter any more
        existing = open_existing(url)
        if existing is not None:
            existing.close()
    address = _parse(url)
    path = _file(address) if address.get_backend_name() == "sqlite" else None
    warnings = [Sqlite(path).set_aside("replaced")] if path is not None and path.exists() else []
    store = open_store(url)
    store.warnings += warnings
    return store


def open_existing(url: str) -> Store | None:
    """Open a store only to read it, and change nothing, not even the schema; None if there is none.

    Raises as `open_store` does, and UnreachableError also where the store is damaged or of an older schema.
    """
    address = _parse(url)
    backend: Backend
    if address.get_backend_name() == "postgresql":
        backend = Postgresql(address, read_only=True)
    else:
        path = _file(address)
        try:
            if path is None or not path.exists() or not path.stat().st_size:
                return None
            backend = Sqlite(path, "immutable" if at_rest(path) else "ro")
        except OSError as error:
            raise UnreachableError(str(path), f"can't be read: {error.strerror}") from error
    try:
        revision = backend.revision()
        if revision is None:
            _refuse_foreign(backend)
            backend.close()
            return None
        if revision != SCHEMA:
            _refuse_newer(backend, revision)
            raise UnreachableError(
                backend.where, f"has the older schema {revision}; `cebctl status` upgrades it (and keeps a copy)"
            )
    except DamagedError as error:
        backend.close()
        raise DamagedError(backend.where, f"{error.why}; `cebctl status` sets it aside and rebuilds it") from error
    except BaseException:
        backend.close()
        raise
    return Store(backend)


def open_memory() -> Store:
    """A store that ends with the process."""
    return _opened(Sqlite(None))


def _opened(backend: Backend) -> Store:
    store = Store(backend)
    try:
        try:
            _prepare(backend)
        except DamagedError:
            store.warnings.append(backend.set_aside())
            _prepare(backend)
    except BaseException:
        store.close()
        raise
    return store


def _prepare(backend: Backend) -> None:
    """Bring the store to the newest schema; what is at it already costs one query and no lock."""
    backend.adapt()
    if backend.revision() == SCHEMA:
        return
    with backend.opening():
        revision = backend.revision()  # another process may have been faster
        if revision == SCHEMA:
            return
        if revision is None:
            _refuse_foreign(backend)
        else:
            _refuse_newer(backend, revision)
            backend.back_up(revision)
        from store.migrations.apply import upgrade

        with backend.migrating() as connection:
            upgrade(connection)


def _refuse_newer(backend: Backend, revision: str) -> None:
    from store.migrations.apply import revisions

    if revision not in revisions():
        raise UnreachableError(
            backend.where, f"its schema {revision} is newer than this cebctl's, {SCHEMA}: update cebctl"
        )


def _refuse_foreign(backend: Backend) -> None:
    with backend.reading() as connection:
        tables = sorted(backend.foreign_tables(connection))
    if tables:
        raise InputError(backend.where, f"is not a cebctl store: it holds {tables[0]!r}", _ALLOWED)


def _parse(url: str) -> URL:
    try:
        address = sa.make_url(url)
    except ArgumentError:
        raise InputError("CEBCTL_STORE", "is no address of a database", _ALLOWED) from None
    if address.get_backend_name() == "postgres":
        address = address.set(drivername="postgresql")
    if address.get_backend_name() not in ("sqlite", "postgresql"):
        raise InputError("CEBCTL_STORE", f"{address.get_backend_name()!r} is not supported", _ALLOWED)
    return address


def _file(address: URL) -> Path | None:
    """The file of a SQLite address; None for one in memory."""
    if not address.database or address.database == ":memory:":
        return None
    return Path(address.database).absolute()
