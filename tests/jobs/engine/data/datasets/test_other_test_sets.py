"""Published test sets in their exact layouts, and what is wrong with them in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.format import open_memmap
from PIL import Image

from experiments import datasets
from experiments.datasets import OTHER_TEST_SETS, OtherTestSet
from experiments.errors import InputError
from experiments.spec import Data, NoAugment
from jobs.engine.corruptions import Corruption
from jobs.engine.data import FolderImages, batches, load
from jobs.engine.data.datasets import other_test_sets
from jobs.engine.data.images import ImageSet
from jobs.engine.data.resized import Resize, load_resized, photographs

CIFAR10 = datasets.info("cifar10")
CLASSES = ["n01000000", "n02000000", "n10000000"]


def pixels(images: ImageSet, *indices: int) -> torch.Tensor:
    """uint8, as a network gets them."""
    (batch,) = list(batches(images, [torch.tensor(indices)], NoAugment(), 0, 0, "cpu", workers=0))
    return (batch[1] * 255).round().byte()


def one_line(raised: pytest.ExceptionInfo[InputError], path: Path) -> bool:
    return str(path) in str(raised.value) and "\n" not in str(raised.value)


@pytest.fixture
def cifar10_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four images a severity; the value of a pixel is its row."""
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    rows = np.arange(20, dtype=np.uint8)
    np.save(folder / "fog.npy", np.broadcast_to(rows[:, None, None, None], (20, 32, 32, 3)))
    np.save(folder / "labels.npy", np.tile(np.array([3, 1, 4, 1], np.uint8), 5))
    monkeypatch.setattr(other_test_sets, "_CIFAR10_C", replace(OTHER_TEST_SETS["cifar10-c"], images=4))
    return tmp_path


class TestCifar10C:
    def test_the_published_layout_is_mapped(self, tmp_path: Path) -> None:
        """Of the real size, 147 MiB; sparse, and only the rows of the severity are read."""
        folder = tmp_path / "CIFAR-10-C"
        folder.mkdir()
        array = open_memmap(folder / "fog.npy", mode="w+", dtype=np.uint8, shape=(50_000, 32, 32, 3))
        array[20_000], array[29_999, 5, 7] = 1, (2, 3, 4)
        array.flush()
        np.save(folder / "labels.npy", np.arange(50_000) % 10)
        images = other_test_sets.cifar10_c("fog", 3, CIFAR10, tmp_path)
        assert len(images) == 10_000 and images.labels_N[:3].tolist() == [0, 1, 2]
        found = pixels(images, 0, 9_999)
        assert found[0].eq(1).all() and found[1, :, 5, 7].tolist() == [2, 3, 4]

    def test_a_severity_is_its_rows(self, cifar10_c: Path) -> None:
        seen = {}
        for severity in (1, 2, 5):
            images = other_test_sets.cifar10_c("fog", severity, CIFAR10, cifar10_c)
            assert images.labels_N.tolist() == [3, 1, 4, 1]
            assert pixels(images, 0, 3)[:, 0, 0, 0].tolist() == [4 * severity - 4, 4 * severity - 1]
            seen[images.digest] = severity
        assert len(seen) == 3

    @pytest.mark.parametrize(
        ("file", "damage", "said"),
        [
            (
                "fog.npy",
                lambda path: path.unlink(),
                r"No such file .*cifar10-c.*; get it with the archive of CIFAR-10-C",
            ),
            ("fog.npy", lambda path: path.write_bytes(path.read_bytes()[:-1]), "no whole array"),
            ("fog.npy", lambda path: path.write_bytes(b"PK\x03\x04 no array"), "no whole array"),
            ("fog.npy", lambda path: path.write_bytes(b""), "no whole array"),
            ("fog.npy", lambda path: np.save(path, np.array([{}])), "no whole array"),
            (
                "fog.npy",
                lambda path: np.save(path, np.zeros((20, 3, 32, 32), np.uint8)),
                r"expected uint8 of shape \(20",
            ),
            ("fog.npy", lambda path: np.save(path, np.zeros((20, 32, 32, 3), np.float32)), "float32 .*expected uint8"),
            ("labels.npy", lambda path: path.unlink(), "No such file"),
            ("labels.npy", lambda path: path.write_bytes(path.read_bytes()[:-1]), "no whole array"),
            ("labels.npy", lambda path: np.save(path, np.zeros(19, int)), r"shape \(19,\); expected .*\(20,\)"),
            ("labels.npy", lambda path: np.save(path, np.zeros(20)), "float64 .*expected whole numbers"),
            (
                "labels.npy",
                lambda path: np.save(path, np.array([1] * 7 + [10] + [2] * 12)),
                "label 10 in row 7; 0 to 9",
            ),
            ("labels.npy", lambda path: np.save(path, np.array([-1] * 20)), "label -1 in row 0"),
        ],
    )
    def test_damage_is_named(self, file: str, damage: Callable[[Path], object], said: str, cifar10_c: Path) -> None:
        damage(cifar10_c / "CIFAR-10-C" / file)
        with pytest.raises(InputError, match=said) as raised:
            other_test_sets.check_cifar10_c(["fog"], CIFAR10, cifar10_c)
        assert one_line(raised, cifar10_c / "CIFAR-10-C" / file)


