"""What was measured, handed to other tools and read back by them."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.matrix.load import load
from jobs.paths import Home
from store import queries
from store.connect import open_memory
from store.ingest import ingest

TARGETS = ("csv", "parquet", "tensorboard", "mlflow")
NUMBERS = {"step": int, "attempt": int, "epoch": float, "value": float, "total": int, "correct": int, "std": float}


@pytest.fixture
def stored(finished: Home, small: Path) -> dict[str, list[dict[str, Any]]]:
    """What the store has of the matrix."""
    found: dict[str, list[dict[str, Any]]] = {"metrics": [], "results": []}
    with open_memory() as store:
        ingest(store, finished)
        for run in load(small).runs:
            metrics = [{name: getattr(p, name) for name in p.__slots__} for p in queries.metrics(store, run.run_id)]
            found["metrics"] += [{"run_id": run.run_id} | row for row in metrics]
            results = queries.results(store, [run.run_id])
            found["results"] += [
                {name: getattr(row, name) for name in row.__slots__} | {"value": row.number} for row in results
            ]
    return found


AS_JSON = ("benchmark", "numerics", "libraries")


def check(rows: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """That the rows hold the expected ones to the last bit, in their order."""
    assert len(rows) == len(expected) > 0
    for row, wanted in zip(rows, expected, strict=True):
        assert {k: row[k] for k in wanted if k not in AS_JSON} == {k: v for k, v in wanted.items() if k not in AS_JSON}
        for name in {"numerics", "libraries"} & wanted.keys():
            assert json.loads(row[name]) == (wanted[name] or {})


def test_csv_gives_back_the_same_numbers(call, small: Path, stored: Any, tmp_path: Path) -> None:
    answer = call("export", small, "--to", "csv", "--out", tmp_path / "out")
    assert (answer.code, answer.out) == (0, "")
    for table in ("metrics", "results"):
        with (tmp_path / "out" / f"{table}.csv").open(newline="") as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file))
        for row in rows:
            for name in row:
                kind = NUMBERS | {"checkpoint_step": int, "generation": int, "measured_at": float, "seconds": float}
                if name in kind:
                    row[name] = kind[name](row[name]) if row[name] else None
        check(rows, stored[table])
    with (tmp_path / "out" / "runs.csv").open(newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["xent", "ceb rho=3", "ceb rho=0"]


def test_parquet_gives_back_the_same_numbers_and_types(call, small: Path, stored: Any, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra `parquet`")
    assert call("export", small, "--to", "parquet", "--out", tmp_path / "out").code == 0
    for table in ("metrics", "results"):
        check(parquet.read_table(tmp_path / "out" / f"{table}.parquet").to_pylist(), stored[table])
    assert parquet.read_table(tmp_path / "out" / "runs.parquet").num_rows == 3


def test_tensorboard_reads_every_point(call, small: Path, stored: Any, tmp_path: Path) -> None:
    name = "tensorboard.backend.event_processing.event_accumulator"
    accumulator = pytest.importorskip(name, reason="needs the extra `tensorboard`")
    assert call("export", small, "--to", "tensorboard", "--out", tmp_path / "out").code == 0
    run = load(small).runs[1]
    [folder] = (tmp_path / "out").glob("ceb rho=3 *")
    events = accumulator.EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()

    def scalars(tag: str) -> list[tuple[int, float]]:
        return [(event.step, event.tensor_proto.float_val[0]) for event in events.Tensors(tag)]

    for metric in ("loss", "rate"):
        points = [row for row in stored["metrics"] if (row["run_id"], row["name"]) == (run.run_id, metric)]
        for (step, value), row in zip(scalars(f"train/{metric}"), points, strict=True):
            assert step == row["step"]
            assert math.isnan(value) if row["value"] is None else value == pytest.approx(row["value"], rel=1e-7)
    assert scalars("results/accuracy")[0] == (4, pytest.approx(351 / 360))


def test_mlflow_reads_every_point(call, small: Path, stored: Any, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs the extra `mlflow`, which is large")
    assert call("export", small, "--to", "mlflow", "--out", tmp_path / "out").code == 0
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/out/mlflow.sqlite")
    experiment = client.get_experiment_by_name("small")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"xent", "ceb rho=3", "ceb rho=0"}
    run = runs["ceb rho=3"]
    assert run.info.status == "FINISHED"
    assert (run.data.params["objective.rho"], run.data.metrics["results/accuracy"]) == ("3.0", 351 / 360)
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(m.step, m.value) for m in history] == [(step, 1 / (3 * step)) for step in range(1, 5)]
    first = client.get_metric_history(run.info.run_id, "train/rate")[0]
    assert math.isnan(first.value)


@pytest.mark.parametrize(
    ("target", "library"), [("parquet", "pyarrow"), ("tensorboard", "tensorboard"), ("mlflow", "mlflow")]
)
def test_a_missing_extra_is_named(
    call, finished: Home, small: Path, tmp_path: Path, target: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    answer = call("export", small, "--to", target, "--out", tmp_path / "out")
    assert answer.code == 2
    assert answer.err == (
        f"--to {target}: needs the package {library}; install the extra: `pip install -e '.[{target}]'`\n"
    )
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def test_only_some_runs(call, finished: Home, small: Path, tmp_path: Path) -> None:
    assert call("export", small, "--to", "csv", "--out", tmp_path / "out", "--only", "rho=3").code == 0
    assert (tmp_path / "out" / "runs.csv").read_text().count("\n") == 2


def test_what_is_there_is_not_overwritten(call, finished: Home, small: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert call("export", small, "--to", "csv", "--out", tmp_path / "out").code == 0
    before = (tmp_path / "out" / "metrics.csv").stat()
    again = call("export", small, "--to", "csv", "--out", tmp_path / "out")
    assert (again.code, again.err) == (2, f"{tmp_path}/out: is there already; a new or an empty folder\n")
    assert (tmp_path / "out" / "metrics.csv").stat() == before


def test_a_folder_that_cannot_be_written(call, finished: Home, small: Path) -> None:
    answer = call("export", small, "--to", "csv", "--out", "/proc/out")
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
