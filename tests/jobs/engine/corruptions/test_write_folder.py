"""The pixels of the files are those that evaluations judge, by both pipelines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cebctl.onboarding import scan_images
from experiments import datasets, own_dataset
from experiments.benchmarks import CORRUPTIONS, EXTRA_CORRUPTIONS, CommonCorruptions
from experiments.spec import Data, NoAugment
from jobs.engine import data
from jobs.engine.corruptions.write_folder import write_folder
from jobs.engine.data import ImageSet, batches
from jobs.engine.evaluation.evaluators import EvaluationContext, corrupted

SETS = [("fog", 3), ("snow", 5), ("glass_blur", 1), ("jpeg_compression", 4), ("spatter", 2)]


def _pictures(folder: Path, *, classes: tuple[str, ...], suffix: str) -> Path:
    """Write three pictures of each class: one wide, one high, one that EXIF says to turn."""
    draw = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number, size in enumerate([(40, 52), (60, 41), (44, 50)]):
            noise = Image.fromarray(draw.integers(256, size=(6, 6, 3), dtype=np.uint8))
            exif = Image.Exif()
            exif[0x0112] = 6 if number == 2 else 1
            noise.resize(size, Image.Resampling.BICUBIC).save(folder / name / f"{number}{suffix}", exif=exif)
    return folder


def _judged(images: ImageSet, pipeline: str, name: str, severity: int, root: Path) -> np.ndarray:
    """The images that an evaluation sees, as uint8 of shape (N, H, W, C)."""
    context = EvaluationContext(images, "cpu", 4, root=root)
    names = [*CORRUPTIONS, *EXTRA_CORRUPTIONS]
    made = corrupted._pipeline(CommonCorruptions(pipeline=pipeline), context, names)(name, severity)  # type: ignore[arg-type]
    (batch,) = batches(made, [torch.arange(len(images))], NoAugment(), 0, 0, "cpu", workers=0)
    return (batch[1] * 255).round().byte().permute(0, 2, 3, 1).numpy()


def _files(out: Path, name: str, severity: int) -> list[Path]:
    return sorted((out / name / str(severity)).glob("*/*"))


def test_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = ("n01000000", "n02000000")
    folder = _pictures(tmp_path / "imagenet" / "val", classes=classes, suffix=".JPEG")
    monkeypatch.setitem(
        datasets.DATASETS, "imagenet", replace(datasets.info("imagenet"), classes=2, size=32, test=6, folder="imagenet")
    )
    images = data.load(Data(name="imagenet"), "test", tmp_path)
    names, severities = [name for name, _ in SETS], sorted({severity for _, severity in SETS})
    written = write_folder(folder, tmp_path / "c", corruptions=names, severities=severities, size=32, workers=2)
    assert (written.written, written.unreadable) == (5 * 5 * 6, {})
    assert written.notes[0] == "2 images that EXIF says to turn: taken as stored, as ImageNet-C's makers did"
    for name, severity in SETS:
        pixels = np.stack([np.asarray(Image.open(file)) for file in _files(tmp_path / "c", name, severity)])
        assert np.array_equal(pixels, _judged(images, "regenerated", name, severity, tmp_path)), name
    assert _files(tmp_path / "c", "fog", 3)[0] == tmp_path / "c/fog/3/n01000000/0.JPEG"


def test_as_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEBCTL_DATA", str(tmp_path / "data"))
    for split in ("train", "test"):
        _pictures(tmp_path / "pets" / split, classes=("cat", "dog"), suffix=".png")
    scan = scan_images.scan(tmp_path / "pets", tmp_path / "data", size=16)
    name = own_dataset.dataset_name(scan.slug, scan.description)
    own_dataset.write(name, scan.description)
    images = data.load(Data(name=name), "test", tmp_path / "data")
    options = {"pipeline": "as-is", "size": 16, "workers": 1}
    for corruption, severity in SETS:
        write_folder(tmp_path / "pets/test", tmp_path / "c", corruptions=[corruption], severities=[severity], **options)
        pixels = np.stack([np.asarray(Image.open(file)) for file in _files(tmp_path / "c", corruption, severity)])
        assert np.array_equal(pixels, _judged(images, "ours", corruption, severity, tmp_path)), corruption
