"""The recipe and the images of `experiments/own/cifar10_super.yaml`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from cebctl.app import run

MATRIX = Path(__file__).parents[5] / "experiments" / "own" / "cifar10_super.yaml"
VEHICLES = {"airplane", "automobile", "ship", "truck"}


def test_the_recipe_links_every_image_once(tmp_path: Path) -> None:
    classes = VEHICLES | {"bird", "cat", "deer", "dog", "frog", "horse"}
    images = [f"{split}/{name}/{number}.jpg" for split in ("train", "test") for name in classes for number in (1, 2)]
    for image in images:
        there = tmp_path / "cifar10-jpeg" / image
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(image)
    commented = re.search(r"^#   for split.*?^#   done$", MATRIX.read_text(), re.MULTILINE | re.DOTALL)
    assert commented
    recipe = re.sub(r"^#   ", "", commented[0], flags=re.MULTILINE)
    subprocess.run(["bash", "-ec", recipe], cwd=tmp_path, check=True)
    made = [path for path in (tmp_path / "super").rglob("*") if path.is_file()]
    assert sorted(path.read_text() for path in made) == sorted(images)
    for path in made:
        split, name, number = path.read_text().split("/")
        kind = "vehicle" if name in VEHICLES else "animal"
        assert path.relative_to(tmp_path / "super").parts == (split, kind, f"{name}-{number}")


def test_the_real_images_are_those_it_names(
    real_cifar10_jpeg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`init` names a set by its digests, and the matrix that name; linked as the recipe does, but by one process."""
    for image in (real_cifar10_jpeg / "cifar10-jpeg").glob("*/*/*.jpg"):
        split, name, number = image.parts[-3:]
        there = tmp_path / "super" / split / ("vehicle" if name in VEHICLES else "animal")
        there.mkdir(parents=True, exist_ok=True)
        (there / f"{name}-{number}").symlink_to(image)
    monkeypatch.setenv("CEBCTL_DATA", str(tmp_path))
    monkeypatch.setenv("CEBCTL_HOME", str(tmp_path / "home"))
    assert run(["plan", str(MATRIX)]) == 2  # it does not know these images yet
    assert run(["init", str(tmp_path / "super.yaml"), "--data", str(tmp_path / "super")]) == 0
    assert run(["plan", str(MATRIX)]) == 0
