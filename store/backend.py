"""What a database has to offer the store. Two do: `store.sqlite` and `store.postgresql`."""

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


class DamagedError(UnreachableError):
    """The database file makes no sense any more."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)
        self.why = why


def to_json(value: object) -> str:
    """As every JSON column is written: keys sorted, so that equal values are equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class Backend(ABC):
    """One database, and what differs between databases."""

    where: str
    """How messages name it; without a password."""
    engine: Engine
    read_only = False
    driver_errors: tuple[type[Exception], ...] = (DBAPIError,)

    @abstractmethod
    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction that sees one state of the store."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Connection]:
        """The one transaction that writes; a second writer waits for the first."""

    @abstractmethod
    def migrating(self) -> AbstractContextManager[Connection]:
        """`writing`, for a change of schema."""

    @abstractmethod
    def opening(self) -> AbstractContextManager[None]:
        """Held by the process that creates, upgrades or sets aside."""

    @abstractmethod
    def exclusive(self) -> AbstractContextManager[None]:
        """Held by the one process that decides what to submit."""

    @abstractmethod
    def adapt(self) -> None:
        """Make what is there fit the place where it lies now."""

    @abstractmethod
    def inside(self, folder: Path) -> bool:
        """Whether the store lies in this folder, and so belongs to it."""

    @abstractmethod
    def foreign_tables(self, connection: Connection) -> set[str]:
        """Tables in the place of ours, in a database without our version table."""

    @abstractmethod
    def back_up(self, revision: str) -> None:
        """Keep a copy from before a migration, where the store is ours to copy."""

    @abstractmethod
    def set_aside(self, why: str = "damaged") -> str:
        """Move the database, which is `why`, out of the way, and say in a line what was done."""

    @abstractmethod
    def upsert(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows; a row whose key is there already replaces it."""

    @abstractmethod
    def write_metrics(self, connection: Connection, rows: Sequence[tuple[object, ...]]) -> None:
        """`upsert` of rows of `metrics` in the order of its columns, as fast as the driver goes."""

    @abstractmethod
    def fault(self, error: Exception) -> CebctlError | None:
        """What an error of the driver means to a person; None: it is our own mistake."""

    @contextmanager
    def in_words(self) -> Iterator[None]:
        """Turn the driver's errors into ours."""
        try:
            yield
        except self.driver_errors as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            words = self.fault(cause) if isinstance(cause, Exception) else None
            if words is None:
                raise
            raise words from error

    def revision(self) -> str | None:
        """The schema's revision; None if nothing was created yet."""
        with self.reading() as connection:
            if not sa.inspect(connection).has_table(VERSION_TABLE):
                return None
            version = connection.scalar(sa.text(f"SELECT version_num FROM {VERSION_TABLE}"))
            return None if version is None else str(version)

    def close(self) -> None:
        self.engine.dispose()
