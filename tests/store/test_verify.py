"""Rows that are not what their journals say are found; stores that are put anew."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from experiments.errors import InputError, UnreachableError
from jobs.journal.records import Failed, Metrics, Started
from jobs.paths import Home
from store import verify
from store.connect import Store, open_store, recreate_store
from store.ingest import ingest
from store.verify import disagreements


@pytest.fixture
def filled(store: Store, campaign: Home) -> Store:
    ingest(store, campaign)
    return store


def test_what_was_read_agrees(filled: Store, campaign: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert disagreements(filled, campaign) == []
    monkeypatch.setattr(verify, "_BYTES_AT_ONCE", 1)  # a store in memory for each journal
    assert disagreements(filled, campaign) == []


def test_text_that_postgresql_cannot_hold_is_no_disagreement(store: Store, home: Home, write: Any) -> None:
    write(home.run("r").journal("train", 1), Started(), Failed(error="a\0b"))
    ingest(store, home)
    assert disagreements(store, home) == []


@pytest.mark.parametrize(
    ("change", "journal"),
    [
        (
            "UPDATE metrics SET value = value + 1e-9 WHERE run_id = 'r1' AND attempt = 2",
            "runs/r1/journal/train.2.jsonl",
        ),
        ("DELETE FROM metrics WHERE run_id = 'r2' AND step = 1", "runs/r2/journal/train.1.jsonl"),
        ("UPDATE jobs SET state = 'succeeded' WHERE run_id = 'r2'", "runs/r2/journal/train.1.jsonl"),
        ("UPDATE results SET correct = 360 WHERE run_id = 'r0'", "runs/r0/journal/evaluate.1.jsonl"),
        ("DELETE FROM claims WHERE run_id = 'r2'", "submissions/"),
        ("UPDATE runs SET label = 'x' WHERE run_id = 'r2'", "submissions/"),
        (
            "INSERT INTO jobs (run_id, stage, attempt, state, updated_at) VALUES ('r9', 'train', 1, 'failed', 1)",
            "runs/r9/journal/train.1.jsonl",
        ),
    ],
)
def test_a_changed_row_is_found(
    filled: Store, campaign: Home, change: str, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filled.writing() as connection:
        connection.execute(sa.text(change))
    assert disagreements(filled, campaign) == [journal]
    monkeypatch.setattr(verify, "_BYTES_AT_ONCE", 1)
    assert disagreements(filled, campaign) == [journal]


def test_a_journal_that_has_grown_since_is_no_disagreement(filled: Store, campaign: Home, write: Any) -> None:
    write(campaign.run("r2").journal("train", 1), Metrics(step=9, epoch=9, values={"loss": 1.0}))
    assert disagreements(filled, campaign) == []


# --- putting anew ---


def test_a_store_is_put_anew(filled: Store, campaign: Home, url: str, dump: Any, rebuilt: Any) -> None:
    with filled.writing() as connection:
        connection.execute(sa.text("UPDATE jobs SET state = 'failed'"))
    filled.close()
    with recreate_store(url) as store:
        ingest(store, campaign)
        assert dump(store) == rebuilt(campaign)
        [warning] = store.warnings
        place = "store.sqlite.replaced-1" if url.startswith("sqlite") else "the tables cebctl_replaced_1_*"
        assert warning.endswith(f"was replaced; set aside as {place} and rebuilt from the journals")


def test_a_store_that_does_not_open_is_put_anew(campaign: Home, sqlite_file: Path) -> None:
    hurt = b"no database at all " * 300
    sqlite_file.write_bytes(hurt)
    with recreate_store(f"sqlite:///{sqlite_file}") as store:
        ingest(store, campaign)
        assert disagreements(store, campaign) == []
    assert sqlite_file.with_name("store.sqlite.replaced-1").read_bytes() == hurt


def test_a_store_of_a_newer_cebctl_is_left_alone(campaign: Home, url: str) -> None:
    with open_store(url) as store, store.writing() as connection:
        connection.execute(sa.text("UPDATE cebctl_schema SET version_num = '9999'"))
    with pytest.raises(UnreachableError, match="its schema 9999 is newer than this cebctl's"):
        recreate_store(url)


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "thesis.tex"
    path.write_text("not a database " * 100)
    with pytest.raises(InputError, match="file is not a database"):
        recreate_store(f"sqlite:///{path}")
    assert list(tmp_path.iterdir()) == [path]
