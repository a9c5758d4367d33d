"""The objectives in experiments/parts/ against closed forms and NumPy, and one run of each.

Shapes: B samples, Z dimensions of z.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import entropy
from torch import Tensor

from experiments.parts.deterministic_ib import matrix_entropy
from experiments.parts.nonlinear_ib import mixture_information

Estimate = Callable[[Tensor], Tensor]
ESTIMATES = {
    "mixture": mixture_information,
    "matrix, order 1.01": lambda f_BZ: matrix_entropy(f_BZ, 1.01, 1.0),
    "matrix, order 2": lambda f_BZ: matrix_entropy(f_BZ, 2.0, 1.0),
}


@pytest.mark.parametrize("name", ESTIMATES)
def test_one_point_tells_nothing_and_points_far_apart_tell_which_they_are(name: str) -> None:
    estimate = ESTIMATES[name]
    assert estimate(torch.ones(8, 3)).item() == pytest.approx(0, abs=1e-5)
    assert estimate(100 * torch.eye(8)).item() == pytest.approx(np.log(8), abs=1e-5)
    assert estimate(100 * torch.eye(4).repeat(2, 1)).item() == pytest.approx(np.log(4), abs=1e-5)


@pytest.mark.parametrize("name", ESTIMATES)
def test_its_gradient_draws_the_encodings_together(name: str) -> None:
    f_BZ = torch.randn(16, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ESTIMATES[name], (f_BZ,), atol=1e-5)
    ESTIMATES[name](f_BZ).backward()
    assert f_BZ.grad is not None and (f_BZ.grad * (f_BZ - f_BZ.mean(dim=0))).sum() > 0


def test_they_are_what_numpy_and_scipy_compute() -> None:
    points = np.random.default_rng(0).normal(size=(12, 5))
    squares = ((points[:, None] - points) ** 2).sum(axis=2)
    mixture = -np.mean(logsumexp(-squares / 2, axis=1, b=1 / 12))
    assert mixture_information(torch.from_numpy(points)).item() == pytest.approx(mixture)
    eigenvalues = np.linalg.eigvalsh(np.exp(-squares / 2) / 12)
    assert matrix_entropy(torch.from_numpy(points), 2.0, 1.0).item() == pytest.approx(-np.log((eigenvalues**2).sum()))
    # Renyi's entropy near order 1 is Shannon's.
    assert matrix_entropy(torch.from_numpy(points), 1.0001, 1.0).item() == pytest.approx(entropy(eigenvalues), abs=1e-3)


def test_the_bound_holds_for_two_gaussians() -> None:
    # Of two equally likely encodings a distance d apart, by numerical integration of I(X;Z).
    for distance in (0.5, 1.0, 2.0, 4.0):
        grid = np.linspace(-12, 12 + distance, 20_001)
        first, second = (np.exp(-((grid - mean) ** 2) / 2) / np.sqrt(2 * np.pi) for mean in (0, distance))
        mixed = (first + second) / 2
        gains = [np.where(p > 0, p * np.log(np.maximum(p, 1e-300) / mixed), 0) for p in (first, second)]
        information = sum(np.trapezoid(gain, grid) for gain in gains) / 2
        bound = mixture_information(torch.tensor([[0.0], [distance]])).item()
        assert information < bound < np.log(2)


def test_a_matrix_names_them_as_parts_of_an_installed_package(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(
        "base: {data: digits, network: small_cnn, optimiser: adam, lr: 0.01, epochs: 5, batch: 50}\n"
        "grids:\n  - objective:\n"
        "      - {from: experiments.parts.nonlinear_ib:nonlinear_ib, rho: 1, squared: true}\n"
        "      - {from: experiments.parts.deterministic_ib:deterministic_ib, rho: 1}\nevaluate: [clean, information]\n"
    )

    def cebctl(*arguments: str) -> str:
        command = [sys.executable, "-m", "cebctl.app", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    cebctl("submit", "study.yaml", "--on", "local", "--wait")
    [table] = json.loads(cebctl("report", "study.yaml", "--json"))["tables"]
    assert [row["cells"]["clean"]["value"] > 0.4 for row in table["rows"]] == [True, True]  # chance is 0.1
