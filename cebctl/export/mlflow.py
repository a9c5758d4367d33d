"""The export to MLflow, by its client: an experiment for the matrix, in an SQLite store of MLflow in the folder.

A run's spec becomes its parameters. MLflow allows few characters in a name, and each other one becomes `_`. It keeps
no attempts and no counts. A value that was not finite is a NaN there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cebctl.export.libraries import library
from cebctl.export.tables import ExportedRun
from experiments.matrix.planned_run import Matrix

FILE = "mlflow.sqlite"
_MAX_PARAMETERS, _MAX_METRICS = 100, 1000
"""MLflow's limits on one call."""
_STATUS = {"done": "FINISHED", "failed": "FAILED", "lost": "KILLED", "running": "RUNNING"}


def write(matrix: Matrix, runs: Iterable[ExportedRun], folder: Path) -> None:
    """Write what `mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow.sqlite` shows."""
    mlflow, entities = library("mlflow", "mlflow"), library("mlflow.entities", "mlflow")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder.absolute() / FILE}")
    experiment = client.create_experiment(matrix.name, artifact_location="mlflow-artifacts:/")
    now = int(time.time() * 1000)
    for run in runs:
        created = client.create_run(experiment, run_name=run.planned.name, tags={"cebctl.run_id": run.planned.run_id})
        key = created.info.run_id
        parameters = [entities.Param(".".join(path), str(value)) for path, value in run.planned.leaves.items()]
        metrics = [
            entities.Metric(_name(f"{point.stage}/{point.name}"), _value(point.value), now, point.step)
            for point in run.metrics
        ] + [entities.Metric(_name(f"results/{column}"), value, now, step) for column, step, value in run.measured]
        for batch in _batches(parameters, _MAX_PARAMETERS):
            client.log_batch(key, params=batch)
        for batch in _batches(metrics, _MAX_METRICS):
            client.log_batch(key, metrics=batch)
        client.set_terminated(key, _STATUS.get(run.state, "SCHEDULED"))


def _name(text: str) -> str:
    return re.sub(r"[^\w.\- :/]", "_", text, flags=re.ASCII)


def _value(value: float | None) -> float:
    return float("nan") if value is None else value


def _batches(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
