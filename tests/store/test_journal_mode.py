"""A write-ahead log on a local file system, a rollback journal on a network one, also for a store that was moved."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from experiments.errors import InputError
from jobs.paths import Home
from store import queries
from store.backends import sqlite
from store.connect import open_existing, open_store
from store.ingest import ingest

Lies = Callable[[str | None], None]


@pytest.fixture
def lies(monkeypatch: pytest.MonkeyPatch) -> Lies:
    """Say on which network file system stores lie from now on (None: on a local one)."""
    return lambda kind: monkeypatch.setattr(sqlite, "network_file_system", lambda path: kind)


def mode(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


@pytest.mark.parametrize(("kind", "expected"), [(None, "wal"), ("nfs4", "delete"), ("lustre", "delete")])
def test_a_new_store(kind: str | None, expected: str, campaign: Home, sqlite_file: Path, lies: Lies) -> None:
    lies(kind)
    with open_store(f"sqlite:///{sqlite_file}") as store:
        ingest(store, campaign)
        assert mode(sqlite_file) == expected


@pytest.mark.parametrize(("first", "then", "expected"), [(None, "gpfs", "delete"), ("nfs", None, "wal")])
def test_a_store_that_was_moved(
    first: str | None,
    then: str | None,
    expected: str,
    campaign: Home,
    sqlite_file: Path,
    lies: Lies,
    dump: Any,
    rebuilt: Any,
) -> None:
    lies(first)
    with open_store(f"sqlite:///{sqlite_file}") as store:
        ingest(store, campaign)
    lies(then)
    with open_store(f"sqlite:///{sqlite_file}") as store:
        assert mode(sqlite_file) == expected
        assert dump(store) == rebuilt(campaign)
        ingest(store, campaign)
    assert sorted(path.name for path in sqlite_file.parent.glob("store.sqlite-*")) == []


def test_a_log_that_was_moved_along_is_not_lost(
    campaign: Home, sqlite_file: Path, lies: Lies, python: Any, dump: Any, rebuilt: Any
) -> None:
    """Its last user was killed: what is in the log is in the store, though not yet in the file."""
    script = """
        import os, signal, sys
        from pathlib import Path
        from jobs.paths import Home
        from store import connect, ingest
        store = connect.open_store(sys.argv[1])
        ingest.ingest(store, Home(Path(sys.argv[2])))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    python(script, f"sqlite:///{sqlite_file}", campaign.folder).communicate(timeout=60)
    assert sqlite_file.with_name("store.sqlite-wal").stat().st_size > 0
    sqlite_file.with_name("store.sqlite-shm").unlink()
    lies("nfs4")
    with open_store(f"sqlite:///{sqlite_file}") as store:
        assert len(queries.attempts(store)) == 6
        assert dump(store) == rebuilt(campaign)
    assert mode(sqlite_file) == "delete"
    assert not sqlite_file.with_name("store.sqlite-wal").exists()


def test_a_store_in_use_keeps_a_rollback_journal(campaign: Home, sqlite_file: Path, lies: Lies) -> None:
    lies("nfs4")
    with open_store(f"sqlite:///{sqlite_file}") as store:
        ingest(store, campaign)
        lies(None)
        with store.reading(), open_store(f"sqlite:///{sqlite_file}") as second:
            assert len(queries.attempts(second)) == 6
        assert mode(sqlite_file) == "delete"


MOVED = """
    from pathlib import Path
    from jobs.paths import Home
    from store import queries
    from store.backends import sqlite
    from store.ingest import ingest
    from store.connect import open_store

    sqlite.network_file_system = lambda path: "nfs4"

    def work(number):
        with open_store(sys.argv[1]) as store:
            ingest(store, Home(Path(sys.argv[2])))
            print(len(queries.attempts(store)), store.warnings)
"""


def test_many_open_a_store_that_was_moved(campaign: Home, sqlite_file: Path, at_once: Any) -> None:
    with open_store(f"sqlite:///{sqlite_file}") as store:
        ingest(store, campaign)
    assert at_once(MOVED, 8, f"sqlite:///{sqlite_file}", campaign.folder) == ["6 []"] * 8
    assert mode(sqlite_file) == "delete"


def test_looking_changes_nothing(campaign: Home, sqlite_file: Path, lies: Lies) -> None:
    with open_store(f"sqlite:///{sqlite_file}") as store:
        ingest(store, campaign)
    lies("nfs4")
    existing = open_existing(f"sqlite:///{sqlite_file}")
    assert existing is not None
    with existing:
        assert len(queries.attempts(existing)) == 6
    assert mode(sqlite_file) == "wal"


def test_another_programs_database_keeps_its_mode(tmp_path: Path, lies: Lies) -> None:
    path = tmp_path / "photos.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE photos (id)")
    with pytest.raises(InputError, match="is not a cebctl store"):
        open_store(f"sqlite:///{path}")
    assert mode(path) == "delete"
