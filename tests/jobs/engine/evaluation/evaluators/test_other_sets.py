"""Accuracy on other test sets: which classes the argmax is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import adaptive_avg_pool2d
from torchvision import transforms

from experiments import benchmarks, datasets
from experiments.benchmarks import Cifar101, ImagenetA, ImagenetSketch, Top5
from experiments.errors import InputError
from experiments.spec import Adam, Ceb, Data, ResNet, Run
from jobs.engine.data import FolderImages, ImageSet
from jobs.engine.data.datasets import other_test_sets
from jobs.engine.evaluation.evaluators import EVALUATORS, EvaluationContext, ImageValues
from jobs.engine.models import CebModel, build

CLASSES = [f"n0{number}000000" for number in range(4)]


class Preferring:
    """A network with the same logits for every image."""

    def __init__(self, *logits: float) -> None:
        self.logits_K = torch.tensor(logits, dtype=torch.float32)

    def classify(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return self.logits_K.expand(len(x_BCHW), -1)


def run(model: object, context: EvaluationContext, benchmark: benchmarks.AnyBenchmark) -> dict[str, list[bool]]:
    found = list(EVALUATORS[type(benchmark)](model, context, benchmark, 0))  # type: ignore[arg-type]
    assert all(isinstance(one, ImageValues) and one.unit == "accuracy" for one in found)
    return {one.name: one.values_M.tolist() for one in found if isinstance(one, ImageValues)}


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluationContext:
    """Four classes of ImageNet; of the other sets, classes 1 and 3 with an image each."""
    info = replace(datasets.info("imagenet"), classes=4, size=32)
    names = np.array([f"{name}/0.JPEG".encode() for name in CLASSES])
    for name, folder in (("imagenet-a", "imagenet-a"), ("imagenet-sketch", "sketch")):
        of_two = replace(datasets.OTHER_TEST_SETS[name], images=2, classes=2, labels=())
        monkeypatch.setitem(datasets.OTHER_TEST_SETS, name, of_two)
        for wordnet_id in (CLASSES[1], CLASSES[3]):
            path = tmp_path / folder / wordnet_id / "0.JPEG"
            path.parent.mkdir(parents=True)
            Image.new("RGB", (40, 40)).save(path)
    images = FolderImages(info, "test", "d", torch.arange(4), tmp_path / "val", names)
    return EvaluationContext(images, "cpu", 3, root=tmp_path)


def test_natural_adversarial_examples_among_their_classes_and_among_all(context: EvaluationContext) -> None:
    model = Preferring(9, 1, 8, 2)
    assert run(model, context, ImagenetA()) == {"imagenet_a": [False, True], "imagenet_a_1000": [False, False]}
    assert run(Preferring(0, 3, 1, 2), context, ImagenetA()) == {
        "imagenet_a": [True, False],
        "imagenet_a_1000": [True, False],
    }


def test_a_subset_is_drawn_evenly_and_its_argmax_is_among_the_same_classes(context: EvaluationContext) -> None:
    model = Preferring(9, 2, 8, 1)
    whole, part = run(model, context, ImagenetA()), run(model, context, ImagenetA(subset=1))
    assert {name: len(flags) for name, flags in part.items()} == dict.fromkeys(whole, 1)
    assert all(part[name][0] == whole[name][0] for name in whole)


def test_a_set_of_all_classes_has_one_number(context: EvaluationContext) -> None:
    assert run(Preferring(0, 1, 0, 2), context, ImagenetSketch()) == {"imagenet_sketch": [False, True]}


def test_top5_of_fewer_than_five_classes(digits: ImageSet) -> None:
    images = replace(digits, labels_N=digits.labels_N % 3)
    assert set(run(Preferring(1, 2, 3), EvaluationContext(images, "cpu", 500), Top5())["top5"]) == {True}


def test_what_is_not_there_is_named(context: EvaluationContext) -> None:
    with pytest.raises(InputError, match="imagenet-r: No such file"):
        run(Preferring(0, 1, 2, 3), context, benchmarks.ImagenetR())


def test_cifar10_1(tmp_path: Path, digits: ImageSet, model_of: Callable[[object], CebModel]) -> None:
    (tmp_path / "cifar10.1").mkdir()
    np.save(tmp_path / "cifar10.1" / "cifar10.1_v6_data.npy", np.zeros((2000, 32, 32, 3), np.uint8))
    np.save(tmp_path / "cifar10.1" / "cifar10.1_v6_labels.npy", np.arange(2000, dtype=np.int32) // 200)
    images = replace(digits, info=datasets.info("cifar10"))
    found = run(Preferring(*range(10)), EvaluationContext(images, "cpu", 500, root=tmp_path), Cifar101())
    assert found["cifar10_1"] == [False] * 1800 + [True] * 200


def _of_imagenet_a(root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[EvaluationContext, list[Path]]:
    """Real images of ImageNet-A's 200 classes in the layout of its archive, and the images in the order of the set."""
    sample = other_test_sets.imagenet_sample(root, 224, datasets.info("imagenet"))
    declared = datasets.OTHER_TEST_SETS["imagenet-a"]
    monkeypatch.setitem(datasets.OTHER_TEST_SETS, "imagenet-a", replace(declared, images=200))
    paths = sorted(sample.path(index) for index in declared.labels)
    for path in paths:
        (folder / declared.folder / path.parent.name).mkdir(parents=True)
        (folder / declared.folder / path.parent.name / path.name).symlink_to(path)
    return EvaluationContext(sample, "cpu", 50, root=folder), paths


@pytest.mark.data
def test_real_images_as_imagenet_a(real_imagenet_sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a network of one random layer on what torchvision makes of the same files."""
    context, paths = _of_imagenet_a(real_imagenet_sample, tmp_path, monkeypatch)
    weights_PK = torch.randn(3 * 16 * 16, 1000, generator=torch.Generator().manual_seed(0))

    class OneLayer:
        @staticmethod
        def classify(x_BCHW: torch.Tensor) -> torch.Tensor:
            pooled_BP = adaptive_avg_pool2d(x_BCHW, 16).flatten(1)
            return (pooled_BP - pooled_BP.mean(dim=1, keepdim=True)) @ weights_PK

    found = run(OneLayer(), context, ImagenetA())
    labels = list(datasets.OTHER_TEST_SETS["imagenet-a"].labels)
    wanted = {"imagenet_a": [], "imagenet_a_1000": []}
    view = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()])
    for path, label in zip(paths, labels, strict=True):
        logits_K = OneLayer.classify(view(Image.open(path).convert("RGB"))[None])[0]
        wanted["imagenet_a"].append(labels[int(logits_K[labels].argmax())] == label)
        wanted["imagenet_a_1000"].append(int(logits_K.argmax()) == label)
    assert found == wanted


@pytest.mark.soak
@pytest.mark.data
def test_real_images_as_imagenet_a_through_a_resnet50(
    real_imagenet_sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights: it is the pipeline that is tested."""
    spec = Run(data=Data(name="imagenet"), network=ResNet(depth=50), objective=Ceb(rho=1), optimiser=Adam(), epochs=1,
               batch=2)  # fmt: skip
    context, _ = _of_imagenet_a(real_imagenet_sample, tmp_path, monkeypatch)
    found = run(build(spec).eval(), context, ImagenetA())
    assert {name: len(values) for name, values in found.items()} == {"imagenet_a": 200, "imagenet_a_1000": 200}
