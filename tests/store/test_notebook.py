"""The tables for notebooks: of the whole store, of a matrix by file and by name, with pandas and without."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cebctl.export import tables as export
from experiments.benchmarks import Clean
from experiments.errors import InputError, UnreachableError
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix
from experiments.matrix.spec_fields import schema
from experiments.spec import Run
from jobs.journal.records import Claim, Measure, Metrics, Result, Started, Submitted, Succeeded
from jobs.paths import Home
from store import notebook, open_store
from store.connect import open_store as open_to_write
from store.ingest import ingest

MATRIX = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 1, batch: 256}
grids:
  - objective: xent
  - {objective: ceb, rho: [3, 0]}
evaluate: [clean]
"""


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    path = tmp_path / "mine.yaml"
    path.write_text(MATRIX)
    return load(path)


@pytest.fixture
def written(home: Home, matrix: Matrix, write: Any, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Two of the three runs are done, by a submission of the matrix."""
    monkeypatch.setenv("CEBCTL_HOME", str(home.folder))
    runs = matrix.runs[:2]
    submitted = Submitted(name="s1", matrix="mine", matrix_path=str(matrix.path), executor="local", code="c")
    claims = [
        Claim(run_id=r.run_id, label=r.name, stage="train", spec=msgspec.to_builtins(r.run), benchmarks=[])
        for r in runs
    ]
    write(home.submission("s1"), submitted, *claims)
    for number, run in enumerate(runs):
        paths = home.run(run.run_id)
        values = {"loss": 0.5 + number, "rate": None}
        write(
            paths.journal("train", 1), Started(submission="s1"), Metrics(step=5, epoch=1.0, values=values), Succeeded()
        )
        result = Result(
            evaluation_id="e1",
            benchmark=Clean(),
            data_digest="d",
            checkpoint_step=5,
            engine="x",
            measures=[
                Measure(name="clean", unit="accuracy", total=360, correct=270 + number),
                Measure(name="rate", unit="nats", total=360, value=2.5, std=0.1),
            ],
        )
        write(paths.journal("evaluate", 1), Started(submission="s1"), result, Succeeded())
    return home


def test_a_frame_has_a_row_for_each_measure_and_the_axes_as_columns(written: Home, matrix: Matrix) -> None:
    frame = open_store().results(matrix="mine").to_frame()
    assert list(frame.columns[:4]) == ["run_id", "objective", "rho", "column"]
    clean = frame[frame.column == "clean"].set_index("objective")
    assert clean.value.to_dict() == {"xent": 270 / 360, "ceb": 271 / 360}
    assert clean.rho.isna().to_dict() == {"xent": True, "ceb": False}
    assert list(frame[frame.name == "rate"].value) == [2.5, 2.5]


def test_rows_without_pandas(written: Home, matrix: Matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    table = open_store().metrics(matrix.path, only="rho = 3", names=["loss"])
    [row] = table
    assert (row.run_id, dict(row.axes), row.value) == (matrix.runs[1].run_id, {"objective": "ceb", "rho": 3.0}, 1.5)
    assert table.to_dicts()[0]["rho"] == 3.0
    with pytest.raises(InputError) as caught:
        table.to_frame()
    assert (
        str(caught.value) == "to_frame(): needs the package pandas; install the extra: `pip install -e '.[notebook]'`"
    )


def test_a_metric_that_no_run_has_is_refused(written: Home, matrix: Matrix) -> None:
    with pytest.raises(InputError, match=r"'los': no run has a metric of this name; did you mean 'loss'\? .*rate"):
        open_store().metrics(names=["loss", "los"])
    assert len(open_store().metrics("mine", only="rho = 0", names=["loss"])) == 0  # that run has none, others do


def test_a_home_without_metrics_knows_no_names(home: Home) -> None:
    home.folder.mkdir(exist_ok=True)
    assert len(open_store(home.folder).metrics(names=["loss"])) == 0


def test_a_table_that_is_looked_at_says_what_it_is_in_a_line(written: Home) -> None:
    assert repr(open_store().results("mine")) == "<Table of 4 results: run_id, objective, rho, column, …>"
    assert repr(open_store().runs("mine", only="rho = 0")) == "<Table of 1 run: run_id, objective, rho, name, …>"


def test_runs_of_a_matrix_are_all_of_it_and_without_one_all_that_were_submitted(written: Home, matrix: Matrix) -> None:
    assert [run.name for run in open_store().runs("mine")] == ["xent", "ceb rho=3", "ceb rho=0"]
    assert {run.run_id for run in open_store(written.folder).runs()} == {run.run_id for run in matrix.runs[:2]}
    assert len(open_store().runs("imagenet")) == 86  # one that comes with cebctl
    assert open_store().runs("imagenet", only="objective = xent").to_frame().shape[0] == 6
    empty = open_store().results("imagenet")
    assert (len(empty), list(empty.to_frame().columns)[:2]) == (0, ["run_id", "column"])


@pytest.mark.parametrize("there", [False, True])
def test_nothing_is_written_and_what_is_new_is_seen_once_it_was_read(written: Home, write: Any, there: bool) -> None:
    if there:
        with open_to_write(written.store_url) as store:
            ingest(store, written)
    before = {path: path.stat().st_mtime_ns for path in written.folder.rglob("*")}
    opened = open_store()
    assert len(opened.results()) == 4
    assert {path: path.stat().st_mtime_ns for path in written.folder.rglob("*")} == before


def test_a_server_is_read_without_a_home(
    written: Home, postgresql_database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CEBCTL_STORE", postgresql_database())
    with open_to_write(written.store_url) as store:
        ingest(store, written)
    assert len(open_store(tmp_path / "elsewhere").results("mine")) == 4


def test_what_is_not_there_is_named(written: Home, matrix: Matrix, tmp_path: Path) -> None:
    def refused(**asked: Any) -> str:
        with pytest.raises(InputError) as caught:
            open_store().results(**asked)
        return str(caught.value)

    assert "no matrix of this name; did you mean 'imagenet'?" in refused(matrix="imagenett")
    assert "unknown field 'roh'" in refused(matrix="mine", only="roh = 3")
    assert "name one by matrix=" in refused(only="rho = 3")
    matrix.path.unlink()
    assert f"its file {matrix.path} is not here; name a copy" in refused(matrix="mine")
    with pytest.raises(InputError, match="there is no home"):
        open_store(tmp_path / "none")


def make_older(url: str) -> None:
    with open_to_write(url) as store, store.writing() as connection:
        connection.exec_driver_sql("UPDATE cebctl_schema SET version_num = 2")


def test_the_journals_are_read_where_the_store_is_older(written: Home) -> None:
    make_older(written.store_url)
    before = {path: path.stat().st_mtime_ns for path in written.folder.rglob("*")}
    assert len(open_store().results("mine")) == 4
    assert {path: path.stat().st_mtime_ns for path in written.folder.rglob("*")} == before


def test_an_older_store_without_journals_is_named(
    tmp_path: Path, postgresql_database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CEBCTL_STORE", url := postgresql_database())
    make_older(url)
    with pytest.raises(UnreachableError, match="has the older schema 2; `cebctl status` sets it aside and reads"):
        open_store(tmp_path / "elsewhere").runs()


def test_the_columns_are_the_exports() -> None:
    kinds = {"runs": notebook.Run, "metrics": notebook.Metric, "results": notebook.Result}
    for name, kind in kinds.items():
        columns = list(notebook.Table(kind, ()).columns)
        assert columns == [column for column in export.TABLES[name] if column != "state"]  # which is no row's
        assert not set(columns) & set(schema(Run).names())  # an axis never hides one
