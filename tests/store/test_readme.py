"""The README's queries run, and its schema is the schema."""

import re
from pathlib import Path
from typing import Any

import pytest

import store
from experiments.benchmarks import Clean
from experiments.matrix.load import load
from jobs.journal.records import Measure, Metrics, Result, Started, Succeeded
from jobs.paths import Home
from store.connect import open_memory
from store.ingest import ingest
from store.tables import metadata

README = Path(store.__file__).with_name("README.md").read_text()
QUERIES = re.findall(r"```sql\n(.*?)```", README, re.DOTALL)
[NOTEBOOK] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
DIGITS = Path(store.__file__).parents[1] / "experiments" / "digits.yaml"


def test_there_are_five_queries() -> None:
    assert len(QUERIES) == 5


@pytest.mark.parametrize("query", QUERIES)
def test_an_example_query_finds_something(query: str, campaign: Home) -> None:
    with open_memory() as opened:
        ingest(opened, campaign)
        with opened.reading() as connection:
            assert connection.exec_driver_sql(query).all()


def test_a_finished_run_is_at_its_end_wherever_its_last_heartbeat_was(campaign: Home) -> None:
    [query] = [query for query in QUERIES if "MAX(steps)" in query]
    with open_memory() as opened:
        ingest(opened, campaign)
        with opened.reading() as connection:
            found = {row.run_id: (row.step, row.steps) for row in connection.exec_driver_sql(query)}
    assert found == {"r0": (5, 5), "r1": (5, 5), "r2": (2, 5)}


def test_the_notebook_runs(home: Home, write: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    for number, run in enumerate(load(DIGITS).runs):
        values = {"loss": 1.0, "rate": 2.0}
        measures = [Measure(name="clean", unit="accuracy", total=360, correct=300 + number)]
        result = Result(evaluation_id="e1", benchmark=Clean(), data_digest="d", checkpoint_step=1, engine="x",
                        measures=measures)  # fmt: skip
        paths = home.run(run.run_id)
        write(
            paths.journal("train", 1), Started(submission="s"), Metrics(step=1, epoch=1.0, values=values), Succeeded()
        )
        write(paths.journal("evaluate", 1), Started(submission="s"), result, Succeeded())
    monkeypatch.setenv("CEBCTL_HOME", str(home.folder))
    found: dict[str, Any] = {}
    exec(NOTEBOOK, found)
    runs = [run for run in load(DIGITS).runs if run.run.objective.__struct_config__.tag in ("ceb", "vib")]
    assert len(capsys.readouterr().out.splitlines()) == len(runs) == len(found["results"])
    assert found["clean"].at[3.0, "ceb"] == next(
        row.value for row in found["results"] if row.axes == {"objective": "ceb", "rho": 3.0}
    )
    assert set(found["losses"].name) == {"loss"}
    assert len(found["runs"]) == len(load(DIGITS).runs)


@pytest.mark.parametrize("name", metadata.tables)
def test_every_column_is_listed(name: str) -> None:
    [row] = re.findall(rf"^\| `{name}` \|.*$", README, re.MULTILINE)
    columns: Any = [column.name for column in metadata.tables[name].c]
    assert [word for word in re.findall(r"`(\w+)`", row)[1:] if word in columns] == columns


def test_every_module_is_listed() -> None:
    modules = {path.name for path in Path(store.__file__).parent.glob("*.py")} - {"__init__.py"}
    assert modules == set(re.findall(r"`(\w+\.py)`", README)) & modules
