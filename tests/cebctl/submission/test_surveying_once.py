"""A command opens the store, reads the journals and derives states once, and once more where a lock asks for it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from cebctl.planning import flop_counts
from cebctl.status.states import derive_statuses
from experiments import costs
from jobs.journal.files import Journal
from jobs.journal.records import Submitted
from jobs.paths import Home
from store.connect import Store
from store.ingest import ingest

MATRIX = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 1, batch: 256}
grids: [{objective: xent, seed: [0, 1, 2]}]
evaluate: [clean]
"""
CLUSTER = """case "$*" in
  *config*) echo 'MaxArraySize = 1001' ;;
  *partition*) echo 'PartitionName=all Default=YES State=UP' ;;
  *node*) echo 'NodeName=n1 State=IDLE CPUTot=64 RealMemory=256000 Partitions=all' ;;
esac"""
STEPS: dict[CodeType, str] = {
    Store.__init__.__code__: "opened",
    ingest.__code__: "ingested",
    derive_statuses.__code__: "derived",
}


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the calls of `STEPS`, by whatever name a module has imported them."""
    counts: Counter[str] = Counter()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and (step := STEPS.get(frame.f_code)):
            counts[step] += 1

    sys.setprofile(profile)
    try:
        yield counts
    finally:
        sys.setprofile(None)


@pytest.fixture(autouse=True)
def operations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the seconds of counting what a network costs."""
    monkeypatch.setenv("CEBCTL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(flop_counts, "_count", lambda runs: [*costs.network_counts().values()][: len(runs)])


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    path = tmp_path / "m.yaml"
    path.write_text(MATRIX)
    return path


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: Callable[[str, str], None]) -> Path:
    """A cluster that queues whatever it is sent; the file in which each call of squeue leaves a line."""
    calls = tmp_path / "squeue-calls"
    monkeypatch.setenv("CEBCTL_ON", "slurm")
    monkeypatch.setenv("CEBCTL_SLURM_SECONDS", "600")
    says("scontrol", CLUSTER)
    says("sbatch", f'name=$(basename "$2" .sh); echo "$name" >> {tmp_path}/arrays; wc -l < {tmp_path}/arrays')
    says(
        "squeue",
        f"echo x >> {calls}; n=0; while read name; do n=$((n + 1)); for i in 0 1 2; do "
        f'echo "${{n}}_$i|$name|PENDING|Priority|0||"; done; done < {tmp_path}/arrays',
    )
    return calls


def test_submit_surveys_once_and_once_more_under_its_lock(call: Any, matrix: Path, cluster: Path, home: Path) -> None:
    first = call("submit", matrix, "--only", "seed = 0")
    assert first.code == 0, first.err
    Home(home).queue.unlink(missing_ok=True)
    cluster.unlink(missing_ok=True)
    with counted() as counts:
        second = call("submit", matrix, "--max-gpu-hours", "100")
    assert second.code == 0 and "submitted 2 x train, 2 x evaluate" in second.err, second.err
    assert counts == {"opened": 1, "ingested": 3, "derived": 2}  # the last reading is of what it wrote itself
    # One for both surveys, which are a moment apart; held jobs are asked for by the arrays' names and by their ids.
    assert len(cluster.read_text().splitlines()) == 3
    with counted() as counts:
        third = call("submit", matrix, "--max-gpu-hours", "100")
    assert third.code == 0 and "nothing to submit, 3 runs" in third.err, third.err
    assert counts == {"opened": 1, "ingested": 2, "derived": 2}


def test_what_is_done_again_is_derived_from_the_same_survey(
    call: Any, finished: Home, small: Path, cluster: Path
) -> None:
    with counted() as counts:
        answer = call("submit", small, "--again", "pgd", "--max-gpu-hours", "100")
    assert answer.code == 0 and "submitted 3 x evaluate" in answer.err, answer.err
    assert counts == {"opened": 1, "ingested": 3, "derived": 4}, "as they are, and as they are wanted"


def test_a_refused_submission_looks_once_and_writes_nothing(call: Any, matrix: Path, home: Path) -> None:
    matrix.write_text(matrix.read_text() + "resources: {train: {gpus_per_node: 1}}\n")
    with counted() as counts:
        refused = call("submit", matrix, "--max-gpu-hours", "0")
    assert refused.code == 2 and "--max-gpu-hours allows 0" in refused.err
    assert counts == {"opened": 1, "ingested": 1, "derived": 1}
    assert not home.exists()


COMMANDS = ["plan --diff", "status", "report", "report --compare xent xent", "cancel --yes"]


@pytest.mark.parametrize("command", COMMANDS)
def test_other_commands_survey_once(call: Any, finished: Home, small: Path, command: str) -> None:
    assert call("status", small).code == 0  # there is a store from here on
    name, *options = command.split()
    with counted() as counts:
        call(name, small, *options)
    assert counts == {"opened": 1, "derived": 1} | ({"ingested": 1} if name != "plan" else {})


def test_all_matrices_are_surveyed_together(call: Any, finished: Home, small: Path, tiny: Path) -> None:
    call("status", small)
    with Journal(finished.submission("s2")) as journal:
        journal.write(Submitted(name="s2", matrix="tiny", matrix_path=str(tiny), executor="local", code=""))
    with counted() as counts:
        answer = call("status")
    assert [word in answer.out for word in ("small", "tiny")] == [True, True]
    assert counts == {"opened": 1, "ingested": 2, "derived": 2}, "the first reading tells which matrices there are"
