"""The guide to parts: each kind is shown in a few lines, and a study runs with all of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "experiments/PARTS.md").read_text()
PARTS = dict(re.findall(r"## An? ([\w ]+)\n[^#]*?```python\n# parts\.py\n(.*?)```", TEXT, re.DOTALL))

STUDY = """
base:
  data: {from: parts.py:parity, augment: {from: parts.py:brighten, strength: 0.05}}
  network: {from: parts.py:mlp, hidden: 32}
  optimiser: {from: parts.py:lamb_like, lr: 0.02}
  schedule: parts.py:triangle
  epochs: 12
  batch: 64
grids: [{objective: {from: parts.py:free_ceb, rho: 1, free_nats: 0.1, marginal: {from: parts.py:normal, std: 2}}}]
evaluate:
  - clean
  - information
  - {from: parts.py:pixel_noise, std: [0.01, 0.9]}
  - pgd: {norm: linf, eps: 0.1, steps: 3, subset: 50, loss: {from: parts.py:gap, weight: 2}}
"""


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_short(name: str) -> None:
    assert len([line for line in PARTS[name].splitlines() if line.strip()]) <= 12


def test_a_study_of_ones_own(tmp_path: Path) -> None:
    assert PARTS.keys() == {
        "network", "objective", "marginal", "data set", "benchmark", "attack loss", "optimiser", "schedule",
        "augmentation",
    }  # fmt: skip
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "parts.py").write_text("\n".join(PARTS.values()))

    def cebctl(*arguments: str) -> str:
        done = subprocess.run([sys.executable, "-m", "cebctl.app", *arguments], cwd=tmp_path, capture_output=True,
                              text=True, env=os.environ | {"CEBCTL_DATA": str(tmp_path / "data")})  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    cebctl("init", "parity.yaml", "--data", "parts.py:parity")
    cebctl("submit", "study.yaml", "--wait")
    [table] = json.loads(cebctl("report", "study.yaml", "--json"))["tables"]
    assert table["rows"][0]["axes"] == {"objective": "parts.py:free_ceb", "rho": 1.0}
    cells = table["rows"][0]["cells"]
    assert (cells["clean"]["n"], cells["pgd_linf"]["n"]) == (360, 50)
    assert cells["clean"]["value"] > 0.8
    assert cells["pixel_noise@std=0.01"]["value"] > cells["pixel_noise@std=0.9"]["value"]
    assert cells["residual_information"]["measure"] == "nats"
