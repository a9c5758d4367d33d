"""Imported weights are tried in the networks of their runs before any job, those of one's own too."""

from __future__ import annotations

import json
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
base: {{data: digits, network: {{from: parts.py:net, z_dim: {z_dim}}}, optimiser: adam, epochs: 1, batch: 256}}
grids: [{{objective: xent, weights: "{weights}"}}]
evaluate: [clean]
"""


@pytest.fixture
def weights(cebctl: Cebctl, tmp_path: Path) -> str:
    """The digest in the home of the weights of `net`, saved without our heads."""
    (tmp_path / "parts.py").write_text(PARTS)
    torch.manual_seed(0)
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).state_dict(), tmp_path / "net.pt")
    answer = cebctl("import", "net.pt")
    assert answer.code == 0, answer.err
    return answer.out.strip().removeprefix("weights: ")


def test_a_network_of_ones_own_begins_with_weights(cebctl: Cebctl, weights: str, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(MATRIX.format(weights=weights, z_dim=5))
    assert cebctl("plan", "m.yaml", CEBCTL_CACHE=str(tmp_path / "cache")).code == 0  # which runs no code of its parts
    refused = cebctl("submit", "m.yaml", CEBCTL_CACHE=str(tmp_path / "cache"))
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "does not fit the network: other shapes: network.1.weight (4, 64), not (5, 64)" in refused.err
    (tmp_path / "m.yaml").write_text(MATRIX.format(weights=weights, z_dim=4))
    submitted = cebctl("submit", "m.yaml", "--wait", CEBCTL_CACHE=str(tmp_path / "cache"))
    assert submitted.code == 0, submitted.err
    (table,) = json.loads(cebctl("report", "m.yaml", "--json").out)["tables"]
    assert table["rows"][0]["cells"]["clean"]["n"] == 360


def test_weights_that_change_are_tried_again(cebctl: Cebctl, weights: str, home: Path, tmp_path: Path) -> None:
    network = "{name: small_cnn, width: 4, z_dim: 4}"
    (tmp_path / "m.yaml").write_text(
        MATRIX.format(weights=weights, z_dim=4).replace("{from: parts.py:net, z_dim: 4}", network)
    )
    assert "it lacks network.0.weight" in cebctl("submit", "m.yaml", CEBCTL_CACHE=str(tmp_path / "cache")).err
    (file,) = (home / "weights").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert "has changed since it was imported" in cebctl("submit", "m.yaml", CEBCTL_CACHE=str(tmp_path / "cache")).err
