"""The store in PostgreSQL, for a team.

Advisory locks take the part of SQLite's single writer and of its lock files; they end with their connection. A store is
set aside by renaming its tables, indexes and views, which only needs the owner's rights; the new ones get the same
grants. Backups are left to the server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import URL, Connection
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import ArgumentError

from experiments.errors import CebctlError, InputError, UnreachableError
from store.backends.backend import PATIENCE_SECONDS, Backend, DamagedError, UnusableError, to_json
from store.tables import NAMES, VERSION_TABLE, create, metadata, metrics

_WRITING, _OPENING, _SUBMITTING = 0x63656201, 0x63656202, 0x63656203
_METRICS = (
    f"INSERT INTO metrics ({', '.join(metrics.c.keys())}) VALUES (%s, %s, %s, %s, %s, %s, %s) "
    f"ON CONFLICT ({', '.join(metrics.primary_key.columns.keys())}) DO UPDATE "
    "SET epoch = excluded.epoch, value = excluded.value"
)


class Postgresql(Backend):
    """A PostgreSQL database, through psycopg."""

    insert = staticmethod(insert)

    def __init__(self, url: URL, read_only: bool = False) -> None:
        self.where = _public(url)
        self.read_only = read_only
        self._secrets = _secrets(url)
        self._opened: int | None = None
        """The oid of the version table, which tells this store from one that takes its place."""
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
        except (ArgumentError, ValueError, TypeError) as error:
            raise self._wrong_address(error) from error
        sa.event.listen(self.engine, "do_connect", self._connect)

    def _connect(self, dialect: Any, record: object, arguments: Sequence[Any], parameters: Mapping[str, Any]) -> Any:
        """Connect; what the server did not refuse, but the driver, is wrong in the address."""
        from psycopg import OperationalError

        try:
            return dialect.connect(*arguments, **parameters)
        except OperationalError:
            raise
        except Exception as error:
            raise self._wrong_address(error) from error

    def _wrong_address(self, error: Exception) -> InputError:
        return InputError("CEBCTL_STORE", f"{self.where}: {self._line(error)}")

    def _line(self, error: Exception) -> str:
        """Return the first line of an error's message, without the secrets of the address."""
        lines = str(error).strip().splitlines()
        line = lines[0] if lines else type(error).__name__
        for secret in self._secrets:
            line = line.replace(secret, "***")
        return line

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self.translate_errors(), self.engine.connect() as connection:
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                self._check(connection)
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with self.translate_errors(), self.engine.begin() as connection:
            _wait_for(connection, "pg_advisory_xact_lock", _WRITING)
            self._check(connection)
            yield connection

    def _check(self, connection: Connection) -> None:
        """Raise UnusableError if the store was set aside; else keep it from being so until the transaction ends.

        Queries name tables, and would read those of the new store, which are still empty.
        """
        if self._opened is not None and connection.scalar(_NUMBER_OF_ROW) != self._opened:
            raise UnusableError(self.where, "was set aside by another cebctl meanwhile")

    def opening(self) -> AbstractContextManager[None]:
        return self._locked(_OPENING)

    def exclusive(self) -> AbstractContextManager[None]:
        return self._locked(_SUBMITTING)

    def remove_locks(self) -> None:
        pass  # they end with their connection

    @contextmanager
    def _locked(self, key: int) -> Iterator[None]:
        with self.translate_errors(), self.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            _wait_for(connection, "pg_advisory_lock", key)
            try:
                yield
            finally:
                connection.invalidate()  # ends the session, and with it the lock

    def set_journal_mode(self) -> None:
        pass

    def is_inside(self, folder: Path) -> bool:
        return False

    def foreign_tables(self, connection: Connection) -> set[str]:
        return set(sa.inspect(connection).get_table_names()) & {VERSION_TABLE, *metadata.tables}

    def schema(self) -> int | None:
        self._opened = None
        try:
            return super().schema()
        except DamagedError:  # perhaps it was set aside between the two queries
            return super().schema()

    def remember_identity(self, connection: Connection) -> None:
        self._opened = connection.scalar(_NUMBER)

    def create(self) -> None:
        with self.writing() as connection:
            create(connection)

    def is_current(self) -> bool:
        with self.translate_errors(), self.engine.begin() as connection:
            return bool(connection.scalar(_NUMBER) == self._opened)

    def replace(self, name: str) -> str:
        self._opened = None
        with self.writing() as connection:
            names = {"names": list(NAMES)}
            # The version table first, as every transaction locks it first: another order could deadlock.
            tables = sorted(connection.scalars(_TABLES, names), key=lambda table: table != VERSION_TABLE)
            connection.exec_driver_sql(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
            owner, member = connection.execute(_OWNER, {"name": tables[0]}).one()
            if not member:
                raise UnreachableError(self.where, f"only {owner}, whose it is, can set it aside: by `cebctl status`")
            connection.exec_driver_sql(f"SET LOCAL ROLE {owner}")
            grants = connection.execute(_GRANTS, names).all()
            aside = f"cebctl_{name}_{connection.scalar(_NEXT, {'name': name, 'beside': tables[0]})}"
            for kind, relation in connection.execute(_RELATIONS, names).all():
                connection.exec_driver_sql(f"ALTER {kind} {relation} RENAME TO {aside}_{relation}")
            create(connection)
            for privilege, relation, role in grants:
                connection.exec_driver_sql(f"GRANT {privilege} ON {relation} TO {role}")
        return f"the tables {aside}_*"

    def clean(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        return [{name: _without_nul(value) for name, value in row.items()} for row in rows]

    def write_metrics(self, connection: Connection, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            clean = [tuple(map(_without_nul, row)) for row in rows]
            connection.exec_driver_sql(_METRICS, clean)

    def user_error(self, error: Exception) -> CebctlError | None:
        from psycopg import OperationalError
        from psycopg.errors import DataCorrupted, IndexCorrupted, InsufficientPrivilege, UndefinedColumn, UndefinedTable

        line = self._line(error)
        # A table, view or column is missing, or its file is damaged.
        if isinstance(error, UndefinedTable | UndefinedColumn | DataCorrupted | IndexCorrupted):
            return DamagedError(self.where, line)
        if isinstance(error, OperationalError | InsufficientPrivilege):
            return UnreachableError(self.where, line)
        return None


_NUMBER = sa.text(f"SELECT to_regclass('{VERSION_TABLE}')::oid")
_NUMBER_OF_ROW = sa.text(f"SELECT tableoid FROM {VERSION_TABLE}")
"""The same number, by reading the table, which locks it for the rest of the transaction."""
_TABLES = sa.text(
    "SELECT relname FROM pg_class WHERE relname = ANY(:names) AND relkind = 'r' AND pg_table_is_visible(oid)"
)
_OWNER = sa.text(
    "SELECT relowner::regrole::text, pg_has_role(relowner, 'MEMBER') FROM pg_class WHERE oid = to_regclass(:name)"
)
_RELATIONS = sa.text("""
    SELECT CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, relname
    FROM pg_class WHERE relname = ANY(:names) AND pg_table_is_visible(oid)
    UNION ALL
    SELECT 'INDEX', indexes.relname
    FROM pg_index JOIN pg_class indexes ON indexes.oid = indexrelid JOIN pg_class tables ON tables.oid = indrelid
    WHERE tables.relname = ANY(:names) AND pg_table_is_visible(tables.oid)""")
_GRANTS = sa.text("""
    SELECT privilege_type, relname, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
    FROM pg_class, aclexplode(relacl)
    WHERE relname = ANY(:names) AND pg_table_is_visible(pg_class.oid) AND grantee <> relowner""")
_NEXT = sa.text(r"""
    SELECT 1 + coalesce(max(substring(relname FROM '^cebctl_[a-z]+_(\d+)_')::bigint), 0)
    FROM pg_class WHERE relname ~ ('^cebctl_' || :name || '_\d+_')
    AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass(:beside))""")
"""The number after the highest one of the stores set aside under a name."""


_PUBLIC = ("host", "port", "dbname", "user", "service", "sslmode")
"""The parameters of an address that no secret is in."""


def _public(url: URL) -> str:
    """Return an address for messages, in one line: without its password, and without parameters that may hold one."""
    query = {name: value for name, value in url.query.items() if name in _PUBLIC}
    return "".join(filter(str.isprintable, url.set(query=query).render_as_string(hide_password=True)))


def _secrets(url: URL) -> list[str]:
    """Return what messages must not repeat, the longest first."""
    hidden = [value for name, value in url.query.items() if name not in _PUBLIC]
    texts = {text for value in hidden for text in ([value] if isinstance(value, str) else value)}
    return sorted(filter(None, {*texts, str(url.password or "")}), key=len, reverse=True)


def _wait_for(connection: Connection, function: str, key: int) -> None:
    connection.exec_driver_sql(f"SET lock_timeout = '{PATIENCE_SECONDS:.0f}s'")
    connection.execute(sa.select(getattr(sa.func, function)(key)))


def _without_nul(value: object) -> object:
    """Replace NUL characters, which PostgreSQL's text can't hold."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value
