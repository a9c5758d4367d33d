"""The README's guide: its patches apply to this tree, alone and together, and a study runs with them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

ROOT = Path(__file__).parents[2]
GUIDE = dict(
    re.findall(r"### An? ([\w ]+)\n.*?```diff\n(.*?)```", (ROOT / "experiments/README.md").read_text(), re.DOTALL)
)

STUDY = """
base: {data: mine, network: {name: mlp, hidden: 32}, optimiser: adam, epochs: 3, batch: 64}
grids: [{objective: free_ceb, rho: 1}]
evaluate: [clean, information, pixel_noise: {std: [0.01, 0.9]}, pgd: {norm: linf, eps: 0.1, steps: 3, subset: 50}]
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    for package in ("experiments", "jobs", "store", "cebctl"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def apply(patch: str, tree: Path, *options: str) -> None:
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(tree.parent)}
    subprocess.run(["git", "apply", "-p0", *options], input=patch, text=True, cwd=tree, check=True, env=environment)


@pytest.mark.parametrize("name", GUIDE)
def test_a_patch_applies_and_is_short(name: str, tree: Path) -> None:
    apply(GUIDE[name], tree, "--check")
    assert len(re.findall(r"^\+(?!\+\+).*\S", GUIDE[name], re.MULTILINE)) < 30


def test_a_study_of_ones_own(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(GUIDE) == {"data set", "network", "objective", "benchmark"}
    patches = "".join(GUIDE.values())
    digits = load_digits()
    pixels = (digits.images[:, None] * 15.9375).astype(np.uint8)  # 0 to 255
    test = np.arange(len(pixels)) % 5 == 0
    (tmp_path / "data" / "mine").mkdir(parents=True)
    for split, chosen in (("train", ~test), ("test", test)):
        path = tmp_path / "data" / "mine" / f"{split}.npz"
        np.savez(path, images=pixels[chosen], labels=digits.target[chosen] % 2)
        printed = rf'("{split}", "mine/{split}.npz", )"\w+"'
        patches, count = re.subn(printed, rf'\1"{hashlib.md5(path.read_bytes()).hexdigest()}"', patches)
        assert count == 1
    apply(patches, tree)
    (tmp_path / "study.yaml").write_text(STUDY)

    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # lines of patched files are not those of ours

    def cebctl(*arguments: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(tree), "CEBCTL_DATA": str(tmp_path / "data")}
        done = subprocess.run([sys.executable, "-m", "cebctl.app", *arguments], cwd=tmp_path, env=environment,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    cebctl("submit", "study.yaml", "--wait")
    [table] = json.loads(cebctl("report", "study.yaml", "--json"))["tables"]
    cells = table["rows"][0]["cells"]
    assert (cells["clean"]["n"], cells["pgd_linf"]["n"]) == (360, 50)
    assert cells["clean"]["value"] > 0.8  # even or odd
    assert cells["pixel_noise@std=0.01"]["value"] > cells["pixel_noise@std=0.9"]["value"]
    assert cells["residual_information"]["measure"] == "nats"
