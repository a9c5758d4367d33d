"""The same metrics, logged by a job and then queryable: here, and with MLflow on its SQLite backend.

    python benchmarks/store_vs_mlflow.py --steps 20000 --repeats 3

Needs MLflow (`pip install mlflow`, best in an environment of its own with this project's packages) in the same
Python. A step logs eight values. Here a job writes them to its journal, one record a step, fsynced as ever, and
ingest makes them rows; the time is that of both. With MLflow a job logs them one by one (`log_metric`), or a
thousand at a time (`log_batch`, its limit); its client writes to the database itself, there is no server between.
What each holds at the end is read back and compared. Seconds are wall time; CPU time is in brackets.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
from mlflow.entities import Metric

from jobs.home import Home
from jobs.journal import Journal, Metrics, Started
from store import queries
from store.ingest import ingest
from store.opening import open_store

NAMES = ("loss", "cross_entropy", "residual_information", "rate", "accuracy", "learning_rate", "rho", "gradient_norm")
AT_ONCE = 1000
Values = list[dict[str, float]]
"""Of each step."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--steps", type=int, default=20_000, help="of eight metrics each")
    arguments.add_argument("--single-steps", type=int, default=100, help="for MLflow's one by one, which is slow")
    arguments.add_argument("--repeats", type=int, default=3)
    options = arguments.parse_args()
    chance = random.Random(0)
    values = [{name: chance.random() for name in NAMES} for _ in range(options.steps)]
    few = values[: options.single_steps]
    ways: dict[str, tuple[Callable[[Path, Values], None], Values]] = {
        "here, a record for each step": (here, values),
        "here, a record for each value": (here_one_by_one, values),
        f"MLflow, {AT_ONCE} at a time": (mlflow_batches, values),
        "MLflow, one by one": (mlflow_one_by_one, few),
    }
    with tempfile.TemporaryDirectory() as temporary:
        empty = Path(temporary)
        create(empty)
        for way, _ in ways.values():
            measure(way, few[:10], 1, empty)  # imports what is imported late
        seconds = {name: measure(way, these, options.repeats, empty) for name, (way, these) in ways.items()}
    print(f"MLflow {mlflow.__version__}, SQLAlchemy {importlib.metadata.version('sqlalchemy')}")
    for name, (wall, cpu) in seconds.items():
        metrics = len(ways[name][1]) * len(NAMES)
        ratios = ", ".join(f"{wall / metrics / per_metric(seconds, ways, ours):,.0f}x" for ours in list(ways)[:2])
        print(
            f"{name}: {metrics:,} metrics, {1e6 * wall / metrics:,.1f} µs each ({1e6 * cpu / metrics:,.1f}); {ratios}"
        )


def per_metric(seconds: dict[str, tuple[float, float]], ways: dict[str, tuple[object, Values]], name: str) -> float:
    return seconds[name][0] / len(ways[name][1]) / len(NAMES)


def measure(way: Callable[[Path, Values], None], values: Values, repeats: int, empty: Path) -> tuple[float, float]:
    """The medians of wall and CPU seconds; `empty` holds both stores, since creating one is no part of logging."""
    walls, cpus = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as temporary:
            folder = shutil.copytree(empty, Path(temporary) / "copy")
            wall, cpu = time.perf_counter(), time.process_time()
            way(folder, values)
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
            check(way, folder, values)
    return statistics.median(walls), statistics.median(cpus)


def create(folder: Path) -> None:
    """Both stores, empty."""
    open_store(url(folder)).close()
    client(folder).create_experiment("benchmark", artifact_location="none")


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/store.sqlite"


def client(folder: Path) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")


def here(folder: Path, values: Values) -> None:
    home = Home(folder)
    with Journal(home.run("r").journal("train", 1)) as journal:
        journal.write(Started())
        for step, each in enumerate(values):
            journal.write(Metrics(step=step, epoch=0.0, values=dict(each)))
    with open_store(url(folder)) as store:
        ingest(store, home)


def here_one_by_one(folder: Path, values: Values) -> None:
    home = Home(folder)
    with Journal(home.run("r").journal("train", 1)) as journal:
        journal.write(Started())
        for step, each in enumerate(values):
            for name, value in each.items():
                journal.write(Metrics(step=step, epoch=0.0, values={name: value}))
    with open_store(url(folder)) as store:
        ingest(store, home)


def mlflow_one_by_one(folder: Path, values: Values) -> None:
    made = client(folder)
    run = made.create_run(made.get_experiment_by_name("benchmark").experiment_id).info.run_id
    for step, each in enumerate(values):
        for name, value in each.items():
            made.log_metric(run, name, value, step=step, synchronous=True)


def mlflow_batches(folder: Path, values: Values) -> None:
    made = client(folder)
    run = made.create_run(made.get_experiment_by_name("benchmark").experiment_id).info.run_id
    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, step) for step, each in enumerate(values) for name, value in each.items()]
    for at in range(0, len(metrics), AT_ONCE):
        made.log_batch(run, metrics[at : at + AT_ONCE], synchronous=True)


def check(way: Callable[[Path, Values], None], folder: Path, values: Values) -> None:
    """That every value can be asked for."""
    expected = [each["loss"] for each in values]
    if way in (here, here_one_by_one):
        with open_store(url(folder)) as store:
            found = [point.value for point in queries.metrics(store, "r", ["loss"])]
    else:
        made = client(folder)
        [run] = made.search_runs([made.get_experiment_by_name("benchmark").experiment_id])
        found = [metric.value for metric in made.get_metric_history(run.info.run_id, "loss")]
    assert found == expected, "what was logged is not what is there"


if __name__ == "__main__":
    main()
