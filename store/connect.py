"""Open a store: create it, refuse it, or set it aside where it is damaged or of an older schema.

with open_store(home.store_url, home) as store:
    ingest(store, home)
    rows = jobs(store)
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote_to_bytes

import msgspec
import sqlalchemy as sa
from sqlalchemy import URL, Connection
from sqlalchemy.exc import ArgumentError, IntegrityError

from experiments import user_paths
from experiments.errors import CebctlError, InputError, UnreachableError
from jobs.paths import Home
from store.backends.backend import REBUILT, Backend, DamagedError, OlderError, RenewedError, UnusableError
from store.backends.sqlite import Sqlite, is_at_rest
from store.tables import SCHEMA, VERSION_TABLE, journals, metadata

_SENSELESS = (json.JSONDecodeError, msgspec.DecodeError, UnicodeDecodeError, IntegrityError)
"""The exceptions for invalid JSON and text in the store, and for rows that contradict those that are read into it."""
_CURE = "`cebctl status` sets it aside and reads the journals again"
_SQLITE = "sqlite:///"
_ALLOWED = "allowed: sqlite:////FOLDER/FILE.sqlite or postgresql://USER@HOST/DATABASE"


class Store:
    """The content of the journals in a database. `store.ingest` fills it, `store.queries` reads it."""

    def __init__(self, backend: Backend, home: Home | None = None) -> None:
        self.backend = backend
        self.home = home
        """The home of its journals; None: any."""
        self.warnings: list[str] = []
        """Messages for the user, one line each: that a store was set aside."""
        self._exclusive = False
        self._is_new = False
        """Whether this process has made it, perhaps in the place of another."""

    @property
    def where(self) -> str:
        """The store's file or address, for messages."""
        return self.backend.where

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Begin a transaction that sees one state; for `store.queries`."""
        with self._renewed(), self.backend.reading() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Begin the one transaction that writes; for `store.ingest`."""
        if self.backend.read_only:
            raise UnreachableError(self.where, "was opened only to be read")
        with self._renewed(), self.backend.writing() as connection:
            yield connection

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Let one process at a time submit: inside, it ingests, queries the store and writes its claims.

        Other processes may ingest meanwhile.
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
        """Set aside a store that turns out to be damaged, and raise RenewedError: it has to be filled again."""
        try:
            yield
        except Exception as caught:
            error = self._unusable(caught)
            if error is None:
                raise
            if self.backend.read_only:
                raise type(error)(self.where, f"{error.problem}; {_CURE}") from caught
            self.replace(error)
            raise RenewedError(self.warnings.pop()) from caught

    def _unusable(self, caught: Exception) -> UnusableError | None:
        """Return the error of a store that has to be set aside; None for an error that is not the store's.

        What a fault of cebctl would raise is the store's only if that is damaged, or was not made by this process.
        """
        if self.backend.in_memory:
            return None
        if isinstance(caught, UnusableError):
            # `verify` reads two stores at a time: an error of the other one is not this one's.
            return caught if caught.where == self.where else None
        if isinstance(caught, CebctlError):
            return None
        if isinstance(caught, _SENSELESS) and not self._is_new:
            return DamagedError(self.where, f"holds {caught}")
        damage = self.backend.find_damage()
        return DamagedError(self.where, damage) if damage else None

    def replace(self, reason: UnusableError) -> None:
        """Set the store aside, unless another process has just done so, and create an empty one in its place.

        Waits for a process that submits, which must not find an empty store in the middle of its work.
        """
        with nullcontext() if self._exclusive else self.backend.exclusive(), self.backend.opening():
            if self.backend.is_current():
                self._refuse_another_home()
                aside = self.backend.replace(reason.label)
                self._is_new = True
                action = f"set aside as {aside}{REBUILT}"
            else:
                action = "another cebctl has set it aside"
            self.backend.close()
            self.warnings.append(f"{self.where}: {reason.summary}; {action}")
        self.prepare(last=isinstance(reason, DamagedError))

    def prepare(self, last: bool = False) -> None:
        """Create the store where there is none, and set it aside where it is unusable.

        A usable store costs one query and no lock. `last`: raise instead, so that a new store that is damaged too does
        not set aside one after the other.
        """
        try:
            self.backend.set_journal_mode()
            schema = self.backend.schema()
            if schema is None:
                _refuse_foreign(self.backend)  # before the lock, whose file would stay beside another program's
                with self.backend.opening():
                    if self.backend.schema() is None:  # another process may have been faster
                        _refuse_foreign(self.backend)
                        self.backend.create()
                        self._is_new = True
                return self.prepare(last)
            _refuse_other_schemas(self.backend, schema)
        except UnusableError as error:
            if last:
                raise
            self.replace(error)

    def _refuse_another_home(self) -> None:
        if self.home is None or self.backend.is_inside(self.home.folder):
            return
        try:
            with self.backend.reading() as connection:
                paths = connection.scalars(sa.select(journals.c.path)).all()
        except Exception:  # too damaged to compare
            return
        if paths and not any((self.home.folder / path).exists() for path in paths):
            raise another_home_error(self, self.home)

    def close(self) -> None:
        self.backend.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def another_home_error(store: Store, home: Home) -> InputError:
    """Return the error for a store that holds another home's journals."""
    return InputError(
        store.where,
        f"was filled from another home than {home.folder}",
        "give each CEBCTL_HOME a CEBCTL_STORE of its own",
    )


