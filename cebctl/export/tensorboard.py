"""The export to TensorBoard, by its own writer: a folder for each run, a scalar for each metric and result.

TensorBoard keeps a value as a 32-bit float. A value that was not finite is a NaN there. A result stands at the step
of the checkpoint that it was measured on.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cebctl.export.libraries import library
from cebctl.export.tables import ExportedRun
from experiments.matrix.planned_run import Matrix


def write(matrix: Matrix, runs: Iterable[ExportedRun], folder: Path) -> None:
    """Write what `tensorboard --logdir FOLDER` shows."""
    summary = library("tensorboard.summary", "tensorboard")
    for run in runs:
        if not run.metrics and not run.results:
            continue
        # A folder's name can't contain `/`, as in eps=8/255: the id distinguishes names that differ only there.
        writer = summary.Writer(str(folder / f"{run.planned.name.replace('/', '÷')} {run.planned.run_id[:8]}"))
        for point in run.metrics:
            value = float("nan") if point.value is None else point.value
            writer.add_scalar(f"{point.stage}/{point.name}", value, point.step)
        for column, step, value in run.measured:
            writer.add_scalar(f"results/{column}", value, step)
        writer.close()
