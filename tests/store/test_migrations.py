"""The schema's history: it ends where the tables are, and every earlier store opens."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from experiments.errors import UnreachableError
from jobs.home import Home
from store import opening, queries
from store.ingest import ingest
from store.migrations import apply
from store.opening import Store, open_existing, open_store
from store.tables import SCHEMA, VERSION_TABLE, latest_results, metadata, open_claims

SCHEMAS = Path(__file__).with_name("schemas")

NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "next"
down_revision = "{schema}"

def upgrade():
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("gpu", sa.Text))
        jobs.alter_column("host", nullable=True, type_=sa.String(99))
    {then}
"""


def test_the_newest_revision_is_the_schema() -> None:
    assert apply.revisions()[-1] == SCHEMA


def test_the_migrated_schema_is_that_of_the_tables(store: Store) -> None:
    with store.reading() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": False}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
        names = set(sa.inspect(connection).get_table_names())
        assert names == set(metadata.tables) | {VERSION_TABLE}
        for view in (latest_results, open_claims):
            columns = [column["name"] for column in sa.inspect(connection).get_columns(view.name)]
            assert columns == list(view.c.keys())
        for name in metadata.tables:
            assert sa.inspect(connection).get_pk_constraint(name)["constrained_columns"] == list(
                metadata.tables[name].primary_key.columns.keys()
            )


def test_every_schema_has_a_store_kept() -> None:
    assert sorted(path.stem for path in SCHEMAS.glob("*.sql")) == sorted(apply.revisions())


@pytest.mark.parametrize("schema", sorted(path.stem for path in SCHEMAS.glob("*.sql")))
def test_a_store_of_any_earlier_schema_opens(schema: str, sqlite_file: Path) -> None:
    sqlite_file.parent.mkdir()
    with sqlite3.connect(sqlite_file) as connection:
        connection.executescript((SCHEMAS / f"{schema}.sql").read_text())
    connection.close()
    with open_store(f"sqlite:///{sqlite_file}") as store:
        assert {job.run_id for job in queries.jobs(store)} == {"r0", "r1", "r2"}
        assert len(queries.open_claims(store)) == 4
        assert [row.name for row in queries.results(store, ["r1"])] == ["clean", "rate"]
        assert len(queries.metrics(store, "r1", ["loss"])) == 5


@pytest.fixture
def one_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend that one more migration exists."""

    def one_more(then: str = "pass") -> None:
        folder = tmp_path / "versions"
        folder.mkdir(exist_ok=True)
        (folder / "next.py").write_text(NEXT.format(schema=SCHEMA, then=then))
        usual = apply._config

        def config() -> Config:
            changed = usual()
            versions = Path(apply.__file__).with_name("versions")
            changed.set_main_option("version_locations", f"{versions}:{folder}")
            return changed

        monkeypatch.setattr(apply, "_config", config)
        monkeypatch.setattr(opening, "SCHEMA", "next")

    return one_more


def test_an_upgrade_keeps_everything_and_a_copy(campaign: Home, sqlite_file: Path, dump: Any, one_more: Any) -> None:
    url = f"sqlite:///{sqlite_file}"
    with open_store(url) as store:
        ingest(store, campaign)
        before = dump(store)
    one_more()
    with pytest.raises(UnreachableError, match=rf"has the older schema {SCHEMA}; `cebctl status` upgrades it"):
        open_existing(url)
    with open_store(url) as store:
        assert dump(store) == before
        with store.reading() as connection:
            assert "gpu" in [column["name"] for column in sa.inspect(connection).get_columns("jobs")]
        ingest(store, campaign)
        with pytest.raises(sa.exc.IntegrityError), store.writing() as connection:
            connection.exec_driver_sql("INSERT INTO runs VALUES ('r', 'l', 'nobody', '{}')")
    with sqlite3.connect(sqlite_file.with_name(f"store.sqlite.schema-{SCHEMA}")) as copy:
        assert copy.execute("SELECT count(*) FROM jobs").fetchone() == (6,)
        assert copy.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone() == (SCHEMA,)
    copy.close()


def test_an_upgrade_that_fails_changes_nothing(campaign: Home, url: str, dump: Any, one_more: Any) -> None:
    with open_store(url) as store:
        ingest(store, campaign)
        before = dump(store)
    one_more("raise RuntimeError('power cut')")
    with pytest.raises(RuntimeError, match="power cut"):
        open_store(url)
    opening.SCHEMA = SCHEMA
    with open_store(url) as store:
        assert dump(store) == before
        with store.reading() as connection:
            assert "gpu" not in [column["name"] for column in sa.inspect(connection).get_columns("jobs")]
