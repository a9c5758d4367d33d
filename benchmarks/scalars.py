"""The same scalars, logged by a job and then there to be asked for: here, and with MLflow, sacred and wandb.

    python benchmarks/scalars.py [--scalars 10000] [--rounds 5]

A step logs eight values. Here a job writes them to its journal, one record a step, fsynced as ever, and ingest makes
them rows; the time is that of both. MLflow logs them one by one (`log_metric`), or a thousand at a time (`log_batch`,
its limit); its client writes to the SQLite database itself, there is no server between. sacred logs one by one and
writes its file of metrics at each heartbeat, of which there is one here, the last: its least. wandb is offline, a call
for each step: from the first to the end of `finish`, which writes its file; nothing can be asked of that before it is
sent to a server. So the last two do less than what is asked for. What each holds at the end is read back and compared,
wandb's excepted. Stores, experiments and runs are made before the clock starts. Ways in turn; the ratio is of wall
seconds per scalar, since a job waits for the disk too.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from measure import Ratio, both_seconds, head, in_turn, row, version

from jobs.journal.files import Journal
from jobs.journal.records import Metrics, Started
from jobs.paths import Home
from store import queries
from store.connect import open_store
from store.ingest import ingest

NAMES = ("loss", "cross_entropy", "residual_information", "rate", "accuracy", "learning_rate", "rho", "gradient_norm")
AT_ONCE = 1000
ONE_BY_ONE = 100
"""Steps for MLflow's one by one, which is slow: per scalar they stand for all."""
Values = list[dict[str, float]]
"""Of each step."""
Log = Callable[[Values], None]
Prepared = tuple[Log, Callable[[], list[float]] | None]
"""How to log, and how to read the losses back."""


def main() -> None:
    """A table row for each way of logging."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scalars", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    chance = random.Random(0)
    values = [{name: chance.random() for name in NAMES} for _ in range(asked.scalars // len(NAMES))]
    ways: dict[str, tuple[Callable[[Path], Prepared], Values]] = {"here, a record for each step": (_here, values)}
    ways["here, a record for each value"] = (_here_one_by_one, values)
    if version("mlflow"):
        ways[f"MLflow, `log_batch` of {AT_ONCE:,}"] = (_mlflow_batches, values)
        ways["MLflow, `log_metric` one by one"] = (_mlflow_one_by_one, values[:ONE_BY_ONE])
    if version("sacred"):
        ways["sacred, one by one, to files"] = (_sacred, values)
    if version("wandb"):
        ways["wandb, offline"] = (_wandb, values)
    with tempfile.TemporaryDirectory() as temporary:
        empty = Path(temporary)
        _create(empty)
        timed = in_turn([lambda way=way: _timed(*way, empty) for way in ways.values()], asked.rounds)
    each = {
        name: [(1e6 * wall / len(these) / len(NAMES), 1e6 * cpu / len(these) / len(NAMES)) for wall, cpu in spent]
        for (name, (_, these)), spent in zip(ways.items(), timed, strict=True)
    }
    ours, _ = zip(*each["here, a record for each step"], strict=True)
    head("way", "scalars", "µs each, wall", "CPU", "it over ours, wall")
    for name, spent in each.items():
        wall, cpu = zip(*spent, strict=True)
        count = f"{len(ways[name][1]) * len(NAMES):,}"
        ratio = Ratio.of(wall, ours) if name != "here, a record for each step" else ""
        row(name, count, Ratio.around(wall).seconds(), Ratio.around(cpu).seconds(), ratio)
    for package in ("mlflow", "sacred", "wandb"):
        if not version(package):
            row(package, "not installed", "", "", "")


def _timed(prepare: Callable[[Path], Prepared], values: Values, empty: Path) -> tuple[float, float]:
    """Wall and CPU seconds of one round, on a copy of the stores in `empty`."""
    with tempfile.TemporaryDirectory() as temporary:
        log, losses = prepare(shutil.copytree(empty, Path(temporary) / "copy"))
        spent = both_seconds(lambda: log(values))
        assert losses is None or losses() == [each["loss"] for each in values], "what was logged is not what is there"
    return spent


def _create(folder: Path) -> None:
    """The stores, empty: creating one is no part of logging."""
    open_store(_url(folder)).close()
    if version("mlflow"):
        _client(folder).create_experiment("benchmark", artifact_location="none")


def _url(folder: Path) -> str:
    return f"sqlite:///{folder}/store.sqlite"


def _here(folder: Path) -> Prepared:
    return lambda values: _journalled(folder, list(enumerate(values))), lambda: _losses(folder)


def _here_one_by_one(folder: Path) -> Prepared:
    def log(values: Values) -> None:
        _journalled(folder, [(step, {name: one}) for step, each in enumerate(values) for name, one in each.items()])

    return log, lambda: _losses(folder)


def _journalled(folder: Path, records: list[tuple[int, dict[str, float]]]) -> None:
    home = Home(folder)
    with Journal(home.run("r").journal("train", 1)) as journal:
        journal.write(Started())
        for step, values in records:
            journal.write(Metrics(step=step, epoch=0.0, values=dict(values)))
    with open_store(_url(folder)) as store:
        ingest(store, home)


def _losses(folder: Path) -> list[float]:
    with open_store(_url(folder)) as store:
        return [point.value for point in queries.metrics(store, "r", ["loss"])]


def _client(folder: Path):
    import mlflow

    return mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")


def _mlflow_one_by_one(folder: Path) -> Prepared:
    client = _client(folder)
    run = client.create_run(client.get_experiment_by_name("benchmark").experiment_id).info.run_id

    def log(values: Values) -> None:
        for step, each in enumerate(values):
            for name, value in each.items():
                client.log_metric(run, name, value, step=step, synchronous=True)

    return log, lambda: [metric.value for metric in client.get_metric_history(run, "loss")]


def _mlflow_batches(folder: Path) -> Prepared:
    from mlflow.entities import Metric

    client = _client(folder)
    run = client.create_run(client.get_experiment_by_name("benchmark").experiment_id).info.run_id

    def log(values: Values) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for step, each in enumerate(values) for name, value in each.items()]
        for at in range(0, len(metrics), AT_ONCE):
            client.log_batch(run, metrics[at : at + AT_ONCE], synchronous=True)

    return log, lambda: [metric.value for metric in client.get_metric_history(run, "loss")]


def _sacred(folder: Path) -> Prepared:
    from sacred import Experiment
    from sacred.observers import FileStorageObserver

    logging.getLogger().setLevel(logging.ERROR)
    experiment = Experiment("benchmark", save_git_info=False)
    experiment.observers.append(FileStorageObserver(folder / "sacred"))
    given = SimpleNamespace(values=[])

    @experiment.main
    def run(_run):
        for step, each in enumerate(given.values):
            for name, value in each.items():
                _run.log_scalar(name, value, step)

    def log(values: Values) -> None:
        given.values = values
        experiment.run()

    return log, lambda: json.loads((folder / "sacred" / "1" / "metrics.json").read_text())["loss"]["values"]


def _wandb(folder: Path) -> Prepared:
    os.environ |= {"WANDB_SILENT": "true", "WANDB_CONSOLE": "off", "WANDB_DISABLE_GIT": "true"}
    import wandb

    settings = wandb.Settings(x_disable_stats=True, x_disable_meta=True)
    run = wandb.init(mode="offline", dir=folder, project="benchmark", settings=settings)

    def log(values: Values) -> None:
        for step, each in enumerate(values):
            run.log(each, step=step)
        run.finish()

    return log, None


if __name__ == "__main__":
    main()
