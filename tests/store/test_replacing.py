"""A store that is older or damaged is set aside and read again: by one of many at once, and by none who should not."""

import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from experiments.errors import InputError, UnreachableError
from jobs.paths import Home
from store import queries
from store.backends import sqlite
from store.backends.backend import DamagedError, RenewedError
from store.connect import Store, open_existing, open_memory, open_store, recreate_store
from store.ingest import ingest
from store.tables import SCHEMA, metadata

pytestmark = pytest.mark.fault

OLDER = (
    "DROP VIEW latest_results",
    "ALTER TABLE results DROP COLUMN generation",
    "UPDATE results SET correct = 1",
    "UPDATE cebctl_schema SET version_num = 2",
)
DAMAGED = ("DROP TABLE workers", "UPDATE results SET correct = 1")


def fill(url: str, home: Home, *statements: str) -> None:
    """Make a store that was read from the journals, and then changed."""
    with open_store(url) as store:
        ingest(store, home)
        with store.writing() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)


def copy_submission(home: Home, number: int) -> None:
    """Submit the same again, under another name."""
    text = home.submission("s2").read_text().replace('"name":"s2"', f'"name":"s{number + 2}"')
    home.submission(f"s{number + 2}").write_text(text)


def tables_of(url: str) -> set[str]:
    with open_store(url) as store, store.reading() as connection:
        return set(sa.inspect(connection).get_table_names())


def kept_rows(url: str, name: str, table: str) -> int | None:
    """Count the rows of a table of the first store that was set aside under this name."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(f"{url.removeprefix('sqlite:///')}.{name}-1")) as connection:
            return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    with open_store(url) as store, store.reading() as connection:
        return connection.scalar(sa.text(f"SELECT count(*) FROM cebctl_{name}_1_{table}"))


@pytest.mark.parametrize(
    ("statements", "name", "past"),
    [(OLDER, "older", "was made by an earlier cebctl"), (DAMAGED, "damaged", "was damaged")],
)
def test_it_is_renamed_and_another_in_its_place(
    statements: tuple[str, ...], name: str, past: str, campaign: Home, url: str, dump: Any, rebuilt: Any
) -> None:
    for number in (1, 2):
        fill(url, campaign, *statements)
        copy_submission(campaign, number)  # its tables are used
        with open_store(url, campaign) as store:
            ingest(store, campaign)
            [warning] = store.warnings
            assert dump(store) == rebuilt(campaign)
        place = f"store.sqlite.{name}-{number}" if url.startswith("sqlite") else f"the tables cebctl_{name}_{number}_*"
        assert warning.endswith(f": {past}; set aside as {place} and rebuilt from the journals")
    assert kept_rows(url, name, "jobs") == 6


AT_ONCE = """
    import time
    from pathlib import Path
    from jobs.paths import Home
    from store import queries
    from store.ingest import ingest
    from store.connect import open_store

    home = Home(Path(sys.argv[2]))

    def work(number):
        time.sleep(number % 4 * 0.02)
        with open_store(sys.argv[1], home) as store:
            with store.exclusive():
                ingest(store, home)
                claims = len(queries.open_claims(store))
            deeds = [warning.partition("; ")[2].partition(" as ")[0] for warning in store.warnings]
            print(claims, len(queries.attempts(store)), *deeds)
