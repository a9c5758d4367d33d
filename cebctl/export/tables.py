"""The exported parts of a run, and the three tables of their rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from cebctl.status.states import State
from experiments.benchmarks import full_column
from experiments.matrix.planned_run import PlannedRun
from store.row_types import MetricPoint, ResultRow

Columns = dict[str, type]
"""Names and types (`str`, `int` or `float`) of a table's columns; any but the first may be null."""

RUNS: Columns = {"run_id": str, "name": str, "state": str, "spec": str}
METRICS: Columns = {
    "run_id": str,
    "stage": str,
    "name": str,
    "step": int,
    "attempt": int,
    "epoch": float,
    "value": float,
}
RESULTS: Columns = {
    "run_id": str,
    "column": str,
    "name": str,
    "unit": str,
    "total": int,
    "correct": int,
    "value": float,
    "std": float,
    "evaluation_id": str,
    "benchmark": str,
    "stage": str,
    "attempt": int,
    "checkpoint_step": int,
    "data_digest": str,
    "engine": str,
    "measured_at": float,
    "seconds": float,
    "generation": int,
    "numerics": str,
    "libraries": str,
}
TABLES: dict[str, Columns] = {"runs": RUNS, "metrics": METRICS, "results": RESULTS}


@dataclass(frozen=True)
class ExportedRun:
    """A run with all its metrics (of each step the newest attempt's) and its newest results."""

    planned: PlannedRun
    state: State
    metrics: list[MetricPoint]
    results: list[ResultRow]

    def rows(self, table: str) -> Iterator[tuple[Any, ...]]:
        """Yield the run's rows of one of the `TABLES`, in the order of its columns."""
        if table == "runs":
            yield (self.planned.run_id, self.planned.name, self.state, as_json(self.planned.run))
        elif table == "metrics":
            for point in self.metrics:
                yield (self.planned.run_id, *[getattr(point, name) for name in list(METRICS)[1:]])
        else:
            for row in self.results:
                converted = {
                    "column": full_column(row.benchmark, row.name),
                    "benchmark": as_json(row.benchmark),
                    "value": row.number,
                    "numerics": as_json(row.numerics or {}),
                    "libraries": as_json(row.libraries or {}),
                }
                yield tuple(converted[name] if name in converted else getattr(row, name) for name in RESULTS)

    @property
    def measured(self) -> list[tuple[str, int, float]]:
        """Return each result as a column, the checkpoint's step, and the value or the share that was correct."""
        return [
            (full_column(row.benchmark, row.name), row.checkpoint_step, number)
            for row in self.results
            if (number := row.number) is not None
        ]


def as_json(value: Any) -> str:
    """Return a spec, a benchmark or versions as one line of JSON."""
    return msgspec.json.encode(value).decode()
