"""The lock under which submissions are decided."""

from pathlib import Path
from typing import Any

import pytest

from experiments.errors import UnreachableError
from jobs.journal.records import Claim
from jobs.paths import Home
from store import queries
from store.backends import backend, sqlite
from store.connect import Store, open_existing, open_memory, open_store
from store.ingest import ingest

pytestmark = pytest.mark.fault

SUBMITTER = """
    import time
    from pathlib import Path
    from jobs.paths import Home
    from jobs.journal.files import Journal
    from jobs.journal.records import Claim, Started, Submitted
    from store import queries
    from store.ingest import ingest
    from store.connect import open_store

    url, home = sys.argv[1], Home(Path(sys.argv[2]))

    def work(number):
        with Journal(home.run(f"r-{number}").journal("train", 1)) as journal:
            journal.write(Started(submission=f"s{number}"))
        for turn in range(6):
            with open_store(url) as store:
                with store.exclusive():
                    ingest(store, home)
                    submit_one(store, f"s{number}-{turn}")
                ingest(store, home)
                queries.attempts(store), queries.results(store, ["r0"])

    def submit_one(store, name):
        taken = {claim.run_id for claim in queries.open_claims(store)}
        missing = [f"r{n}" for n in range(8) if f"r{n}" not in taken]
        if missing:
            with Journal(home.submission(name)) as journal:
                journal.write(Submitted(name=name, matrix="", matrix_path="", executor="", code=""))
                time.sleep(0.01)
                journal.write(Claim(run_id=missing[0], label="", stage="train", spec={}))
"""


def test_eight_submitters_claim_each_run_once(home: Home, url: str, at_once: Any) -> None:
    at_once(SUBMITTER, 8, url, home.folder)
    with open_store(url) as store:
        ingest(store, home)
        assert [claim.run_id for claim in queries.open_claims(store)] == [f"r{n}" for n in range(8)]
        assert len(queries.attempts(store)) == 8


def test_eight_submitters_on_a_network_file_system(
    home: Home, sqlite_file: Path, at_once: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There a store has no write-ahead log, and says so itself to those who open it later."""
    monkeypatch.setattr(sqlite, "network_file_system", lambda path: "nfs4")
    url = f"sqlite:///{sqlite_file}"
    with open_store(url) as store, store.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
    at_once(SUBMITTER, 8, url, home.folder)
    store = open_existing(url)
    assert store is not None
    with store:
        assert [claim.run_id for claim in queries.open_claims(store)] == [f"r{n}" for n in range(8)]


def test_others_may_read_journals_meanwhile(campaign: Home, url: str) -> None:
    with open_store(url) as one, open_store(url) as two, one.exclusive():
        assert ingest(two, campaign).files == 8
        assert ingest(one, campaign).files == 0


def test_waiting_for_ever_is_not_waiting(sqlite_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{sqlite_file}"
    with open_store(url) as one, open_store(url) as two, one.exclusive():
        monkeypatch.setattr(sqlite, "PATIENCE_SECONDS", 0.2)
        with pytest.raises(UnreachableError, match="another cebctl has held this lock for too long"), two.exclusive():
            pass


def test_waiting_for_ever_for_a_server(postgresql_database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    url = postgresql_database()
    with open_store(url) as one, open_store(url) as two, one.exclusive():
        monkeypatch.setattr("store.backends.postgresql.PATIENCE_SECONDS", 1)
        with pytest.raises(UnreachableError, match="lock timeout"), two.exclusive():
            pass


def test_an_error_inside_lets_go(store: Store, campaign: Home) -> None:
    assert backend.PATIENCE_SECONDS > 60
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), store.exclusive():
            ingest(store, campaign)
            raise ZeroDivisionError
    assert len(queries.attempts(store)) == 6


def test_a_second_time_inside_is_a_mistake_that_is_told(store: Store) -> None:
    with store.exclusive(), pytest.raises(RuntimeError), store.exclusive():
        pass


def test_a_store_in_memory_has_no_other_process(home: Home, write: Any) -> None:
    write(home.submission("s"), Claim(run_id="r", label="", stage="train", spec={}))
    with open_memory() as store, store.exclusive():
        ingest(store, home)
        assert len(queries.open_claims(store)) == 1
