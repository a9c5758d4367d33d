"""Addresses of servers that are wrong or hold secrets, and servers that go away: one line each."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from experiments.errors import CebctlError, InputError, UnreachableError
from store import queries
from store.connect import open_existing, open_store

SECRET = "s3cretword"
NOBODY = "127.0.0.1:1"

pytestmark = pytest.mark.fault


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        (f"u:{SECRET}@host:port/db", InputError),
        (f"u:{SECRET}@127.0.0.1:99999/db", UnreachableError),
        (f"u:{SECRET}@{NOBODY}/db?no_such_parameter={SECRET}", InputError),
        (f"u:x@{SECRET}@host/db", InputError),
        (f"u@[::1/db?password={SECRET}", InputError),
        (f"u@{NOBODY}/db?plugin={SECRET}", InputError),
        (f"u@h:1/db?host=a&host=b&port=1&password={SECRET}", InputError),
        (f"u@{NOBODY}/db?sslmode=nonsense&password={SECRET}", UnreachableError),
        (f"u@{NOBODY}/db?service=nowhere&password={SECRET}", UnreachableError),
        (f"u@{NOBODY}/db?channel_binding={SECRET}", UnreachableError),
        *[
            (f"u@{NOBODY}/db?{parameter}={SECRET}", UnreachableError)
            for parameter in ("password", "sslpassword", "scram_client_key", "scram_server_key", "passfile", "options")
        ],
    ],
)
def test_a_wrong_address_is_one_line_without_its_secrets(address: str, kind: type[CebctlError]) -> None:
    pytest.importorskip("psycopg")
    for opening in (open_store, open_existing):
        with pytest.raises(kind) as caught:
            opening(f"postgresql://{address}")
        assert SECRET not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_password_of_a_service_file_is_not_printed(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg")
    for text in (f"[s]\nhost=127.0.0.1\nport=1\npassword={SECRET}\n", f"[s]\n{SECRET}\n"):
        (tmp_path / "services").write_text(text)
        monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
        with pytest.raises(UnreachableError) as caught:
            open_store("postgresql://u@/db?service=s")
        assert SECRET not in str(caught.value)


def test_a_sqlite_file_has_no_host() -> None:
    for opening in (open_store, open_existing):
        with pytest.raises(InputError, match="names a host for a SQLite file: a slash is missing"):
            opening("sqlite://store.sqlite")


def test_a_server_that_answers_nonsense() -> None:
    pytest.importorskip("psycopg")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        server.settimeout(0.01)
        server.close()
        with pytest.raises(UnreachableError) as caught:
            open_store(f"postgresql://u:{SECRET}@127.0.0.1:{port}/db")
        assert SECRET not in str(caught.value)


def test_a_session_that_the_server_ends_is_one_line(
    postgresql_database: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    url = postgresql_database()
    with open_store(url) as store, open_store(url) as other:
        with (
            pytest.raises(UnreachableError) as caught,
            caplog.at_level(logging.WARNING),
            store.exclusive(),
            store.reading() as connection,
        ):
            with other.writing() as killer:
                killer.execute(
                    sa.text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
                    )
                )
            connection.execute(sa.text("SELECT 1"))
        assert "\n" not in str(caught.value)
        assert caplog.records == []
        assert queries.runs(store) == []
