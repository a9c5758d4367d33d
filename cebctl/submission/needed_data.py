"""The data that a matrix needs: what its runs are trained on, and what its benchmarks are measured on."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.benchmarks import AnyBenchmark, describe
from experiments.matrix.planned_run import Matrix, PlannedRun
from experiments.needed_images import NeededImages, needed_images
from jobs.datasets.dataset_status import DatasetStatus, dataset_status
from jobs.datasets.test_sets import images_status


@dataclass(frozen=True)
class NeededData:
    """A set of images that a matrix needs, and its state under the data folder."""

    status: DatasetStatus
    benchmarks: tuple[AnyBenchmark, ...] = ()
    """The benchmarks that read it; none: the runs are trained on it."""
    run_ids: tuple[str, ...] = ()

    @property
    def purpose(self) -> str:
        """Return what it is for: `training`, or the benchmarks."""
        return ", ".join(dict.fromkeys(map(describe, self.benchmarks))) or "training"

    def to_json(self) -> dict[str, Any]:
        """Return `{"name", "state", "detail", "for"}`."""
        status = self.status
        return {"name": status.name, "state": status.state, "detail": status.detail, "for": self.purpose}


def training_data(matrix: Matrix, root: Path) -> list[NeededData]:
    """Return the data sets that runs are trained on, by their files' presence: checksums are left to `submit`."""
    runs: dict[str, list[str]] = {}
    for run in matrix.runs:
        runs.setdefault(run.run.data.name, []).append(run.run_id)
    return [NeededData(dataset_status(name, root, verify=False), (), tuple(ids)) for name, ids in runs.items()]


def benchmark_data(matrix: Matrix, root: Path) -> list[NeededData]:
    """Return the further images that the benchmarks of a matrix read, in its order."""
    return evaluation_data([(run, run.benchmarks) for run in matrix.runs], root)


def evaluation_data(evaluations: Iterable[tuple[PlannedRun, Collection[AnyBenchmark]]], root: Path) -> list[NeededData]:
    """Return the further images that some benchmarks of runs read. Each set is looked at once: it may have fifty
    thousand files on a network file system."""
    uses: dict[NeededImages, tuple[dict[AnyBenchmark, None], dict[str, None]]] = {}
    for run, benchmarks in evaluations:
        for benchmark in benchmarks:
            if needed := needed_images(benchmark, run.run.data.name):
                readers, run_ids = uses.setdefault(needed, ({}, {}))
                readers[benchmark], run_ids[run.run_id] = None, None
    return [
        NeededData(images_status(needed, root), tuple(readers), tuple(run_ids))
        for needed, (readers, run_ids) in uses.items()
    ]


def without_missing(matrix: Matrix, root: Path) -> tuple[Matrix, list[str]]:
    """Return the matrix without the benchmarks whose images are not ready, and a message on each set that is not."""
    absent = [needed for needed in benchmark_data(matrix, root) if needed.status.state != "ready"]
    left_out = {(run_id, b) for needed in absent for run_id in needed.run_ids for b in needed.benchmarks}
    messages = [f"left out: {needed.purpose}, as {needed.status.name} is {needed.status.state}" for needed in absent]
    return matrix.leave_out(left_out), messages
