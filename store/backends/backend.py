"""The interface of the store to its database, which `store.backends.sqlite` and `store.backends.postgresql` implement.

A backend provides transactions, locks between processes, and the replacement of a whole store. The journals can rebuild
any store, so that a damaged one is never repaired: it is renamed ("set aside") and an empty one takes its place.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table
from sqlalchemy.exc import DBAPIError

from experiments.errors import CebctlError, UnreachableError
from store.tables import VERSION_TABLE

PATIENCE_SECONDS = 600.0
"""The time to wait for another process that writes, before giving up with an error."""


class UnusableError(UnreachableError):
    """The store has to be set aside and rebuilt from the journals."""

    label = "replaced"
    """The beginning of the name under which the store is set aside."""
    summary = "was replaced"
    """The reason in the user's warning."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(where, problem)
        self.where, self.problem = where, problem


class DamagedError(UnusableError):
    """The database or its content is damaged."""

    label = "damaged"
    summary = "was damaged"


class OlderError(UnusableError):
    """The store has the schema of an earlier cebctl."""

    label = "older"
    summary = "was made by an earlier cebctl"


REBUILT = " and rebuilt from the journals"
"""The end of the warning about a store that was set aside."""


class RenewedError(UnreachableError):
    """The store has just been set aside, and an empty one is in its place: the journals have to be read again."""

    def __init__(self, warning: str) -> None:
        CebctlError.__init__(self, f"{warning.removesuffix(REBUILT)}: try again to rebuild it")
        self.warning = warning
        """The message for the user once they were read."""


def to_json(value: object) -> str:
    """Return the text of a JSON column: keys are sorted, so that equal values are equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@lru_cache  # to build one takes longer than to execute it
def _upsert(insert: Callable[[Table], Any], table: Table, names: tuple[str, ...]) -> Any:
    statement = insert(table)
    values = {name: statement.excluded[name] for name in names if not table.c[name].primary_key}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=values)


class Backend(ABC):
    """One store in one database: all operations that differ between databases."""

    where: str
    """The file or the address, without a password, for messages."""
    engine: Engine
    read_only = False
    in_memory = False
    insert: Callable[[Table], Any]
    """The dialect's INSERT statement, which knows ON CONFLICT."""
    driver_errors: tuple[type[Exception], ...] = (DBAPIError,)

    @abstractmethod
    def reading(self) -> AbstractContextManager[Connection]:
        """Begin a transaction that sees one state of the store."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Connection]:
        """Begin the one transaction that writes; a second writer waits for the first."""

    @abstractmethod
    def create(self) -> None:
        """Create the schema in an empty database."""

    @abstractmethod
    def opening(self) -> AbstractContextManager[None]:
        """Hold the lock of the process that creates the store or sets it aside."""

    @abstractmethod
    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the lock of the process that submits: two must not claim the same stage."""

    @abstractmethod
    def remove_locks(self) -> None:
        """Remove the lock files beside another program's database that a refusal by an earlier cebctl left there."""

    @abstractmethod
    def set_journal_mode(self) -> None:
        """Set the database's own journal to suit its file system, which may have changed if the store was moved."""

    @abstractmethod
    def is_inside(self, folder: Path) -> bool:
        """Whether the store is a file in this folder, so that it can't belong to another home."""

    @abstractmethod
    def foreign_tables(self, connection: Connection) -> set[str]:
        """Return the tables that a new store would find; with the version table if another process has made one."""

    @abstractmethod
    def remember_identity(self, connection: Connection) -> None:
        """Remember the identity of this store for `is_current`, where it has one besides its address."""

    @abstractmethod
    def is_current(self) -> bool:
        """Whether the opened store is still the one at its address; False if it was set aside."""

    @abstractmethod
    def replace(self, name: str) -> str:
        """Rename the store and create an empty one in its place; call it inside `opening`.

        Returns the new name, which begins with `name` and ends with a number.
        """

    def upsert(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows; replace rows of the same key."""
        if rows:
            connection.execute(_upsert(self.insert, table, tuple(rows[0])), self.clean(rows))

    def clean(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """Return the rows without values that the database can't hold."""
        return rows

    @abstractmethod
    def write_metrics(self, connection: Connection, rows: Sequence[tuple[object, ...]]) -> None:
        """Upsert rows of `metrics`, in the order of its columns, at the full speed of the driver."""

    @abstractmethod
    def user_error(self, error: Exception) -> CebctlError | None:
        """Return the error to show for a driver's error; None for a bug of cebctl, which is raised as it is."""

    def find_damage(self) -> str | None:
        """Return what is wrong with the database; None if nothing is, or if only its server could tell."""
        return None

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Raise the driver's errors as errors of cebctl."""
        try:
            yield
        except self.driver_errors as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            translated = self.user_error(cause) if isinstance(cause, Exception) else None
            if translated is None:
                raise
            raise translated from error

    def schema(self) -> int | None:
        """Return the number of the schema; None before `create`. Raises DamagedError if the number is unreadable."""
        with self.reading() as connection:
            if not sa.inspect(connection).has_table(VERSION_TABLE):
                return None
            version: Any = connection.scalar(sa.text(f"SELECT version_num FROM {VERSION_TABLE}"))
            self.remember_identity(connection)
        try:
            return int(version)
        except (TypeError, ValueError):
            raise DamagedError(self.where, f"{VERSION_TABLE} holds no number of a schema: {version!r}") from None

    def close(self) -> None:
        self.engine.dispose()
