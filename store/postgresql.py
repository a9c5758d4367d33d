"""A team's choice: a PostgreSQL database.

Advisory locks stand for SQLite's one writer and for its lock files; they end with the connection that holds
them. Backups are the server's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import URL, Connection, Table
from sqlalchemy.dialects.postgresql import insert

from experiments.errors import CebctlError, InputError, UnreachableError
from store.backend import PATIENCE_SECONDS, Backend, to_json
from store.tables import metadata, metrics

_WRITING, _OPENING, _SUBMITTING = 0x63656201, 0x63656202, 0x63656203
_METRICS = (
    f"INSERT INTO metrics ({', '.join(metrics.c.keys())}) VALUES (%s, %s, %s, %s, %s, %s, %s) "
    f"ON CONFLICT ({', '.join(metrics.primary_key.columns.keys())}) DO UPDATE "
    "SET epoch = excluded.epoch, value = excluded.value"
)


class Postgresql(Backend):
    """A PostgreSQL database, through psycopg."""

    def __init__(self, url: URL, read_only: bool = False) -> None:
        self.where = url.render_as_string(hide_password=True)
        self.read_only = read_only
        try:
            self.engine = sa.create_engine(
                url.set(drivername="postgresql+psycopg"),
                json_serializer=to_json,
                connect_args={"connect_timeout": 10},
                pool_pre_ping=True,
            )
        except ModuleNotFoundError as error:
            raise InputError(
                "CEBCTL_STORE", f"{self.where} needs the package psycopg", "install `psycopg[binary]`"
            ) from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self.in_words(), self.engine.connect() as connection:
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with self.in_words(), self.engine.begin() as connection:
            _wait_for(connection, "pg_advisory_xact_lock", _WRITING)
            yield connection

    migrating = writing

    def opening(self) -> AbstractContextManager[None]:
        return self._locked(_OPENING)

    def exclusive(self) -> AbstractContextManager[None]:
        return self._locked(_SUBMITTING)

    @contextmanager
    def _locked(self, key: int) -> Iterator[None]:
        with self.in_words(), self.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            _wait_for(connection, "pg_advisory_lock", key)
            try:
                yield
            finally:
                connection.invalidate()  # ends the session, and the lock with it

    def adapt(self) -> None:
        pass

    def inside(self, folder: Path) -> bool:
        return False

    def foreign_tables(self, connection: Connection) -> set[str]:
        return set(sa.inspect(connection).get_table_names()) & set(metadata.tables)

    def back_up(self, revision: str) -> None:
        pass

    def set_aside(self, why: str = "damaged") -> str:
        raise NotImplementedError("a PostgreSQL database is its administrator's")

    def upsert(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        statement = insert(table)
        others = {name: statement.excluded[name] for name in rows[0] if not table.c[name].primary_key}
        keys = list(table.primary_key.columns)
        clean = [{name: _without_nul(value) for name, value in row.items()} for row in rows]
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=others), clean)

    def write_metrics(self, connection: Connection, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            clean = [tuple(map(_without_nul, row)) for row in rows]
            connection.exec_driver_sql(_METRICS, clean)

    def fault(self, error: Exception) -> CebctlError | None:
        import psycopg

        if not isinstance(error, psycopg.OperationalError | psycopg.errors.InsufficientPrivilege):
            return None
        lines = str(error).strip().splitlines()
        return UnreachableError(self.where, lines[0] if lines else type(error).__name__)


def _wait_for(connection: Connection, function: str, key: int) -> None:
    connection.exec_driver_sql(f"SET lock_timeout = '{PATIENCE_SECONDS:.0f}s'")
    connection.execute(sa.select(getattr(sa.func, function)(key)))


def _without_nul(value: object) -> object:
    """PostgreSQL's text cannot hold a NUL."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value
