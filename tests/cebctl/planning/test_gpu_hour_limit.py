"""`submit --max-gpu-hours`: what would cost more is refused, in the plan's own figures, before anything is claimed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cebctl.planning import gpu_hour_limit
from cebctl.planning.plan import make_plan
from experiments.errors import InputError
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix
from jobs.paths import Home

MATRIX = """
base: {data: digits, network: {name: small_cnn, width: 32}, optimiser: adam, epochs: 60, batch: 128}
grids: [{objective: xent}, {objective: ceb, rho: [3, 1]}]
evaluate: [clean]
resources: {train: {gpus_per_node: 2, gpu_type: a100}}
"""


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    path = tmp_path / "m.yaml"
    path.write_text(MATRIX)
    return load(path)


def test_the_limit_is_the_sum_that_a_plan_shows(matrix: Matrix, home: Path) -> None:
    there = Home(home)
    plan = make_plan(matrix, there)
    hours = plan.hours_to_do
    gpu_hour_limit.check_gpu_hours(plan, hours)
    with pytest.raises(InputError) as refused:
        gpu_hour_limit.check_gpu_hours(plan, hours * 0.99)
    text = str(refused.value)
    assert f"m.yaml: would take {hours:.3g} GPU-hours (ceb: 2 runs, " in text
    assert "; xent: 1 run, " in text and "--max-gpu-hours allows" in text
    shares = [float(share) for share in re.findall(r"runs?, ([\d.e-]+)", text)]
    assert sum(shares) == pytest.approx(hours, rel=0.01)
    gpu_hour_limit.check_gpu_hours(make_plan(matrix.select("rho = 3"), there), hours * 0.99)
    assert not home.exists()


def test_what_asks_for_no_gpu_costs_none(matrix: Matrix, home: Path, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(MATRIX.replace("resources", "# resources"))
    gpu_hour_limit.check_gpu_hours(make_plan(load(tmp_path / "m.yaml"), Home(home)), 0)


def test_submit_claims_nothing_beyond_it(call, matrix: Matrix, home: Path) -> None:
    said = call("submit", matrix.path, "--max-gpu-hours", "0")
    assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert not home.exists()


def test_what_is_done_costs_nothing_more(call, finished: Home, small: Path) -> None:
    small.write_text(small.read_text() + "resources: {train: {gpus_per_node: 1}, evaluate: {gpus_per_node: 1}}\n")
    said = call("submit", small, "--max-gpu-hours", "0")
    assert (said.code, "nothing to submit" in said.err) == (0, True)
