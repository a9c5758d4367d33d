"""Opening: created, upgraded, refused or set aside; and what `plan` may touch."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from experiments.errors import InputError, UnreachableError
from jobs.paths import Home
from store import queries
from store.backends.backend import Backend, DamagedError
from store.backends.sqlite import Sqlite
from store.connect import Store, open_existing, open_store
from store.ingest import ingest
from store.locks import hold_lock
from store.tables import SCHEMA, VERSION_TABLE


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_store_is_created_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "a" / "folder of 100%" / "store?.sqlite"
    with open_store(sa.URL.create("sqlite", database=str(path)).render_as_string()) as store:
        assert queries.runs(store) == []
    assert path.exists()


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o007, 0o660)])
def test_whoever_may_write_in_the_home_may_write_the_store(tmp_path: Path, umask: int, mode: int) -> None:
    os.umask(umask)
    with open_store(f"sqlite:///{tmp_path}/store.sqlite"):
        found = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("store.sqlite*")}
    assert set(found.values()) == {mode} and "store.sqlite" in found


def test_many_may_create_one_store_at_once(url: str, at_once: Any) -> None:
    script = """
        from store.connect import open_store

        def work(number):
            with open_store(sys.argv[1]) as store:
                print(store.backend.schema(), store.warnings)
    """
    assert at_once(script, 8, url) == [f"{SCHEMA} []"] * 8


def test_a_store_made_between_two_questions_is_no_damaged_one(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = Backend.schema

    def late(backend: Backend) -> int | None:
        monkeypatch.setattr(Backend, "schema", schema)
        answer = schema(backend)
        open_store(url).close()  # another process
        return answer

    monkeypatch.setattr(Backend, "schema", late)
    with open_store(url) as store:
        assert store.backend.schema() == SCHEMA and not store.warnings


def test_foreign_keys_are_enforced(store: Store) -> None:
    with pytest.raises(sa.exc.IntegrityError), store.writing() as connection:
        connection.exec_driver_sql("INSERT INTO runs VALUES ('r', 'l', 'nobody', '{}')")


# --- addresses ---


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("store.sqlite", "CEBCTL_STORE: is no address of a database; allowed: sqlite:///"),
        ("", "is no address of a database"),
        ("mysql://secret:word@host/db", "CEBCTL_STORE: 'mysql' is not supported; allowed: sqlite:///"),
    ],
)
def test_an_address_that_cannot_be_one(address: str, message: str) -> None:
    for opening in (open_store, open_existing):
        with pytest.raises(InputError) as caught:
            opening(address)
        assert message in str(caught.value)
        assert "word" not in str(caught.value)


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    address = f"postgresql://someone:secret@/db?host={tmp_path}"
    for opening in (open_store, open_existing):
        with pytest.raises(UnreachableError) as caught:
            opening(address)
        assert "postgresql://someone:***@/db" in str(caught.value)
        assert "secret" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnreachableError, match="its folder can't be created: "):
        open_store(url_of(tmp_path / "file" / "store.sqlite"))


def test_a_folder_in_place_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").mkdir()
    with pytest.raises(UnreachableError, match=r"store\.sqlite: unable to open database file"):
        open_store(url_of(tmp_path / "store.sqlite"))


# --- reading only ---


def test_no_store_is_none_and_stays_none(tmp_path: Path, postgresql_database: Callable[[], str]) -> None:
    assert open_existing(url_of(tmp_path / "absent" / "store.sqlite")) is None
    (tmp_path / "empty.sqlite").touch()
    before = listing(tmp_path)
    assert open_existing(url_of(tmp_path / "empty.sqlite")) is None
    assert open_existing("sqlite://") is None
    assert listing(tmp_path) == before
    assert not (tmp_path / "absent").exists()
    address = postgresql_database()
    assert open_existing(address) is None
    assert open_existing(address) is None


def test_reading_changes_no_file(campaign: Home, sqlite_file: Path) -> None:
    with open_store(url_of(sqlite_file)) as store:
        ingest(store, campaign)
    before = listing(campaign.folder)
    existing = open_existing(url_of(sqlite_file))
    assert existing is not None
    with existing:
        assert len(queries.attempts(existing)) == 6
        with pytest.raises(UnreachableError, match="was opened only to be read"), existing.writing():
            pass
    assert listing(campaign.folder) == before


def test_reading_beside_one_who_writes(campaign: Home, url: str) -> None:
    with open_store(url) as store:
        ingest(store, campaign)
        with store.writing() as connection:
            connection.exec_driver_sql("DELETE FROM jobs")
            existing = open_existing(url)
            assert existing is not None
            with existing:
                assert len(queries.attempts(existing)) == 6


# --- schemas ---


def test_a_newer_store_is_refused_by_a_sentence(campaign: Home, url: str) -> None:
    with open_store(url) as store:
        ingest(store, campaign)
        with store.writing() as connection:
            connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    for opening in (open_store, open_existing):
        with pytest.raises(UnreachableError, match=rf"its schema 9999 is newer than this cebctl's, {SCHEMA}: upd"):
            opening(url)


@pytest.mark.parametrize("schema", ["0001", "0002"])
def test_a_store_of_an_earlier_commit_is_read_again(
    schema: str, campaign: Home, sqlite_file: Path, dump: Any, rebuilt: Any
) -> None:
    """One whose journals were read to their ends, so that only its age tells that its rows are not those of today."""
    url = f"sqlite:///{sqlite_file}"
    with open_store(url) as store:
        ingest(store, campaign)
    with closing(sqlite3.connect(sqlite_file)) as connection:
        journals = connection.execute("SELECT * FROM journals").fetchall()
    sqlite_file.unlink()
    with closing(sqlite3.connect(sqlite_file)) as connection, connection:
        connection.executescript((Path(__file__).with_name("schemas") / f"{schema}.sql").read_text())
        connection.execute("DELETE FROM journals")
        connection.executemany("INSERT INTO journals VALUES (?, ?, ?, ?, ?)", [row[:5] for row in journals])
        connection.execute("UPDATE results SET correct = 1")
    with open_store(url) as store:
        ingest(store, campaign)
        assert dump(store) == rebuilt(campaign)
    with closing(sqlite3.connect(sqlite_file.with_name("store.sqlite.older-1"))) as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (6,)


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photos.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE photos (id)")
    connection.close()
    for opening in (open_store, open_existing):
        with pytest.raises(InputError, match="is not a cebctl store: it holds 'photos'"):
            opening(url_of(path))
        assert list(tmp_path.iterdir()) == [path]


def test_locks_beside_another_programs_database_are_swept_unless_somebody_holds_them(tmp_path: Path) -> None:
    path = tmp_path / "photos.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE photos (id)")
    left, held, theirs = (path.with_name(f"{path.name}.{name}.lock") for name in ("opening", "submitting", "renaming"))
    left.touch()
    theirs.write_text("not ours")
    with hold_lock(held, 1.0), pytest.raises(InputError, match="is not a cebctl store"):
        open_store(url_of(path))
    assert set(tmp_path.iterdir()) == {path, held, theirs}


def test_another_programs_tables_beside_ours(postgresql_database: Callable[[], str]) -> None:
    address = postgresql_database()
    engine = sa.create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num text)")
    with open_store(address) as store:
        assert queries.runs(store) == []
    address = postgresql_database()
    engine = sa.create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE runs (id text)")
    with pytest.raises(InputError, match="is not a cebctl store: it holds 'runs'"):
        open_store(address)


# --- damage ---


def zero_header(path: Path) -> None:
    damage(path, 0, bytes(100))


def overwrite(path: Path) -> None:
    path.write_bytes(b"this is no database at all " * 500)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def tear_schema(path: Path) -> None:
    damage(path, 100, b"\xff" * 900)


def drop_a_table(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE workers")
    connection.close()


def garble_all_but_the_first_page(path: Path) -> None:
    damage(path, 4096, b"\xa5" * (path.stat().st_size - 4096))


def damage(path: Path, at: int, what: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(what)


DAMAGES = [zero_header, overwrite, cut, tear_schema, drop_a_table, garble_all_but_the_first_page]


@pytest.mark.parametrize("hurt", DAMAGES)
def test_a_damaged_store_is_set_aside_and_rebuilt(
    campaign: Home, sqlite_file: Path, dump: Any, rebuilt: Any, hurt: Callable[[Path], None], write: Any
) -> None:
    with open_store(url_of(sqlite_file)) as store:
        ingest(store, campaign)
    hurt(sqlite_file)
    damaged = sqlite_file.read_bytes()
    # A submission that has something to tell, so that its tables are written to.
    text = campaign.submission("s2").read_text().replace('"name":"s2"', '"name":"s3"')
    campaign.submission("s3").write_text(text)
    with open_store(url_of(sqlite_file)) as store:
        ingest(store, campaign)
        [warning] = store.warnings
        assert dump(store) == rebuilt(campaign)
    assert warning == (f"{sqlite_file}: was damaged; set aside as store.sqlite.damaged-1 and rebuilt from the journals")
    assert len(sqlite_file.with_name("store.sqlite.damaged-1").read_bytes()) == len(damaged)
    hurt(sqlite_file)
    with open_store(url_of(sqlite_file)) as store, suppress(UnreachableError):
        ingest(store, campaign)
        queries.open_claims(store)  # what an ingest without news does not meet
    assert sqlite_file.with_name("store.sqlite.damaged-2").exists()


def test_damage_met_by_a_question_is_one_line(campaign: Home, sqlite_file: Path) -> None:
    with open_store(url_of(sqlite_file)) as store:
        ingest(store, campaign)
        drop_a_table(sqlite_file)
        with pytest.raises(
            UnreachableError, match=r"was damaged; set aside as store.sqlite.damaged-1: try again to rebuild it$"
        ):
            queries.open_claims(store)
        ingest(store, campaign)
        assert len(queries.open_claims(store)) == 4


def test_damage_is_left_alone_by_who_only_reads(campaign: Home, sqlite_file: Path) -> None:
    with open_store(url_of(sqlite_file)) as store:
        ingest(store, campaign)
    overwrite(sqlite_file)
    before = listing(campaign.folder)
    with pytest.raises(UnreachableError, match="file is not a database; `cebctl status` sets it aside and"):
        open_existing(url_of(sqlite_file))
    assert listing(campaign.folder) == before


def test_a_file_of_another_kind_is_not_renamed(tmp_path: Path) -> None:
    path = tmp_path / "thesis.tex"
    path.write_text("not a database " * 100)
    with pytest.raises(InputError, match=r"thesis\.tex: file is not a database; a new file, or a store, named"):
        open_store(url_of(path))
    assert path.exists()


def test_another_process_sets_aside_only_once(campaign: Home, sqlite_file: Path) -> None:
    with open_store(url_of(sqlite_file)) as store:
        ingest(store, campaign)
    overwrite(sqlite_file)
    slow = Store(Sqlite(sqlite_file))
    with pytest.raises(DamagedError) as caught:
        slow.backend.schema()
    with open_store(url_of(sqlite_file)) as store:
        assert len(store.warnings) == 1
        slow.replace(caught.value)
        assert slow.warnings == [f"{sqlite_file}: was damaged; another cebctl has set it aside"]
        ingest(store, campaign)
    assert not sqlite_file.with_name("store.sqlite.damaged-2").exists()


def test_the_command_line_tool_reads_it(campaign: Home, sqlite_file: Path) -> None:
    if not shutil.which("sqlite3"):
        pytest.skip("the sqlite3 command is not installed")
    with open_store(url_of(sqlite_file)) as store:
        ingest(store, campaign)
    out = subprocess.check_output(["sqlite3", sqlite_file, "SELECT count(*) FROM latest_results"], text=True)
    assert out == "3\n"