"""


@pytest.mark.parametrize("statements", [OLDER, DAMAGED])
def test_of_many_at_once_one_sets_it_aside_and_all_have_a_good_one(
    statements: tuple[str, ...], campaign: Home, url: str, at_once: Any, dump: Any, rebuilt: Any
) -> None:
    for number in range(3):
        fill(url, campaign, *statements)
        copy_submission(campaign, number + 1)
        lines = at_once(AT_ONCE, 8, url, campaign.folder)
        claims = 5 + number
        assert {line.split()[:2] == [str(claims), "6"] for line in lines} == {True}, lines
        deeds = Counter(line.split(maxsplit=2)[2] for line in lines if len(line.split()) > 2)
        assert deeds["set aside"] == 1
        assert set(deeds) <= {"set aside", "another cebctl has set it aside"}
        with open_store(url, campaign) as store:
            assert store.warnings == []
            assert dump(store) == rebuilt(campaign)
    if url.startswith("sqlite"):
        assert len(list(campaign.folder.glob("store.sqlite.*-[0-9]"))) == 3
    else:
        assert len([table for table in tables_of(url) if table.endswith("_jobs")]) == 3


def test_who_decides_what_to_submit_is_waited_for(campaign: Home, url: str, python: Any) -> None:
    fill(url, campaign)
    script = """
        import sys
        from store.connect import recreate_store
        with recreate_store(sys.argv[1]) as store:
            print(store.warnings)
    """
    with open_store(url) as store:
        with store.exclusive():
            ingest(store, campaign)
            other = python(script, url)
            with pytest.raises(subprocess.TimeoutExpired):
                other.wait(2)
            assert len(queries.open_claims(store)) == 4
        out, err = other.communicate(timeout=60)
        assert (err, "was replaced" in out) == ("", True)


def test_who_had_it_open_does_not_take_an_empty_store_for_his(
    campaign: Home, url: str, dump: Any, rebuilt: Any
) -> None:
    fill(url, campaign)
    with open_store(url) as first:
        assert len(queries.attempts(first)) == 6
        recreate_store(url).close()
        try:
            assert len(queries.attempts(first)) == 6  # of the file that he has open
        except RenewedError as error:
            assert str(error).endswith("was replaced; another cebctl has set it aside: try again to rebuild it")
            assert first.warnings == []
        ingest(first, campaign)
        assert dump(first) == rebuilt(campaign)


def test_who_had_it_open_on_a_network_file_system_reads_into_the_new_one(
    campaign: Home, sqlite_file: Path, monkeypatch: pytest.MonkeyPatch, dump: Any, rebuilt: Any
) -> None:
    monkeypatch.setattr(sqlite, "network_file_system", lambda path: "nfs4")
    url = f"sqlite:///{sqlite_file}"
    fill(url, campaign)
    with open_store(url, campaign) as first:
        recreate_store(url, campaign).close()
        copy_submission(campaign, 1)
        ingest(first, campaign)
        assert first.warnings == [f"{sqlite_file}: was replaced; another cebctl has set it aside"]
        assert dump(first) == rebuilt(campaign)


def test_who_had_it_open_leaves_the_new_file_and_its_log_alone(campaign: Home, sqlite_file: Path) -> None:
    url = f"sqlite:///{sqlite_file}"
    fill(url, campaign)
    with open_store(url) as first:
        queries.attempts(first)
        with recreate_store(url) as second:
            ingest(second, campaign)
            with first.writing() as connection:
                connection.exec_driver_sql("DELETE FROM jobs")
            first.close()
            assert sqlite_file.with_name("store.sqlite-wal").stat().st_size > 0
            with open_store(url) as third:
                assert len(queries.attempts(third)) == len(queries.attempts(second)) == 6
                with third.reading() as connection:
                    assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_an_older_store_of_another_home_is_left_alone(
    campaign: Home, tmp_path: Path, postgresql_database: Callable[[], str]
) -> None:
    for url in (f"sqlite:///{tmp_path}/shared.sqlite", postgresql_database()):
        for statements in (OLDER, ("UPDATE cebctl_schema SET version_num = NULL",)):
            with recreate_store(url) as store:
                ingest(store, campaign)
                with store.writing() as connection:
                    connection.exec_driver_sql("ALTER TABLE cebctl_schema RENAME TO x")
                    connection.exec_driver_sql("CREATE TABLE cebctl_schema (version_num text)")
                    connection.exec_driver_sql(f"INSERT INTO cebctl_schema VALUES ('{SCHEMA}')")
                    connection.exec_driver_sql("DROP TABLE x")
                    for statement in statements:
                        connection.exec_driver_sql(statement)
            another = Home(tmp_path / "another")
            for opening in (open_store, recreate_store):
                with pytest.raises(InputError, match="filled from another home than"):
                    opening(url, another)
    assert not list(tmp_path.glob("shared.sqlite.older*"))


@pytest.mark.parametrize("version", ["9999", str(SCHEMA + 1)])
def test_a_newer_store_is_left_alone(version: str, campaign: Home, url: str) -> None:
    fill(url, campaign, f"UPDATE cebctl_schema SET version_num = '{version}'")
    for opening in (open_store, recreate_store, open_existing):
        with pytest.raises(
            UnreachableError, match=f"its schema {version} is newer than this cebctl's, {SCHEMA}: update"
        ):
            opening(url)


def roles(store: Store, *statements: str) -> None:
    with store.writing() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_a_teams_rights_pass_to_the_new_tables(campaign: Home, postgresql_database: Callable[[], str]) -> None:
    url = postgresql_database()
    schema = url.rpartition("%3D")[2]
    fill(url, campaign)
    with open_store(url) as store:
        names = ", ".join([*metadata.tables, "cebctl_schema"])
        roles(
            store,
            *[f"CREATE ROLE {role} LOGIN" for role in ("team", "anna", "ben", "cleo")],
            "GRANT team TO anna",
            f"GRANT USAGE, CREATE ON SCHEMA {schema} TO team, ben, cleo",
            *[f"ALTER TABLE {name} OWNER TO team" for name in names.split(", ")],
            *[f"ALTER VIEW {view} OWNER TO team" for view in ("latest_results", "open_claims")],
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON {names}, latest_results, open_claims TO ben",
            *OLDER[-1:],
        )
    with pytest.raises(UnreachableError, match=r"only team, whose it is, can set it aside: by `cebctl status`"):
        open_store(url.replace("cebctl@", "ben@"), campaign)
    for user in ("anna", "ben"):
        with open_store(url.replace("cebctl@", f"{user}@"), campaign) as store:
            ingest(store, campaign)
            assert len(queries.open_claims(store)) == 4
            assert len(queries.results(store, ["r0", "r1"])) == 3
    with pytest.raises(UnreachableError, match="permission denied for table"):
        open_store(url.replace("cebctl@", "cleo@"), campaign)


def test_the_error_of_another_store_sets_none_aside(campaign: Home, sqlite_file: Path) -> None:
    """As where it is compared with one in memory, which none can take the place of either."""
    with open_store(f"sqlite:///{sqlite_file}") as store, open_memory() as other:
        ingest(store, campaign)
        with pytest.raises(DamagedError), store.reading(), other.reading():
            raise DamagedError(other.where, "holds no sense")
        assert len(queries.attempts(store)) == 6 and not store.warnings
