"""`cebctl init`: a matrix for a folder of images, which plans, trains, evaluates and reports unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from experiments import datasets
from experiments.errors import InputError
from experiments.matrix import load
from jobs.engine.data.load import load as load_images

DIGITS = load_digits()


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """100 handwritten digits as PNG files, in a folder for each class."""
    monkeypatch.setenv("CEBCTL_DATA", str(tmp_path / "data"))
    return _write(tmp_path / "My digits", range(100))


def _write(folder: Path, numbers: range, colour: bool = False, width: int = 8) -> Path:
    for number in numbers:
        inside = folder / str(DIGITS.target[number])
        inside.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray((DIGITS.images[number] * 15.9375).astype(np.uint8)).resize((width, 8))
        image.convert("RGB" if colour else "L").save(inside / f"{number:04d}.png")
    return folder


def test_the_matrix_trains_and_evaluates_as_it_is(cebctl, pictures: Path, tmp_path: Path) -> None:
    answer = cebctl("init", "mine.yaml", "--data", pictures)
    assert answer.code == 0, answer.err
    assert "found 76 training and 24 test images of 10 classes, grey, taken at 8x8 pixels" in answer.err
    assert "next: `cebctl plan mine.yaml`" in answer.err
    plan = json.loads(cebctl("plan", "mine.yaml", "--json").out)
    assert plan["totals"]["new"] == 5
    submitted = cebctl("submit", "mine.yaml", "--only", "rho = 3", "--wait")
    assert submitted.code == 0, submitted.err
    (table,) = json.loads(cebctl("report", "mine.yaml", "--only", "rho = 3", "--json").out)["tables"]
    (row,) = table["rows"]
    assert row["cells"]["clean"]["n"] == 24 and row["cells"]["clean"]["value"] > 0.5  # chance is 0.1
    assert all("missing" not in cell for cell in row["cells"].values())
    assert "own:my-digits-" in cebctl("data", "list").out


def test_splits_sizes_and_channels_are_found(cebctl, pictures: Path, tmp_path: Path) -> None:
    _write(tmp_path / "split" / "Train", range(60), colour=True, width=12)
    _write(tmp_path / "split" / "val", range(60, 100), colour=True)
    answer = cebctl("init", "split.yaml", "--data", "split", "--network", "wide_resnet")
    assert answer.code == 0, answer.err
    assert "images are 8 to 12 wide and 8 to 8 high" in answer.err
    run = load(tmp_path / "split.yaml").runs[0].run
    info = datasets.info(run.data.name)
    assert (info.channels, info.size, info.train, info.test, info.flips) == (3, 8, 60, 40, True)
    assert type(run.network).__name__ == "WideResNet"
    images = load_images(run.data, "test", tmp_path / "data")
    order = sorted(range(60, 100), key=lambda number: (DIGITS.target[number], number))
    assert images.labels_N.tolist() == [DIGITS.target[number] for number in order]
    expected = np.stack([(DIGITS.images[number] * 15.9375).astype(np.uint8) for number in order])
    assert np.array_equal(images.images_NCHW.numpy(), np.repeat(expected[:, None], 3, axis=1))


def test_mean_and_spread_are_those_of_the_training_images(cebctl, pictures: Path, tmp_path: Path) -> None:
    assert cebctl("init", "m.yaml", "--data", pictures).code == 0
    data = load(tmp_path / "m.yaml").runs[0].run.data
    info = datasets.info(data.name)
    pixels = load_images(data, "train", tmp_path / "data").images_NCHW.numpy() / 255
    assert info.mean[0] == pytest.approx(pixels.mean(), abs=1e-4)
    assert info.std[0] == pytest.approx(pixels.std(), abs=1e-4)


def test_moved_images_are_the_same_data_set_and_one_more_makes_another(cebctl, pictures: Path, tmp_path: Path) -> None:
    def ids(name: str, folder: Path) -> list[str]:
        assert cebctl("init", name, "--data", folder).code == 0
        return [run.run_id for run in load(tmp_path / name).runs]

    before = ids("a.yaml", pictures)
    (tmp_path / "away").mkdir()
    moved = pictures.rename(tmp_path / "away" / pictures.name)
    assert ids("b.yaml", moved) == before
    _write(moved, range(100, 101))
    assert not set(ids("c.yaml", moved)) & set(before)


def test_changed_images_are_noticed_before_anything_is_trained(cebctl, pictures: Path, tmp_path: Path) -> None:
    assert cebctl("init", "m.yaml", "--data", pictures).code == 0
    data = load(tmp_path / "m.yaml").runs[0].run.data
    victim = next((pictures / "3").iterdir())
    Image.new("L", (8, 8)).save(victim)
    with pytest.raises(InputError, match="changed since"):
        load_images(data, "train" if victim != sorted((pictures / "3").iterdir())[0] else "test", tmp_path / "data")
    victim.unlink()
    answer = cebctl("submit", "m.yaml")
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert "images; get it from" in answer.err


def _one_class(folder: Path) -> None:
    _write(folder / "train", range(1))


def _broken(folder: Path) -> None:
    _write(folder, range(40))
    (folder / "3" / "a.png").write_bytes(b"no image")


def _odd_class(folder: Path) -> None:
    _write(folder / "train", range(40))
    _write(folder / "test", range(40))
    (folder / "test" / "3").rename(folder / "test" / "three")


def _sixteen_bits(folder: Path) -> None:
    _write(folder, range(40))
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(folder / "3" / "deep.png")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "no such folder; a folder of class folders"),
        (lambda folder: folder.mkdir(), "0 class folders with images in it; at least 2"),
        (_one_class, "train: 1 class folders with images in it; at least 2: train/<class>/*.png"),
        (_broken, "3/a.png: no image that can be read"),
        (_odd_class, "three: a class without training images"),
        (_sixteen_bits, "3/deep.png: no image that can be read: I;16 pixels, more than 8 bits a channel"),
    ],
)
def test_what_is_no_folder_of_images_is_one_line(
    cebctl, tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "pictures")
    answer = cebctl("init", "m.yaml", "--data", "pictures", CEBCTL_DATA=str(tmp_path / "data"))
    assert (answer.code, len(answer.err.splitlines())) == (2, 1), answer.err
    assert message in answer.err
    assert not (tmp_path / "m.yaml").exists() and not (tmp_path / "data").exists()


def test_nothing_is_overwritten(cebctl, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("mine")
    answer = cebctl("init", "m.yaml", "--data", pictures)
    assert (answer.code, answer.err) == (2, "m.yaml: is there already; name another file\n")
    assert (tmp_path / "m.yaml").read_text() == "mine"