def test_cifar10_1(tmp_path: Path) -> None:
    folder = tmp_path / "cifar10.1"
    folder.mkdir()
    draw = np.random.default_rng(0)
    arrays = {version: draw.integers(256, size=(count, 32, 32, 3), dtype=np.uint8) for version, count in
              (("v4", 2021), ("v6", 2000))}  # fmt: skip
    for version, array in arrays.items():
        np.save(folder / f"cifar10.1_{version}_data.npy", array)
        np.save(folder / f"cifar10.1_{version}_labels.npy", np.arange(len(array), dtype=np.int32) % 10)
        images = other_test_sets.cifar10_1(OTHER_TEST_SETS[f"cifar10.1-{version}"], CIFAR10, tmp_path)
        assert images.labels_N.tolist() == [index % 10 for index in range(len(array))]
        assert np.array_equal(pixels(images, 0, 1999).permute(0, 2, 3, 1).numpy(), array[[0, 1999]])
    with pytest.raises(InputError, match="v4_data"):
        other_test_sets.cifar10_1(OTHER_TEST_SETS["cifar10.1-v4"], CIFAR10, tmp_path / "elsewhere")


def folders(root: Path, names: list[str], images: int, side: int = 40, suffix: str = ".JPEG") -> None:
    """So many images a class, each of one colour."""
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for index in range(images):
            Image.new("RGB", (side, side), (40 * number, 20 * index, 0)).save(root / name / f"{index}{suffix}")


def declared(name: str, images: int, classes: int, **facts: object) -> OtherTestSet:
    return replace(OTHER_TEST_SETS[name], images=images, classes=classes, **facts)  # type: ignore[arg-type]


@pytest.fixture
def info(declare: Callable[..., datasets.DatasetInfo]) -> datasets.DatasetInfo:
    return declare("imagenet", classes=3, size=32)


class TestImagenet:
    def test_labels_are_those_of_the_classes_it_has(self, tmp_path: Path, info: datasets.DatasetInfo) -> None:
        folders(tmp_path / "imagenet-r", CLASSES[1:], 2, suffix=".jpg")
        (tmp_path / "imagenet-r" / "README.txt").write_text("not a class")
        images = other_test_sets.imagenet(declared("imagenet-r", 4, 2), info, tmp_path, CLASSES)
        assert images.labels_N.tolist() == [1, 1, 2, 2]
        assert pixels(images, 2)[0, :, 16, 16].tolist()[0] in range(38, 43)

    def test_version_2_has_numbered_folders(self, tmp_path: Path, info: datasets.DatasetInfo) -> None:
        """Among 1,000 the order of names is another than that of numbers."""
        info = replace(info, classes=11)
        version = declared("imagenet-v2-top-images", 11, 11)
        folders(tmp_path / version.folder, [str(number) for number in range(11)], 1)
        images = other_test_sets.imagenet(version, info, tmp_path, CLASSES)
        assert [images.path(index).parent.name for index in range(11)] == [str(number) for number in range(11)]
        assert images.labels_N.tolist() == list(range(11))

    def test_the_200_classes_of_a(self) -> None:
        labels = OTHER_TEST_SETS["imagenet-a"].labels
        assert len(labels) == 200 and list(labels) == sorted(set(labels)) and (labels[0], labels[-1]) == (6, 988)

    @pytest.mark.parametrize(
        ("damage", "where", "said"),
        [
            (lambda root: (root / "n99999999").mkdir(), "n99999999", "a folder of no class; imagenet-a has one folder"),
            (lambda root: (root / "n02000000" / "0.JPEG").unlink(), "", "3 images; 4 were published"),
            (lambda root: [f.unlink() for f in (root / "n02000000").iterdir()] + [(root / "n02000000").rmdir()], "",
             "1 folders of classes; imagenet-a has 2"),
            (lambda root: (root / "n02000000").rename(root / "n10000000"), "n10000000", "a class it has not"),
            (lambda root: root.rename(root.parent / "moved"), "", "No such file .*the archive of ImageNet-A"),
        ],
    )  # fmt: skip
    def test_damage_is_named(
        self, damage: Callable[[Path], object], where: str, said: str, tmp_path: Path, info: datasets.DatasetInfo
    ) -> None:
        root = tmp_path / "imagenet-a"
        folders(root, CLASSES[:2], 2)
        of_a = declared("imagenet-a", 4, 2, labels=(0, 1))
        assert len(other_test_sets.imagenet(of_a, info, tmp_path, CLASSES)) == 4
        damage(root)
        with pytest.raises(InputError, match=said) as raised:
            other_test_sets.imagenet(of_a, info, tmp_path, CLASSES)
        assert one_line(raised, root / where)


