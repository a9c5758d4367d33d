"""A home in which a small matrix was trained and evaluated, written as jobs write it but without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from experiments.identity import evaluation_id
from experiments.matrix import PlannedRun, load
from jobs import checkpoints
from jobs.home import STAGES, Home
from jobs.journal import Claim, Heartbeat, Journal, Measure, Metrics, Result, Started, Submitted, Succeeded

SMALL = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 4, batch: 256}
grids:
  - objective: xent
  - {objective: ceb, rho: [3, 0]}
evaluate: [clean, pgd: {norm: linf, eps: 0.1, steps: 3}]
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The file of a matrix of three runs with two benchmarks."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def finished(home: Path, small: Path) -> Home:
    """A home in which all of `small` is done; each run keeps the checkpoints of steps 2 and 4."""
    there = Home(home)
    runs = load(small).runs
    with Journal(there.submission("s1")) as journal:
        journal.write(submitted("s1", small), *[claim(planned, stage) for planned in runs for stage in STAGES])
    for planned in runs:
        train(there, planned)
        evaluate(there, planned)
    return there


def submitted(name: str, matrix: Path) -> Submitted:
    return Submitted(name=name, matrix=matrix.stem, matrix_path=str(matrix), executor="local", code="c")


def claim(planned: PlannedRun, stage: str, **given: Any) -> Claim:
    benchmarks = list(planned.benchmarks) if stage == "evaluate" else []
    fields = {"label": planned.name, "spec": msgspec.to_builtins(planned.run), "benchmarks": benchmarks}
    return Claim(run_id=planned.run_id, stage=stage, **fields | given)


def train(home: Home, planned: PlannedRun) -> None:
    paths = home.run(planned.run_id)
    with Journal(paths.journal("train", 1)) as journal:
        journal.write(Started(submission="s1", host="h", pid=1))
        for step in range(1, 5):
            values = {"loss": 1 / (3 * step), "rate": None if step == 1 else 0.1 + 0.2}
            journal.write(Metrics(step=step, epoch=float(step), values=values))
            if not step % 2:
                checkpoints.write(paths.checkpoints, step, lambda file: file.write(b"x" * 1000))
        journal.write(Heartbeat(step=4, steps=4), Succeeded())
    paths.spec.write_bytes(msgspec.json.format(msgspec.json.encode(planned.run)) + b"\n")


def evaluate(home: Home, planned: PlannedRun) -> None:
    with Journal(home.run(planned.run_id).journal("evaluate", 1)) as journal:
        journal.write(Started(submission="s1"))
        for benchmark in planned.benchmarks:
            result = Result(
                evaluation_id=evaluation_id(benchmark, planned.run.data.name),
                benchmark=benchmark,
                data_digest="d",
                checkpoint_step=4,
                engine="x",
                measures=[
                    Measure(name="accuracy", unit="accuracy", total=360, correct=351),
                    Measure(name="confidence", unit="nats", total=360, value=1 / 3, std=0.1),
                ],
            )
            journal.write(result)
        journal.write(Succeeded())
