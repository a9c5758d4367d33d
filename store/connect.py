"""Open a store: create it, refuse it, or set it aside where it is damaged or of an older schema.

with open_store(home.store_url, home) as store:
    ingest(store, home)
    rows = jobs(store)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType

import msgspec
import sqlalchemy as sa
from sqlalchemy import URL, Connection
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from experiments.errors import InputError, UnreachableError
from jobs.paths import Home
from store.backends.backend import Backend, DamagedError, OlderError, RenewedError, UnusableError
from store.backends.postgresql import Postgresql
from store.backends.sqlite import Sqlite, is_at_rest
from store.tables import SCHEMA, journals

_SENSELESS = (json.JSONDecodeError, msgspec.DecodeError, UnicodeDecodeError)
"""What is raised for JSON and text of the store that are none."""
_CURE = "`cebctl status` sets it aside and reads the journals again"
_ALLOWED = "allowed: sqlite:////FOLDER/FILE.sqlite or postgresql://USER@HOST/DATABASE"


class Store:
    """What happened, as far as the journals were read. `store.ingest` fills it, `store.queries` asks it."""

    def __init__(self, backend: Backend, home: Home | None = None) -> None:
        self.backend = backend
        self.home = home
        """Whose journals it holds; None: whoever's they are."""
        self.warnings: list[str] = []
        """What a person should be shown, one line each: that a store was set aside."""
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
        """Set aside a store that turns out to be damaged; RenewedError says that the journals have to be read again."""
        try:
            yield
        except (UnusableError, *_SENSELESS) as caught:
            error = caught if isinstance(caught, UnusableError) else DamagedError(self.where, f"holds {caught}")
            if error.what != self.where or self.backend.in_memory:  # of another store, which is compared with this one
                raise
            if self.backend.read_only:
                raise type(error)(self.where, f"{error.why}; {_CURE}") from error
            self.replace(error)
            raise RenewedError(self.where, f"{error.past}; set aside: try again to rebuild it") from error

    def replace(self, reason: UnusableError) -> None:
        """Set the store aside, unless another process just did, and create an empty one in its place.

        Nobody who decides what to submit is left with an empty store in the middle of it: they are waited for.
        """
        with nullcontext() if self._exclusive else self.backend.exclusive(), self.backend.opening():
            if self.backend.is_current():
                self._refuse_another_home()
                aside = self.backend.replace(reason.name)
                deed = f"set aside as {aside} and rebuilt from the journals"
            else:
                deed = "another cebctl has set it aside"
            self.backend.close()
            self.warnings.append(f"{self.where}: {reason.past}; {deed}")
        self.prepare(last=isinstance(reason, DamagedError))

    def prepare(self, last: bool = False) -> None:
        """Create the store where there is none, and set it aside where it is unusable.

        A store that is usable costs one query and no lock. `last`: not once more, if it is damaged again.
        """
        try:
            self.backend.set_journal_mode()
            schema = self.backend.schema()
            if schema is None:
                with self.backend.opening():
                    if self.backend.schema() is None:  # another process may have been faster
                        _refuse_foreign(self.backend)
                        self.backend.create()
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
        except (UnreachableError, SQLAlchemyError):  # it is too damaged to tell
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
    """Open a store to read and write, to hold the journals of `home`; create it where there is none.

    One that is damaged or of an older schema is set aside, and an empty one takes its place: see `Store.warnings`.
    Raises InputError for an address that can't be one or if the store to be set aside is another home's, and
    UnreachableError where the database can't be used or was written by a newer cebctl.
    """
    return _prepared(Store(_backend(url), home))


def recreate_store(url: str, home: Home | None = None) -> Store:
    """Open an empty store: one that is there, whatever its state, is set aside as `Store.warnings` says.

    Raises as `open_store` does; another program's database and a newer cebctl's store are refused and left alone.
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
    """Open a store only to read it, and change nothing, not even the schema; None if there is none.

    Raises as `open_store` does, and UnusableError where the store is damaged or of an older schema.
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
        raise type(error)(backend.where, f"{error.why}; {_CURE}") from error
    except BaseException:
        backend.close()
        raise
    return Store(backend)


def open_memory() -> Store:
    """A store that ends with the process."""
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
    with backend.reading() as connection:
        tables = sorted(backend.foreign_tables(connection))
    if tables:
        raise InputError(backend.where, f"is not a cebctl store: it holds {tables[0]!r}", _ALLOWED)


def _backend(url: str) -> Backend:
    """Return the database at an address, to be written; a SQLite file's folder is created."""
    address = _parse(url)
    if address.get_backend_name() == "postgresql":
        return Postgresql(address)
    path = _file(address)
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnreachableError(str(path), f"its folder can't be created: {error.strerror}") from error
    return Sqlite(path)


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
