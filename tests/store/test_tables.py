"""The schema that is created, and its views."""

from typing import Any

import sqlalchemy as sa

from experiments.benchmarks import Clean
from jobs.journal.records import Measure, Result, Started, Succeeded
from jobs.paths import Home
from store import queries
from store.connect import Store
from store.ingest import ingest
from store.tables import NAMES, SCHEMA, VERSION_TABLE, latest_results, metadata, open_claims


def test_everything_is_created_and_named(store: Store) -> None:
    with store.reading() as connection:
        inspector = sa.inspect(connection)
        assert {*inspector.get_table_names(), *inspector.get_view_names()} == set(NAMES)
        for table in (*metadata.sorted_tables, latest_results, open_claims):
            assert [column["name"] for column in inspector.get_columns(table.name)] == table.c.keys()
        assert connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").all() == [(SCHEMA,)]


def test_the_newest_generation_counts_then_the_newest_attempt(store: Store, home: Home, write: Any) -> None:
    for attempt, generation in ((1, 1), (2, 2), (3, 2), (4, 1)):
        result = Result(
            evaluation_id="e",
            benchmark=Clean(),
            data_digest="d",
            checkpoint_step=1,
            engine="x",
            measures=[Measure(name="clean", unit="accuracy", total=10, correct=attempt)],
            numerics={"clean": generation},
            libraries={"torch": "2"},
            generation=generation,
        )
        started = Started(numerics={"adam": 1}, libraries={"torch": "2"}, generation=generation)
        write(home.run("r").journal("evaluate", attempt), started, result, Succeeded())
    ingest(store, home)
    [row] = queries.results(store, ["r"])
    assert (row.correct, row.attempt, row.generation, row.numerics) == (3, 3, 2, {"clean": 2})
    assert row.libraries == {"torch": "2"}
    job = queries.attempts(store)[-1]
    assert (job.attempt, job.generation, job.numerics, job.libraries) == (4, 1, {"adam": 1}, {"torch": "2"})


def test_a_journal_without_versions_has_none(store: Store, campaign: Home) -> None:
    ingest(store, campaign)
    assert {(job.numerics, job.libraries, job.generation) for job in queries.attempts(store)} == {(None, None, 1)}
    rows = queries.results(store, ["r0", "r1"])
    assert {(row.numerics, row.libraries, row.generation) for row in rows} == {(None, None, 1)}