class TestImagenetC:
    @pytest.fixture
    def sets(self, tmp_path: Path, info: datasets.DatasetInfo, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(other_test_sets, "_IMAGENET_C", declared("imagenet-c", 6, 3))
        for severity in range(1, 6):
            folders(tmp_path / "imagenet-c" / "fog" / str(severity), CLASSES, 2, side=32)
        return tmp_path

    def test_images_are_taken_as_they_are(self, sets: Path, info: datasets.DatasetInfo) -> None:
        path = sets / "imagenet-c" / "fog" / "4" / "n01000000" / "0.JPEG"
        noise = np.random.default_rng(0).integers(256, size=(32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        images = other_test_sets.imagenet_c("fog", 4, info, sets, CLASSES)
        with Image.open(path) as image:
            decoded = np.asarray(image)
        assert np.array_equal(pixels(images, 0)[0].permute(1, 2, 0).numpy(), decoded)
        recropped = pixels(replace(images, crop="evaluation"), 0)[0].permute(1, 2, 0).numpy()
        assert recropped.shape == decoded.shape and not np.array_equal(recropped, decoded)

    def test_an_image_of_another_size_is_left_out_and_named(
        self, sets: Path, info: datasets.DatasetInfo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("jobs.engine.data.images.MAX_CORRUPT_SHARE", 0.5)
        Image.new("RGB", (33, 32)).save(sets / "imagenet-c" / "fog" / "1" / "n01000000" / "1.JPEG")
        images = other_test_sets.imagenet_c("fog", 1, info, sets, CLASSES)
        assert len(pixels(images, 0, 1, 2)) == 2
        assert images.corrupt == {1: "33x32 pixels, expected 32x32"}

    def test_a_missing_set_is_named_before_any_is_used(self, sets: Path) -> None:
        other_test_sets.check_imagenet_c(["fog"], sets)
        (sets / "imagenet-c" / "fog" / "5").rename(sets / "moved")
        with pytest.raises(InputError, match="No such file") as raised:
            other_test_sets.check_imagenet_c(["fog"], sets)
        assert one_line(raised, sets / "imagenet-c" / "fog" / "5")


class TestWhatIsDoneToImages:
    @pytest.mark.parametrize("workers", [0, 2])
    def test_in_memory_whatever_the_batches_and_workers(self, workers: int) -> None:
        digits, corruption = load(Data(name="digits"), "test", Path()), Corruption("gaussian_noise", 5)
        corrupted, split = replace(digits, transform=corruption), list(torch.arange(20).split(7))
        read = list(batches(corrupted, split, NoAugment(), 0, 0, "cpu", workers=workers))
        found = (torch.cat([x_BCHW for _, x_BCHW, _ in read]) * 255).round().byte()
        for index in range(20):
            expected = corruption(digits.images_NCHW[index].permute(1, 2, 0).numpy(), index)  # type: ignore[union-attr]
            assert np.array_equal(found[index].permute(1, 2, 0).numpy(), expected)

    def test_in_folders_behind_the_crop(self, small_imagenet: Path) -> None:
        images = load(Data(name="imagenet"), "test", small_imagenet)
        corruption = Corruption("contrast", 3)
        clean, corrupted = (pixels(one, 5, 9) for one in (images, replace(images, transform=corruption)))
        assert torch.equal(corrupted[1].permute(1, 2, 0), torch.from_numpy(
            corruption(clean[1].permute(1, 2, 0).numpy(), 9)))  # fmt: skip


class TestFitted:
    @pytest.mark.parametrize(("size", "channels"), [(8, 1), (28, 1), (32, 3), (224, 3)])
    def test_any_set_takes_the_form_of_another(self, size: int, channels: int) -> None:
        info = replace(CIFAR10, size=size, channels=channels)
        for name in ("digits", "photographs"):
            found = pixels(load_resized(name, info, Path()), 0, 7)
            assert found.shape == (2, channels, size, size) and found.float().std() > 5

    def test_what_fits_stays(self) -> None:
        image = np.random.default_rng(0).integers(256, size=(8, 8, 1), dtype=np.uint8)
        assert Resize(8, 1)(image, 0) is image

    def test_photographs_are_520_different_windows(self) -> None:
        images = photographs()
        assert len(images) == 520 and len({window.numpy().tobytes() for window in images.images_NCHW}) == 520

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="EliSchwartz/imagenet-sample-images") as raised:
            load_resized("imagenet-sample", CIFAR10, tmp_path)
        assert one_line(raised, tmp_path / "imagenet-sample" / "val")

    @pytest.mark.data
    def test_the_real_sample(self, real_imagenet_sample: Path) -> None:
        images = load_resized("imagenet-sample", CIFAR10, real_imagenet_sample)
        assert isinstance(images, FolderImages) and len(images) == 1000
        assert pixels(images, 0, 999).shape == (2, 3, 32, 32)
