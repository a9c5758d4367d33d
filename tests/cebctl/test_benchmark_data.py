"""The images that benchmarks read: named by every preflight, and never found missing after the training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from cebctl.submission.needed_data import benchmark_data
from experiments.matrix.load import load
from jobs.datasets.test_sets import images_status
from jobs.journal.files import Journal
from jobs.paths import Home
from tests.cebctl.conftest import Cebctl, claim, submitted
from tests.cebctl.conftest import evaluate as write_results
from tests.cebctl.conftest import train as write_training

MATRIX = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 1, batch: 256}
grids: [objective: xent]
evaluate: [clean, ood: {against: imagenet-sample}]
"""


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    path = tmp_path / "m.yaml"
    path.write_text(MATRIX)
    return path


def test_every_preflight_names_a_missing_test_set(call: Cebctl, home: Path, matrix: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "data/imagenet-sample/val")
    planned = call("plan", matrix)
    assert planned.code == 0 and "imagenet-sample for ood against=imagenet-sample: missing" in planned.out
    data = msgspec.json.decode(call("plan", matrix, "--json").out)["data"]
    assert [(entry["name"], entry["state"]) for entry in data] == [("digits", "ready"), ("imagenet-sample", "missing")]
    examined = call("doctor", matrix)
    assert examined.code == 1 and "bring imagenet-sample here" in examined.out and place in examined.out
    listed = call("data", "list").out
    assert "imagenet-c " in listed and "50,000 x 75" in listed and place in listed


def test_submit_trains_nothing_that_cannot_be_evaluated(call: Cebctl, home: Path, matrix: Path) -> None:
    refused = call("submit", matrix)
    assert refused.code == 2 and refused.err.count("\n") == 1 and not home.exists()
    assert "ood against=imagenet-sample can't be measured" in refused.err and "`--without missing`" in refused.err


def test_a_set_is_looked_at_once_for_all_runs(
    call: Cebctl, home: Path, matrix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    monkeypatch.setattr(
        "cebctl.submission.needed_data.images_status",
        lambda needed, root: looks.append(1) or images_status(needed, root),
    )
    matrix.write_text(f"{MATRIX}seeds: [0, 1, 2, 3]\n")
    assert call("submit", matrix).code == 2 and len(looks) == 1


def test_without_missing_leaves_the_benchmark_new(
    call: Cebctl, home: Path, matrix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = []
    monkeypatch.setattr(
        "cebctl.submission.submit._send",
        lambda executor, batches, *_: claims.extend(c for batch in batches for c in batch.claims) or ([], [], None),
    )
    call("submit", matrix, "--without", "missing")
    assert [(c.stage, [b.__struct_config__.tag for b in c.benchmarks]) for c in claims] == [
        ("train", []), ("evaluate", ["clean"]),
    ]  # fmt: skip
    (planned,) = load(matrix).runs
    with Journal(Home(home).submission("s1")) as journal:
        journal.write(submitted("s1", matrix), claim(planned, "train"), claim(planned, "evaluate", benchmarks=[]))
    write_training(Home(home), planned)
    write_results(Home(home), replace(planned, benchmarks=planned.benchmarks[:1]))
    answer = call("status", matrix)
    assert answer.code == 0 and "new" in answer.out and "1 benchmark to run" in answer.out
    reported = call("report", matrix, "--format", "json").out
    assert "no data: imagenet-sample, missing" in reported


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("imagenet.yaml", {"imagenet-c", "imagenet-a"}),
        ("imagenet_v1.yaml", set()),
        ("cifar10_62x7.yaml", {"cifar10-c", "cifar10.1-v4", "cifar10.1-v6"}),
    ],
)
def test_the_papers_matrices_know_their_test_sets(name: str, needed: set[str], tmp_path: Path) -> None:
    matrix = load(Path(__file__).parents[2] / "experiments" / name)
    assert {data.status.name for data in benchmark_data(matrix, tmp_path)} == needed
