"""The layouts of folders of images, and what `cebctl init` says of files that it leaves aside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cebctl.onboarding.scan_images import FolderScan, scan
from experiments import own_dataset
from experiments.errors import InputError
from experiments.spec import Data
from jobs.engine.data.load import load

PETS = ("cat", "dog")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CEBCTL_DATA", str(tmp_path / "data"))
    return tmp_path / "pets"


def _fill(folder: Path, classes: Sequence[str] = PETS, count: int = 5, inside: str = "") -> None:
    for label, name in enumerate(classes):
        (folder / name / inside).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = np.full((4, 4), 10 * label + number, np.uint8)
            Image.fromarray(pixels).save(folder / name / inside / f"{number}.png")


def _scan(folder: Path) -> FolderScan:
    return scan(folder, own_dataset.data_folder())


def _notes(folder: Path) -> str:
    return "\n".join(_scan(folder).notes)


def _pixels(scanned: FolderScan, split: str) -> list[tuple[int, int]]:
    """Return the label and a pixel of each image, as a job reads them."""
    name = own_dataset.dataset_name(scanned.slug, scanned.description)
    own_dataset.write(name, scanned.description)
    images = load(Data(name=name), split, own_dataset.data_folder())  # type: ignore[arg-type]
    return list(zip(images.labels_N.tolist(), images.images_NCHW[:, 0, 0, 0].tolist(), strict=True))


def test_what_is_left_aside_is_counted_and_named(folder: Path) -> None:
    _fill(folder, (*PETS, "emu"))
    for number in range(5):
        (folder / f"emu/{number}.png").rename(folder / f"emu/{number}.avif")
    for name in ("a.jfif", "b.jfif", "c.jfif", "d.jfif", "plain"):
        (folder / "cat" / name).write_bytes(b"")
    for place in ("cat/.hidden.png", "cat/old/1.png", "cat/.git/x", "beside.png", "labels.txt", "none/.keep"):
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_bytes(b"")
    notes = _notes(folder)
    for kind in (
        "1 image in no class folder (beside.png)",
        "1 file in no class folder (labels.txt)",
        "2 folders without images in <class>/<file> (emu: 5 *.avif, none)",
        "2 files hidden by a dot (cat/.git, cat/.hidden.png)",
        "4 files named *.jfif, which is none of .png .jpg .jpeg .bmp .gif .tif .tiff .webp .ppm .pgm (cat/a.jfif, "
        "cat/b.jfif, cat/c.jfif, …)",
        "1 file without a suffix, which is none of",
        "1 image deeper than <class>/<file> (cat/old/1.png)",
    ):
        assert f"left aside: {kind}" in notes
    assert len(notes.splitlines()) == 8  # and that every fifth is a test image


def test_nothing_is_said_where_nothing_is_left_aside(folder: Path) -> None:
    _fill(folder / "train")
    _fill(folder / "test")
    assert _notes(folder) == ""


@pytest.mark.parametrize("place", ["train", "test"])
def test_both_splits_are_looked_through(folder: Path, place: str) -> None:
    _fill(folder / "train")
    _fill(folder / "test")
    (folder / place / "cat/1.heic").write_bytes(b"")
    assert (
        f"1 file named *.heic, which is none of .png .jpg .jpeg .bmp .gif .tif .tiff .webp .ppm .pgm ({place}/cat/"
        in (_notes(folder))
    )


def test_a_class_without_test_images_is_named(folder: Path) -> None:
    _fill(folder / "train", (*PETS, "emu"))
    _fill(folder / "test", ("cat",))
    assert _notes(folder) == "test/ has no images of 2 of 3 classes (dog, emu): no number is of them"


def test_names_that_differ_by_case_alone(folder: Path) -> None:
    _fill(folder, ("cat", "Cat", "dog"))
    (folder / "dog/A.png").write_bytes((folder / "dog/1.png").read_bytes())
    (folder / "dog/a.png").write_bytes((folder / "dog/2.png").read_bytes())
    notes = _notes(folder)
    assert "Cat and cat differ by case alone" in notes and "dog/A.png and dog/a.png differ by case alone" in notes
    _fill(folder / "in/train")
    _fill(folder / "in/Train")
    with pytest.raises(InputError, match="Train/ and train/ differ by case alone; rename one"):
        _scan(folder / "in")


def test_a_class_may_be_called_train(folder: Path) -> None:
    _fill(folder, ("bus", "train"))
    assert _scan(folder).description.class_names == ("bus", "train")
    _fill(folder.with_name("nested"), ("bus", "test", "train"), inside="images")
    assert _scan(folder.with_name("nested")).description.class_names == ("bus", "test", "train")


def test_a_flat_folder_of_test_images_is_left_aside(folder: Path) -> None:
    _fill(folder / "train")
    (folder / "test").mkdir()
    Image.new("L", (4, 4)).save(folder / "test/1.png")
    notes = _notes(folder)
    assert "test/ is left aside: 1 image in it, in no folders of classes" in notes
    assert "no test/ with classes in it: every 5th image of train/ is a test image" in notes
    _fill(folder / "val")
    scanned = _scan(folder)
    assert (scanned.description.test_folder, len(scanned.notes)) == ("val", 1)


def test_tiny_imagenets_images_folders_are_read(folder: Path) -> None:
    _fill(folder / "train", inside="images")
    (folder / "train/cat/boxes.txt").write_text("")
    (folder / "val/images").mkdir(parents=True)
    Image.new("L", (4, 4)).save(folder / "val/images/1.png")
    (folder / "val/val_annotations.txt").write_text("")
    scanned = _scan(folder)
    assert "`data: tiny_imagenet` in a matrix reads Tiny ImageNet as it was published" in "\n".join(scanned.notes)
    assert "1 file outside of <class>/images/ (train/cat/boxes.txt)" in "\n".join(scanned.notes)
    assert _pixels(scanned, "train") == [(label, 10 * label + n) for label in (0, 1) for n in range(1, 5)]
    assert _pixels(scanned, "test") == [(0, 0), (1, 10)]


def test_a_layout_that_is_not_read_has_a_way_out(folder: Path) -> None:
    (folder / "train").mkdir(parents=True)
    Image.new("L", (4, 4)).save(folder / "train/1.png")
    with pytest.raises(InputError, match=r"at least 2: .*; images that lie otherwise are .*`cebctl init --part data`"):
        _scan(folder)
    (folder / "labels.csv").write_text("file,class\n")
    with pytest.raises(
        InputError, match=r"labels in labels.csv are read by a function of your own: `cebctl init --part"
    ):
        _scan(folder)


def test_names_may_be_any_bytes(folder: Path) -> None:
    _fill(folder, ("caf\udce9", "dog"))
    (folder / "dog/1.png").rename(folder / "dog/\udcff\udce9.png")
    (folder / "dog/2.png").rename(folder / "dog/Zoë 🐕.png")
    scanned = _scan(folder)
    assert scanned.description.class_names == ("caf\\xe9", "dog")
    assert len(_pixels(scanned, "train")) == scanned.description.train == 8
    name = own_dataset.dataset_name(scanned.slug, scanned.description)
    assert json.loads(own_dataset.description_path(name).read_bytes())["class_names"] == ["caf\\xe9", "dog"]
    (folder / "dog/bad\udce9.png").write_bytes(b"")
    with pytest.raises(InputError) as error:
        _scan(folder)
    assert "dog/bad\\xe9.png: no image that can be read" in str(error.value)
    (folder / "dog/bad\udce9.png").unlink()
    folder.rename(folder.with_name("caf\udce9"))
    with pytest.raises(InputError, match=r"caf\\xe9/: a path that is no printable text"):
        _scan(folder.with_name("caf\udce9"))
