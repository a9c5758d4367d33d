"""A home whose runs got right what a test says, image by image, as their jobs would have journalled it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cebctl.report.audit_verdict import MEASURES
from cebctl.submission.submit import submission_record
from experiments.benchmarks import AnyBenchmark, GradientAudit, full_column, measures
from experiments.identity import evaluation_id
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix, PlannedRun
from jobs.journal.files import Journal
from jobs.journal.records import Measure, Result, Started, Succeeded
from jobs.paths import Home
from jobs.per_sample import pack

IMAGES = 360
RUNS = """
base: {data: {name: digits, holdout: 100}, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 1,
       batch: 256}
grids: [{objective: xent}, {objective: ceb, rho: [1, 3]}]
seeds: [0, 1, 2]
evaluate:
  - clean
  - clean_holdout
  - calibration
  - pgd: {norm: linf, eps: 0.1}
  - autoattack: {norm: linf, eps: 0.1}
  - gradient_audit: {norm: linf, eps: 0.1}
"""

Accuracy = Callable[[PlannedRun, str], float | None]
"""The share that a run gets right in a column, or None where it was not measured."""


class Study:
    """A matrix of claims and the journals of its runs."""

    def __init__(self, home: Home, path: Path, **claims: Mapping[str, Any]) -> None:
        self.home, self.path, self.runs, self._clock, self._attempt = home, path, RUNS, 1000.0, 0
        self.state(**claims)

    def state(self, **claims: Mapping[str, Any]) -> None:
        """Write the matrix with these claims."""
        self.path.write_text(f"{self.runs}claims: {json.dumps(claims)}\n")

    @property
    def matrix(self) -> Matrix:
        return load(self.path)

    def submit(self) -> None:
        """Journal a submission, later than everything before."""
        name = f"s{self._tick():.0f}"
        record = submission_record(name, self.matrix, "local")
        record.time = self._clock
        with Journal(self.home.submission(name)) as journal:
            journal.write(record)

    def measure(self, accuracy: Accuracy, audits: Callable[[PlannedRun], bool | None] = lambda run: True) -> None:
        """Journal results of every run: difficulties of images are shared, seeds differ a little. A second call is a
        new attempt of a new generation."""
        self._tick()
        self._attempt += 1
        for run in self.matrix.runs:
            with Journal(self.home.run(run.run_id).journal("evaluate", self._attempt)) as journal:
                results = [result for b in run.benchmarks if (result := self._result(run, b, accuracy, audits))]
                journal.write(
                    Started(time=self._clock, generation=self._attempt), *results, Succeeded(time=self._clock)
                )

    def _result(
        self, run: PlannedRun, benchmark: AnyBenchmark, accuracy: Accuracy, audits: Callable[[PlannedRun], bool | None]
    ) -> Result | None:
        identity = {"evaluation_id": evaluation_id(benchmark, "digits"), "benchmark": benchmark, "data_digest": "d"}
        rest = {"checkpoint_step": 1, "engine": "e", "time": self._clock, "generation": self._attempt}
        if isinstance(benchmark, GradientAudit):
            if (informative := audits(run)) is None:
                return None
            values = dict.fromkeys(MEASURES, 0.0) | ({} if informative else {"audit_zero_gradient": 0.5})
            found = [Measure(name=n, unit="share", total=IMAGES, value=v) for n, v in values.items()]
            return Result(**identity, **rest, measures=found)  # type: ignore[arg-type]
        column = full_column(benchmark, measures(benchmark)[0])
        share = accuracy(run, column)
        if share is None:
            return None
        if column == "ece":
            return Result(**identity, **rest, measures=[Measure(name="ece", unit="error", total=IMAGES, value=share)])  # type: ignore[arg-type]
        count = 100 if column == "clean_holdout" else IMAGES
        noise = np.random.default_rng(run.run.seed).uniform(-0.05, 0.05, count)
        right = np.linspace(0, 1, count) + noise < share
        measure = Measure(name=measures(benchmark)[0], unit="accuracy", total=count, correct=int(right.sum()))
        return Result(**identity, **rest, measures=[measure], per_sample=pack(right.tolist()))  # type: ignore[arg-type]

    def _tick(self) -> float:
        self._clock += 1
        return self._clock


@pytest.fixture
def study(home: Path, tmp_path: Path) -> Callable[..., Study]:
    """A study with these claims by name."""
    return lambda **claims: Study(Home(home), tmp_path / "m.yaml", **claims)
