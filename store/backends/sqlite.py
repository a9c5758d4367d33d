"""The default store: one SQLite file.

With the write-ahead log readers never wait, and writers wait for each other. The log's shared memory does not work on a
network file system: there SQLite's rollback journal is used, and readers may wait for a writer. The choice is made at
each opening, since a store may have been moved. Transactions are begun explicitly, not by the driver: one that will
write begins with `BEGIN IMMEDIATE`, since a reader that becomes a writer in the middle cannot wait. With
`synchronous=NORMAL` a machine that loses power may lose the last commits, which the journals still hold, but never
leaves half of one.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Literal, cast
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool, StaticPool

from experiments.errors import CebctlError, InputError, UnreachableError
from store.backends.backend import PATIENCE_SECONDS, Backend, DamagedError, UnusableError, to_json
from store.locks import hold_lock, network_file_system, remove_lock
from store.tables import VERSION_TABLE, create, metrics

SUFFIXES = (".sqlite", ".sqlite3", ".db")
"""A file that is no database counts as a damaged store only if it has one of these suffixes."""

_SENSELESS = ("no such table", "no such column", "unsupported file format", "Could not decode to UTF-8")
"""Beginnings of the messages of damage for which SQLite has no error code of its own."""

_LOCKS = ("opening", "submitting", "renaming")
"""What the lock files beside a store are for."""

JournalMode = Literal["WAL", "DELETE"]

_CACHE_KIB = 32768
_FIRST_READ = "SELECT 1 FROM sqlite_schema LIMIT 1"
_DEFINITIONS = "SELECT type, name, sql FROM sqlite_schema"
_METRICS = (
    f"INSERT INTO metrics ({', '.join(metrics.c.keys())}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
    "SET epoch = excluded.epoch, value = excluded.value"
)


class Sqlite(Backend):
    """A SQLite file, or a database in memory if `path` is None.

    The mode `ro` changes no data but may create the log's side files; `immutable` touches nothing at all.
    """

    driver_errors = (DBAPIError, sqlite3.Error)
    insert = staticmethod(insert)

    def __init__(self, path: Path | None, mode: Literal["rwc", "ro", "immutable"] = "rwc") -> None:
        self.path = path
        self.where = str(path or "store in memory")
        self.read_only = mode != "rwc"
        self.in_memory = path is None
        self._mode = mode
        self._opened_inode: int | None = None
        self.engine = sa.create_engine(
            "sqlite://",
            creator=self._connect,
            poolclass=QueuePool if path else StaticPool,
            json_serializer=to_json,
        )
        sa.event.listen(self.engine, "begin", self._begin)

    # --- transactions ---

    def reading(self) -> AbstractContextManager[Connection]:
        return self._transaction(write=False)

    def writing(self) -> AbstractContextManager[Connection]:
        return self._transaction(write=True)

    @contextmanager
    def _transaction(self, write: bool) -> Iterator[Connection]:
        with self.translate_errors(), self.engine.connect() as connection:
            connection.execution_options(write=write)
            _driver(connection).execute("PRAGMA foreign_keys=ON")
            with connection.begin():
                yield connection

    def _begin(self, connection: Connection) -> None:
        if connection.get_execution_options().get("write"):
            _execute_patiently(_driver(connection), "BEGIN IMMEDIATE")
        else:
            # SQLite takes its snapshot at the first read, not at BEGIN.
            _execute_patiently(_driver(connection), "BEGIN", _FIRST_READ)

    def _connect(self) -> sqlite3.Connection:
        lock: AbstractContextManager[None] = nullcontext()
        if self.path is None:
            name = ":memory:"
        else:
            if self._mode == "rwc":
                _create(self.path)
            mode = "ro&immutable=1" if self._mode == "immutable" else self._mode
            name = f"file:{quote(str(self.path))}?mode={mode}"
            if self._mode == "rwc" and self.path.suffix in SUFFIXES and os.access(self.path.parent, os.W_OK):
                lock = self._locked("renaming", shared=True)
        # SQLite opens the file now and its log at the first read, both by name: if the store was set aside in between,
        # the log would be that of another file.
        # Without the lock (a store of another name, or that is only read), a change of the file tells.
        with lock:
            before = self._inode()
            driver = sqlite3.connect(
                name, uri=True, isolation_level=None, timeout=PATIENCE_SECONDS, check_same_thread=False
            )
            self._opened_inode = self._inode()
            with suppress(sqlite3.Error):  # whoever asks next meets it again
                _execute_patiently(driver, _FIRST_READ)
            is_same = self._inode() == self._opened_inode == before
        if not is_same:
            driver.close()
            return self._connect()
        driver.execute("PRAGMA synchronous=NORMAL")
        driver.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        return driver

    # --- its file system ---

    def set_journal_mode(self) -> None:
        if self.path is None or self.read_only or not self.path.is_file() or not self.path.stat().st_size:
            return
        mode = self._journal_mode_here()
        if _journal_mode_of(self.path) == mode:
            return
        # A rollback journal is right on every file system: a store in use, or one that can't be written, may keep it.
        with suppress(UnreachableError) if mode == "WAL" else nullcontext(), self.opening(), self.translate_errors():
            self._change_journal_mode(mode)

    def _journal_mode_here(self) -> JournalMode:
        assert self.path is not None
        return "DELETE" if network_file_system(self.path) else "WAL"

    def _change_journal_mode(self, mode: JournalMode) -> None:
        with closing(self._connect()) as driver:
            # In exclusive mode SQLite reads a log without shared memory, which a network file system lacks.
            driver.execute("PRAGMA locking_mode=EXCLUSIVE")
            if mode == "WAL":
                driver.execute("PRAGMA busy_timeout=0")
            if driver.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (VERSION_TABLE,)).fetchone():
                driver.execute(f"PRAGMA journal_mode={mode}")

    # --- between processes ---

    def opening(self) -> AbstractContextManager[None]:
        return self._locked("opening")

    def exclusive(self) -> AbstractContextManager[None]:
        # A lock file, not a long transaction: `status` may ingest while another process submits.
        return self._locked("submitting")

    def remove_locks(self) -> None:
        for purpose in _LOCKS if self.path else ():
            remove_lock(self._lock_file(purpose))

    def _locked(self, purpose: str, *, shared: bool = False) -> AbstractContextManager[None]:
        if self.path is None:
            return nullcontext()
        return hold_lock(self._lock_file(purpose), PATIENCE_SECONDS, shared=shared)

    def _lock_file(self, purpose: str) -> Path:
        assert self.path is not None
        return self.path.with_name(f"{self.path.name}.{purpose}.lock")

    # --- files ---

    def is_inside(self, folder: Path) -> bool:
        return self.path is None or self.path.is_relative_to(folder)

    def foreign_tables(self, connection: Connection) -> set[str]:
        return set(sa.inspect(connection).get_table_names())

    def create(self) -> None:
        if self.path:  # a new file has no journal mode yet
            with self.translate_errors(), self.engine.connect() as connection:
                _driver(connection).execute(f"PRAGMA journal_mode={self._journal_mode_here()}")
        with self.writing() as connection:
            create(connection)

    def remember_identity(self, connection: Connection) -> None:
        pass  # `_connect` remembers the inode

    def is_current(self) -> bool:
        return self._inode() == self._opened_inode

    def _inode(self) -> int | None:
        try:
            return self.path.stat().st_ino if self.path else None
        except FileNotFoundError:
            return None

    def replace(self, name: str) -> str:
        assert self.path is not None
        self.close()
        # Write the log into the file, so that one file is renamed, unless the store is in use or damaged.
        with suppress(sqlite3.Error, MemoryError), closing(self._connect()) as driver:
            driver.execute("PRAGMA busy_timeout=0")
            driver.execute("PRAGMA journal_mode=DELETE")
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.{name}-{number}")).exists():
            number += 1
        # The log goes first: a file without its log is an older store, a log without its file is useless. A process
        # that still has the file open neither writes back nor removes a log: SQLite notices the new name.
        with self._locked("renaming"):
            for suffix in ("-wal", "-shm", ""):
                part = self.path.with_name(self.path.name + suffix)
                if part.exists():
                    part.rename(aside.with_name(aside.name + suffix))
        self.create()
        return aside.name

    # --- rows ---

    def write_metrics(self, connection: Connection, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            _driver(connection).executemany(_METRICS, rows)

    # --- errors ---

    def find_damage(self) -> str | None:
        if self.path is None:
            return None
        sound = Sqlite(None)
        sound.create()
        try:
            with closing(self._connect()) as driver, sound.reading() as connection:
                missing = set(_driver(connection).execute(_DEFINITIONS)) - set(driver.execute(_DEFINITIONS))
                [finding] = driver.execute("PRAGMA integrity_check(1)").fetchone()
                orphan = driver.execute("PRAGMA foreign_key_check").fetchone()
        except sqlite3.Error as error:
            return str(error) if isinstance(self.user_error(error), DamagedError) else None
        if missing:
            return f"its definition of {min(name for _, name, _ in missing)} is damaged"
        if finding != "ok":
            return str(finding).partition("\n")[0]
        return f"a row of {orphan[0]} has lost its row of {orphan[2]}" if orphan else None

    def user_error(self, error: Exception) -> CebctlError | None:
        name = getattr(error, "sqlite_errorname", "")
        senseless = name in ("", "SQLITE_ERROR") and str(error).startswith(_SENSELESS)
        if name.startswith("SQLITE_CORRUPT") or senseless:
            return DamagedError(self.where, str(error))
        if name.startswith("SQLITE_NOTADB"):
            if self.path and self.path.suffix in SUFFIXES:
                return DamagedError(self.where, str(error))
            return InputError(self.where, str(error), f"a new file, or a store, named {' or '.join(SUFFIXES)}")
        if name == "SQLITE_READONLY_DBMOVED":  # with a rollback journal SQLite notices it, with a log it goes on
            return UnusableError(self.where, "another process has set it aside")
        if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
            return UnreachableError(self.where, f"{error}; it and its folder have to be writable")
        if name in ("", "SQLITE_ERROR") or not isinstance(error, sqlite3.OperationalError):
            return None
        return UnreachableError(self.where, str(error))


def _execute_patiently(driver: sqlite3.Connection, *statements: str) -> None:
    """Execute the statements; SQLite itself does not wait while a log is being recovered or removed."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            for statement in statements:
                driver.execute(statement).fetchall()
            return
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            if driver.in_transaction:
                driver.execute("ROLLBACK")
            time.sleep(random.uniform(0.005, 0.05))


def _driver(connection: Connection) -> sqlite3.Connection:
    return cast(sqlite3.Connection, connection.connection.dbapi_connection)


def is_at_rest(path: Path) -> bool:
    """Whether the file alone is the complete store, so that opening it would only add the log's side files.

    False for a log with content (the store is in use, or its last process was killed), and for a store without a log,
    whose readers add no file and have to respect locks.
    """
    has_log = _journal_mode_of(path) == "WAL"
    try:
        return has_log and not path.with_name(f"{path.name}-wal").stat().st_size
    except FileNotFoundError:
        return has_log


def _create(path: Path) -> None:
    """Create an empty file that the group may write if the umask allows: in SQLite's own files only the owner writes.

    An existing file is not opened: closing it would drop all locks of this process on it, SQLite's too.
    """
    with suppress(OSError):  # it exists, or can't be created: SQLite reports that
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o664))


def _journal_mode_of(path: Path) -> JournalMode:
    """Return the mode by the format versions in the file's header: sqlite.org/fileformat.html, 1.3.3."""
    with path.open("rb") as file:
        return "WAL" if file.read(20)[18:] == b"\2\2" else "DELETE"
