"""What a database has to offer the store. Two do: `store.backends.sqlite` and `store.backends.postgresql`."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table
from sqlalchemy.exc import DBAPIError

from experiments.errors import CebctlError, UnreachableError
from store.tables import VERSION_TABLE

PATIENCE_SECONDS = 600.0
"""How long to wait for another process that writes, before saying so and giving up."""


class UnusableError(UnreachableError):
    """The store has to be set aside and read again from the journals."""

    name = "replaced"
    """What the name begins with under which it is set aside."""
    past = "was replaced"
    """What is said of it then."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)
        self.what, self.why = what, why


class DamagedError(UnusableError):
    """The database makes no sense any more."""

    name = "damaged"
    past = "was damaged"


class OlderError(UnusableError):
    """The store was made by an earlier cebctl."""

    name = "older"
    past = "was made by an earlier cebctl"


class RenewedError(UnreachableError):
    """The store was set aside just now, and a new one is in its place: the journals have to be read again."""


def to_json(value: object) -> str:
    """As every JSON column is written: keys sorted, so that equal values are equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class Backend(ABC):
    """One database, and what differs between databases."""

    where: str
    """How messages name it; without a password."""
    engine: Engine
    read_only = False
    in_memory = False
    driver_errors: tuple[type[Exception], ...] = (DBAPIError,)

    @abstractmethod
    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction that sees one state of the store."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Connection]:
        """The one transaction that writes; a second writer waits for the first."""

    @abstractmethod
    def create(self) -> None:
        """Create the schema in a place that is empty."""

    @abstractmethod
    def opening(self) -> AbstractContextManager[None]:
        """Held by the process that creates or sets aside."""

    @abstractmethod
    def exclusive(self) -> AbstractContextManager[None]:
        """Held by the one process that decides what to submit."""

    @abstractmethod
    def set_journal_mode(self) -> None:
        """Make what is there fit the place where it lies now."""

    @abstractmethod
    def is_inside(self, folder: Path) -> bool:
        """Whether the store lies in this folder, and so belongs to it."""

    @abstractmethod
    def foreign_tables(self, connection: Connection) -> set[str]:
        """Tables in the place of ours, in a database without our version table."""

    @abstractmethod
    def remember_identity(self, connection: Connection) -> None:
        """Remember which store this is, where its address does not tell it from one that takes its place."""

    @abstractmethod
    def is_current(self) -> bool:
        """Whether the store that was opened is still the one at this address; False if another took its place."""

    @abstractmethod
    def replace(self, name: str) -> str:
        """Rename the store, inside `opening`, and create an empty one in its place.

        Returns the new name, which begins with `name` and ends with a number.
        """

    @abstractmethod
    def upsert(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows; a row whose key is there already replaces it."""

    @abstractmethod
    def write_metrics(self, connection: Connection, rows: Sequence[tuple[object, ...]]) -> None:
        """`upsert` of rows of `metrics` in the order of its columns, as fast as the driver goes."""

    @abstractmethod
    def user_error(self, error: Exception) -> CebctlError | None:
        """What an error of the driver means to a person; None: it is our own mistake."""

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Turn the driver's errors into ours."""
        try:
            yield
        except self.driver_errors as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            words = self.user_error(cause) if isinstance(cause, Exception) else None
            if words is None:
                raise
            raise words from error

    def schema(self) -> int | None:
        """The number of the schema; None if nothing was created yet. Raises DamagedError where there is no number."""
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