def open_store(url: str, home: Home | None = None) -> Store:
    """Open a store to read and write the journals of `home`; create it where there is none.

    A store that is damaged or of an older schema is set aside, and an empty one takes its place: see `Store.warnings`.
    Raises InputError for an invalid address or if the store to be set aside is another home's, and UnreachableError
    if the database can't be used or was written by a newer cebctl.
    """
    return _prepared(Store(_backend(url), home))


def recreate_store(url: str, home: Home | None = None) -> Store:
    """Open an empty store; an existing one is set aside, whatever its state: see `Store.warnings`.

    Raises as `open_store` does; refuses another program's database and a newer cebctl's store, and leaves both alone.
    """
    store = Store(_backend(url), home)
    try:
        try:
            schema = store.backend.schema()
            if schema is None:
                _refuse_foreign(store.backend)
            else:
                _refuse_other_schemas(store.backend, schema)
        except UnusableError:
            schema = 0
        if schema is not None:
            store.replace(UnusableError(store.where, "is to be rebuilt"))
    except BaseException:
        store.close()
        raise
    return _prepared(store)


def open_existing(url: str) -> Store | None:
    """Open a store to read it, and change nothing, not even the schema; return None if there is none.

    Raises as `open_store` does, and UnusableError if the store is damaged or of an older schema.
    """
    address = _parse(url)
    backend: Backend
    if address.get_backend_name() == "postgresql":
        backend = _postgresql(address, read_only=True)
    else:
        path = _file(address)
        try:
            if path is None or not path.exists() or not path.stat().st_size:
                return None
            backend = Sqlite(path, "immutable" if is_at_rest(path) else "ro")
        except OSError as error:
            raise UnreachableError(str(path), f"can't be read: {error.strerror}") from error
    try:
        schema = backend.schema()
        if schema is None:
            _refuse_foreign(backend)
            backend.close()
            return None
        _refuse_other_schemas(backend, schema)
    except UnusableError as error:
        backend.close()
        raise type(error)(backend.where, f"{error.problem}; {_CURE}") from error
    except BaseException:
        backend.close()
        raise
    return Store(backend)


def open_memory() -> Store:
    """Open an empty store in memory."""
    return _prepared(Store(Sqlite(None)))


def _prepared(store: Store) -> Store:
    try:
        store.prepare()
    except BaseException:
        store.close()
        raise
    return store


def _refuse_other_schemas(backend: Backend, schema: int) -> None:
    """Raise OlderError for an older schema, and UnreachableError for a newer one."""
    if schema < SCHEMA:
        raise OlderError(backend.where, f"has the older schema {schema}")
    if schema > SCHEMA:
        raise UnreachableError(
            backend.where, f"its schema {schema} is newer than this cebctl's, {SCHEMA}: update cebctl"
        )


def _refuse_foreign(backend: Backend) -> None:
    """Raise InputError for another program's database, and DamagedError for a store without the table of its number."""
    with backend.reading() as connection:
        tables = sorted(backend.foreign_tables(connection))
    if VERSION_TABLE in tables:  # another process has just made the store: it was not there a question ago
        return
    if len(tables) > 1 and metadata.tables.keys() >= set(tables):
        raise DamagedError(backend.where, f"lacks its table {VERSION_TABLE}")
    if tables:
        if not backend.read_only:
            backend.remove_locks()
        raise InputError(backend.where, f"is not a cebctl store: it holds {tables[0]!r}", _ALLOWED)


def _backend(url: str) -> Backend:
    """Return the database at an address, to be written; a SQLite file's folder is created."""
    address = _parse(url)
    if address.get_backend_name() == "postgresql":
        return _postgresql(address)
    path = _file(address)
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnreachableError(str(path), f"its folder can't be created: {error.strerror}") from error
    return Sqlite(path)


def _postgresql(address: URL, read_only: bool = False) -> Backend:
    # Its dialect takes a tenth of a command's start, which most homes have no use for.
    from store.backends.postgresql import Postgresql

    return Postgresql(address, read_only)


def _parse(url: str) -> URL:
    if url.startswith(_SQLITE):
        return URL.create("sqlite", database=_database(url.removeprefix(_SQLITE)))
    try:
        address = sa.make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        raise InputError("CEBCTL_STORE", "is no address of a database", _ALLOWED) from None
    if address.get_backend_name() == "postgres":
        address = address.set(drivername="postgresql")
    if address.get_backend_name() not in ("sqlite", "postgresql"):
        raise InputError("CEBCTL_STORE", f"{address.get_backend_name()!r} is not supported", _ALLOWED)
    if address.get_backend_name() == "sqlite" and address.host:
        raise InputError("CEBCTL_STORE", "names a host for a SQLite file: a slash is missing", _ALLOWED)
    if address.get_backend_name() == "postgresql" and "@" in f"{address.host}{address.database}":
        # A part of the password would be taken for the host's name, and printed.
        raise InputError(
            "CEBCTL_STORE", "holds one `@` too many: in a name or a password it is written `%40`", _ALLOWED
        )
    return address


def _database(text: str) -> str:
    """Return the path in a SQLite address: what stands there if that exists, else without its `%20`."""
    path, _, options = text.partition("?")
    if text == ":memory:" or Path(text).is_file():
        return text
    if options:
        raise InputError("CEBCTL_STORE", "a SQLite file takes no options", "write a `?` of its path as %3F")
    # Versions of SQLAlchemy differ in whether they decode it.
    return str(user_paths.expand(os.fsdecode(unquote_to_bytes(path)), "CEBCTL_STORE"))


def _file(address: URL) -> Path | None:
    """Return the file of a SQLite address; None for one in memory."""
    if not address.database or address.database == ":memory:":
        return None
    return Path(address.database).absolute()
