"""The papers' matrices from the first job to the last figure, on miniature data of the official layouts.

Their networks take hours of a CPU at their size: CIFAR's are one block deep and one wide here. In a copy of the
checkout data sets have few images, ImageNet ten classes of 32 pixels, and a ResNet has four narrow blocks, or five.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("cebctl", "experiments", "jobs", "store")
SMALLER = {
    "experiments/datasets.py": {
        r'"imagenet", classes=1000, channels=3, size=224, train=1_281_167, test=50_000':
            '"imagenet", classes=10, channels=3, size=32, train=40, test=20',
        r"images=(50_000|50_889|10_000), classes=1000": "images=20, classes=10",
        r"images=(7_500|30_000), classes=200": "images=4, classes=2",
        r"train=[56]0_000, test=10_000": "train=100, test=20",
        r"images=10_000, classes=10,": "images=20, classes=10,",
        r"_IMAGENET_A = \([^)]+\)": "_IMAGENET_A = (1, 3)",
    },
    "jobs/engine/models/build.py": {r"2048 \* network.width": "128 * network.width"},
    "jobs/engine/models/resnet.py": {
        r"\(3, 4, 6, 3\), 152: \(3, 8, 36, 3\)": "(1, 1, 1, 1), 152: (1, 1, 2, 1)",
        r"64 \* network.width": "4 * network.width",
    },
}  # fmt: skip
SECONDS = 1500
"""For a walk on two cores that much else shares."""
SLOW = (pytest.mark.soak, pytest.mark.timeout(SECONDS))
NARROW = {r"blocks: \d+, width: \d+": "blocks: 1, width: 1"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages whose data sets are small, and its data in `data`."""
    folder = tmp_path_factory.mktemp("checkout")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "cebctl_command.py", folder)
    for name, replaced in SMALLER.items():
        text = (folder / name).read_text()
        for pattern, smaller in replaced.items():
            text, count = re.subn(pattern, smaller, text)
            assert count, pattern
        (folder / name).write_text(text)
    (folder / "experiments" / "flops.json").write_text("[]")  # its networks are others
    script = Path(__file__).parent / "miniatures.py"
    subprocess.run([sys.executable, script], check=True, env={"PYTHONPATH": str(folder)}, cwd=folder)
    return folder


@pytest.fixture
def walk(start: Any, checkout: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Rehearse a matrix of the papers, with these replacements in its text; return the list that it ends in."""

    def walk(name: str, replaced: dict[str, str]) -> dict[str, Any]:
        text = (ROOT / "experiments" / f"{name}.yaml").read_text()
        for pattern, other in replaced.items():
            text = re.sub(pattern, other, text, flags=re.MULTILINE)
        matrix = tmp_path / f"{name}.yaml"
        matrix.write_text(text)
        places = {"PYTHONPATH": str(checkout), "CEBCTL_DATA": str(checkout / "data")}
        process = start("rehearse", matrix, "--images", "1", "--json", **places)
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, err + out
        document = json.loads(out)
        assert [run for run in document["runs"] if run["state"] != "done"] == [] == document["missing"]
        return document

    return walk


def drawn(document: dict[str, Any]) -> set[str]:
    return {Path(figure).stem for figure in document["figures"]}


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        pytest.param("imagenet", {"v2-3", "v2-4"}, marks=SLOW),
        pytest.param("imagenet_v1", {"v1-4"}, marks=SLOW),
        ("imagenet_rho0", set()),
    ],
)
def test_imagenet(walk: Callable[..., dict[str, Any]], name: str, figures: set[str]) -> None:
    """Both Table 1s have a number in every cell."""
    document = walk(name, {})
    assert document["empty"] == [] and figures <= drawn(document)


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        pytest.param("cifar10", {"v1-2", "v1-3", "v2-1", "v2-2"}, marks=SLOW),
        pytest.param("cifar10_62x7", {"v1-3"}, marks=SLOW),
        pytest.param("cifar10_batchnorm", {"accuracy", "accuracy-radius"}, marks=SLOW),
        ("fashion_mnist", {"v1-1"}),
    ],
)
def test_small_images(walk: Callable[..., dict[str, Any]], name: str, figures: set[str]) -> None:
    document = walk(name, NARROW)
    assert figures <= drawn(document)
    assert [gap for gap in document["empty"] if not gap.get("reason", "").startswith("off target")] == []
