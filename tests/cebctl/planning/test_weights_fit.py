"""Imported weights are tried in the networks of their runs before any job, those of one's own too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.cebctl.conftest import Cebctl

PARTS = """
from torch import nn
def net(image, z_dim: int = 4): return nn.Sequential(nn.Flatten(), nn.Linear(image.channels * image.size**2, z_dim))
"""
MATRIX = """
base: {{data: digits, network: {network}, optimiser: adam, epochs: 1, batch: 256}}
grids: [{{objective: xent, weights: "{weights}"}}]
evaluate: [clean]
"""


@pytest.fixture
def matrix(call: Cebctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write a matrix whose network begins with the weights of `net`, saved without our heads."""
    monkeypatch.setenv("CEBCTL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "parts.py").write_text(PARTS)
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).state_dict(), tmp_path / "net.pt")
    weights = call("import", tmp_path / "net.pt").out.strip().removeprefix("weights: ")

    def matrix(network: str) -> Path:
        (tmp_path / "m.yaml").write_text(MATRIX.format(network=network, weights=weights))
        return tmp_path / "m.yaml"

    return matrix


def test_a_network_of_ones_own_begins_with_weights(call: Cebctl, matrix: Callable[[str], Path]) -> None:
    submitted = call("submit", matrix("parts.py:net"), "--wait", "--on", "local")
    assert submitted.code == 0, submitted.err
    (table,) = json.loads(call("report", matrix("parts.py:net"), "--json").out)["tables"]
    assert table["rows"][0]["cells"]["clean"]["n"] == 360


def test_weights_of_another_network_of_ones_own_are_refused(call: Cebctl, matrix: Callable[[str], Path]) -> None:
    path = matrix("{from: parts.py:net, z_dim: 5}")
    assert call("plan", path).code == 0  # which runs no code of its parts
    refused = call("submit", path, "--on", "local")
    assert (refused.code, refused.err.count("\n")) == (2, 2) and "never submitted from here" in refused.err
    assert "does not fit the network: other shapes: network.1.weight (4, 64), not (5, 64)" in refused.err


def test_weights_that_change_are_tried_again(call: Cebctl, matrix: Callable[[str], Path], home: Path) -> None:
    path = matrix("{name: small_cnn, width: 4, z_dim: 4}")
    assert "it lacks network.0.weight" in call("submit", path, "--on", "local").err
    (file,) = (home / "weights").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert "has changed since it was imported" in call("submit", path, "--on", "local").err
