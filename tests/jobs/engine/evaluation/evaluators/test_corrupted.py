"""Errors under corruptions: the numbers by hand, published files of every pipeline, and going on where it stopped."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments import datasets
from experiments.benchmarks import (
    CORRUPTIONS,
    CORRUPTIONS_3D,
    EXTRA_CORRUPTIONS,
    CommonCorruptions,
    ExtraCorruptions,
    Imagenet3dcc,
)
from experiments.datasets import OTHER_TEST_SETS
from experiments.errors import InputError
from experiments.spec import Adam, Ceb, Data, NoAugment, ResNet, Run, SmallCnn, Xent
from jobs.engine.corruptions import SEVERITIES, Corruption
from jobs.engine.data import FolderImages, ImageSet, MemoryImages, batches
from jobs.engine.data.datasets import other_test_sets
from jobs.engine.evaluation.evaluate import measure
from jobs.engine.evaluation.evaluators import EvaluationContext, ImageValues, corrupted
from jobs.engine.evaluation.evaluators.context import BatchResult
from jobs.engine.models import CebModel, build
from jobs.errors import Stopped

ModelOf = Callable[[object], CebModel]
OURS = CommonCorruptions(pipeline="ours", subset=20)


def run(
    model: CebModel,
    context: EvaluationContext,
    benchmark: CommonCorruptions | ExtraCorruptions | Imagenet3dcc,
    seed: int = 0,
) -> dict[str, ImageValues]:
    found = list(corrupted.evaluate(model, context, benchmark, seed))
    assert len({one.name for one in found}) == len(found)
    return {one.name: one for one in found}


@pytest.fixture(scope="module")
def ours(digits: ImageSet) -> tuple[CebModel, dict[str, ImageValues]]:
    network = SmallCnn(width=4, z_dim=6)
    spec = Run(data=Data(name="digits"), network=network, objective=Ceb(rho=1), optimiser=Adam(), epochs=1, batch=32)
    model = build(spec).eval()
    return model, run(model, EvaluationContext(digits, "cpu", 7), OURS)


class TestNumbers:
    def test_every_set_and_its_mean_over_severities(self, ours: tuple[CebModel, dict[str, ImageValues]]) -> None:
        _, found = ours
        sets = {f"{name}/{severity}" for name in CORRUPTIONS for severity in SEVERITIES}
        assert found.keys() == sets | set(CORRUPTIONS)
        for name in CORRUPTIONS:
            right_SM = torch.stack([found[f"{name}/{severity}"].values_M for severity in SEVERITIES])
            assert torch.equal(found[name].values_M, (~right_SM).double().mean(dim=0))
            summary, at_severities = measure(found[name]), [measure(found[f"{name}/{s}"]) for s in SEVERITIES]
            assert (summary.unit, summary.total, summary.correct) == ("error", 20, None)
            assert all((one.unit, one.total) == ("accuracy", 20) for one in at_severities)
            counted = 1 - sum(one.correct or 0 for one in at_severities) / 100
            assert summary.value == pytest.approx(counted, abs=1e-12)

    def test_images_are_those_of_their_numbers(
        self, ours: tuple[CebModel, dict[str, ImageValues]], digits: ImageSet
    ) -> None:
        model, found = ours
        assert isinstance(digits, MemoryImages)
        samples = found["fog/4"].samples_M
        assert digits.labels_N[samples].bincount().tolist() == [2] * 10
        made = [Corruption("fog", 4)(digits.images_NCHW[n].permute(1, 2, 0).numpy(), n) for n in samples.tolist()]
        x_MCHW = torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).float() / 255
        right_M = model.classify(x_MCHW).argmax(dim=1) == digits.labels_N[samples]
        assert torch.equal(found["fog/4"].values_M, right_M)

    def test_neither_the_batch_nor_the_runs_seed_matters(
        self, ours: tuple[CebModel, dict[str, ImageValues]], digits: ImageSet
    ) -> None:
        model, found = ours
        other = run(model, EvaluationContext(digits, "cpu", 500), OURS, seed=5)
        assert all(torch.equal(found[name].values_M, other[name].values_M) for name in found)

    def test_the_four_extra_ones(self, digits: ImageSet, model_of: ModelOf) -> None:
        found = run(
            model_of(Xent()), EvaluationContext(digits, "cpu", 500), ExtraCorruptions(pipeline="ours", subset=20)
        )
        assert [name for name in found if "/" not in name] == list(EXTRA_CORRUPTIONS) and len(found) == 24

    @pytest.mark.parametrize("pipeline", ["official", "official-recrop", "regenerated", "in-memory"])
    def test_pipelines_that_digits_have_not(self, pipeline: str, digits: ImageSet, model_of: ModelOf) -> None:
        with pytest.raises(InputError, match=f"digits has no pipeline {pipeline}; .*ours"):
            run(model_of(Xent()), EvaluationContext(digits, "cpu", 500), CommonCorruptions(pipeline=pipeline))  # type: ignore[arg-type]


class Memory:
    """Results that outlive an attempt."""

    def __init__(self) -> None:
        self.results: dict[tuple[str, str], dict[int, BatchResult]] = {}

    def batches(self, digest: str, part: str) -> dict[int, BatchResult]:
        return self.results.get((digest, part), {})

    def append(self, digest: str, part: str, batch: int, result: BatchResult) -> None:
        self.results.setdefault((digest, part), {})[batch] = result


def test_sets_that_are_done_are_not_made_again(
    ours: tuple[CebModel, dict[str, ImageValues]], digits: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped within a set, twice; every image is corrupted once in all."""
    made: Counter[tuple[str, int, int]] = Counter()
    progress: list[tuple[int, int]] = []
    call = Corruption.__call__

    def counting(self: Corruption, image: np.ndarray, index: int) -> np.ndarray:
        made[self.name, self.severity, index] += 1
        return call(self, image, index)

    def stop_at(images: int) -> Callable[[int, int], None]:
        def watch(done: int, total: int) -> None:
            progress.append((done, total))
            if done >= images:
                raise Stopped

        return watch

    monkeypatch.setattr(Corruption, "__call__", counting)
    model, whole = ours
    cache = Memory()
    for images in (107, 1000):
        with pytest.raises(Stopped):
            run(model, EvaluationContext(digits, "cpu", 7, stop_at(images), cache=cache), OURS)
    found = run(model, EvaluationContext(digits, "cpu", 7, stop_at(9999), cache=cache), OURS)
    assert all(torch.equal(found[name].values_M, whole[name].values_M) for name in whole)
    assert len(made) == 75 * 20 and set(made.values()) == {1}
    assert {total for _, total in progress} == {1500} and progress[-1][0] == 1500


class TestOfficial:
    def test_cifar10_c(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every set is one grey level: what is right at each severity is known from five images."""
        info = datasets.info("cifar10")
        monkeypatch.setattr(other_test_sets, "_CIFAR10_C", replace(OTHER_TEST_SETS["cifar10-c"], images=4))
        folder = tmp_path / "CIFAR-10-C"
        folder.mkdir()
        labels_N = np.array([3, 1, 4, 1], np.uint8)
        levels = np.repeat(np.array([0, 60, 120, 180, 240], np.uint8), 4)[:, None, None, None]
        for name in CORRUPTIONS:
            np.save(folder / f"{name}.npy", np.broadcast_to(levels, (20, 32, 32, 3)))
        np.save(folder / "labels.npy", np.tile(labels_N, 5))
        network = SmallCnn(width=4, z_dim=6)
        spec = Run(data=Data(name="cifar10"), network=network, objective=Xent(), optimiser=Adam(), epochs=1, batch=32)
        model = build(spec).eval()
        images = MemoryImages(info, "test", "images", torch.zeros(4).long(), torch.zeros(4, 3, 32, 32).byte())
        found = run(model, EvaluationContext(images, "cpu", 3, root=tmp_path), CommonCorruptions(pipeline="official"))
        for severity, level in zip(SEVERITIES, (0, 60, 120, 180, 240), strict=True):
            said = model.classify(torch.full((1, 3, 32, 32), level / 255)).argmax().item()
            assert found[f"snow/{severity}"].values_M.tolist() == (labels_N == said).tolist()
        (folder / "snow.npy").unlink()
        (folder / "fog.npy").write_bytes(b"")
        with pytest.raises(InputError, match=r"snow\.npy: No such file"):
            run(model, EvaluationContext(images, "cpu", 3, root=tmp_path), CommonCorruptions(pipeline="official"))

    def test_imagenet_c(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Published files as they are, with another crop, and in memory: three numbers of three pipelines."""
        classes = ["n01000000", "n02000000"]
        info = replace(datasets.info("imagenet"), classes=2, size=32, test=4)
        monkeypatch.setitem(datasets.DATASETS, "imagenet", info)
        monkeypatch.setattr(other_test_sets, "_IMAGENET_C", replace(OTHER_TEST_SETS["imagenet-c"], images=4, classes=2))
        draw = np.random.default_rng(0)
        names = []
        for name in classes:
            for index in range(2):
                image = Image.fromarray(draw.integers(256, size=(32, 32, 3), dtype=np.uint8))
                for folder in ("val", *(f"imagenet-c/{c}/{s}" for c in EXTRA_CORRUPTIONS for s in SEVERITIES)):
                    path = tmp_path / folder / name / f"{index}.JPEG"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    image.save(path)
                names.append(f"{name}/{index}.JPEG".encode())
        images = FolderImages(info, "test", "d", torch.tensor([0, 0, 1, 1]), tmp_path / "val", np.array(names))
        network = ResNet(depth=50)
        spec = Run(data=Data(name="imagenet"), network=network, objective=Xent(), optimiser=Adam(), epochs=1, batch=2)
        model = build(spec).eval()
        seen: dict[str, list[torch.Tensor]] = {}
        for pipeline in ("official", "official-recrop", "in-memory"):
            taken = seen.setdefault(pipeline, [])
            monkeypatch.setattr(
                model, "classify", lambda x_BCHW, taken=taken: taken.append(x_BCHW) or torch.zeros(len(x_BCHW), 2)
            )
            found = run(model, EvaluationContext(images, "cpu", 4, root=tmp_path), ExtraCorruptions(pipeline=pipeline))  # type: ignore[arg-type]
            assert found["saturate/5"].values_M.tolist() == [True, True, False, False]
            assert measure(found["saturate"]).value == 0.5
        monkeypatch.setitem(
            OTHER_TEST_SETS, "imagenet-3dcc", replace(OTHER_TEST_SETS["imagenet-3dcc"], images=4, classes=2)
        )
        for name in CORRUPTIONS_3D:
            shutil.copytree(tmp_path / "imagenet-c" / "saturate", tmp_path / "ImageNet-3DCC" / name)
        context = EvaluationContext(images, "cpu", 4, root=tmp_path)
        found = run(model, context, Imagenet3dcc())
        assert [name for name in found if "/" not in name] == list(CORRUPTIONS_3D)
        assert measure(found["fog_3d"]).value == 0.5 and len(found) == 6 * len(CORRUPTIONS_3D)
        (tmp_path / "ImageNet-3DCC" / "flash" / "5").rename(tmp_path / "moved")
        with pytest.raises(InputError, match=r"flash/5: No such file or directory \(imagenet-3dcc\); get it"):
            run(model, context, Imagenet3dcc())
        assert torch.equal(seen["official"][0], seen["official"][19])  # the same files for every set here
        assert not torch.equal(seen["official"][0], seen["official-recrop"][0])
        assert not torch.equal(seen["in-memory"][0], seen["in-memory"][1])


REAL = 32
"""Images under each of the 75 corruptions."""


def _real_imagenet(root: Path) -> FolderImages:
    """The first images of the sample, as images of ImageNet's classes."""
    sample = other_test_sets.imagenet_sample(root, 224, datasets.info("imagenet"))
    return sample.subset(torch.arange(0, 1000, 1000 // REAL)[:REAL])


def _real(model: CebModel, images: ImageSet, benchmark: CommonCorruptions | ExtraCorruptions) -> dict[str, ImageValues]:
    found = run(model, EvaluationContext(images, "cpu", REAL), benchmark)
    names = CORRUPTIONS if isinstance(benchmark, CommonCorruptions) else EXTRA_CORRUPTIONS
    assert len(found) == 6 * len(names)
    assert all(one.samples_M.tolist() == list(range(len(images))) for one in found.values())
    return found


@pytest.mark.soak
@pytest.mark.data
@pytest.mark.timeout(3600)
def test_every_set_of_real_imagenet_images_through_a_resnet50(real_imagenet_sample: Path) -> None:
    """Random weights: it is the pipeline that is tested. About six minutes of one core."""
    spec = Run(data=Data(name="imagenet"), network=ResNet(depth=50), objective=Ceb(rho=1), optimiser=Adam(), epochs=1,
               batch=2)  # fmt: skip
    images = _real_imagenet(real_imagenet_sample)
    _real(build(spec).eval(), images, CommonCorruptions(pipeline="in-memory"))


@pytest.mark.data
def test_every_set_of_two_real_imagenet_images(real_imagenet_sample: Path) -> None:
    """All sets at 224 pixels, without the minutes of the network: no two are equal."""
    images = _real_imagenet(real_imagenet_sample).subset(torch.arange(2))
    seen: list[bytes] = []

    class Seeing:
        @staticmethod
        def classify(x_BCHW: torch.Tensor) -> torch.Tensor:
            assert x_BCHW.shape == (2, 3, 224, 224) and x_BCHW.min() >= 0 and x_BCHW.max() <= 1 and x_BCHW.std() > 0.005
            seen.append(x_BCHW.numpy().tobytes())
            return torch.zeros(2, 1000)

    for benchmark in (
        CommonCorruptions(pipeline="in-memory"),
        ExtraCorruptions(pipeline="in-memory"),
        CommonCorruptions(pipeline="regenerated"),
    ):
        _real(Seeing(), images, benchmark)  # type: ignore[arg-type]
    assert len(seen) == len(set(seen)) == 170


def _as_published(path: Path, name: str, severity: int, index: int, folder: Path) -> np.ndarray:
    """By Pillow alone, as make_imagenet_c.py does it: Resize(256), CenterCrop(224), the corruption, a JPEG file."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    width, height = image.size
    short, long = sorted(image.size)
    size = (256, int(256 * long / short)) if width <= height else (int(256 * long / short), 256)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    cropped = np.asarray(image.crop((left, top, left + 224, top + 224)))
    file = folder / f"{index}.JPEG"
    Image.fromarray(Corruption(name, severity)(cropped, index)).save(file, quality=85, optimize=True)
    return np.asarray(Image.open(file))


@pytest.mark.data
def test_regenerated_images_are_made_as_imagenet_c_was(real_imagenet_sample: Path, tmp_path: Path) -> None:
    """To the bit, on landscapes and portraits; JPEG makes of noise something else."""
    sample = other_test_sets.imagenet_sample(real_imagenet_sample, 224, datasets.info("imagenet"))
    wide = [Image.open(sample.path(index)).size for index in range(60)]
    portrait = next(index for index, (width, height) in enumerate(wide) if width < height)
    images = sample.subset(torch.tensor([0, 1, portrait]))
    for name, severity in (("gaussian_noise", 5), ("motion_blur", 3), ("snow", 1), ("contrast", 5), ("pixelate", 2)):
        seen: dict[str, torch.Tensor] = {}
        for pipeline in ("regenerated", "in-memory"):
            benchmark = CommonCorruptions(pipeline=pipeline)  # type: ignore[arg-type]
            made = corrupted._pipeline(benchmark, EvaluationContext(images, "cpu", 3), CORRUPTIONS)(name, severity)
            (batch,) = batches(made, [torch.arange(3)], NoAugment(), 0, 0, "cpu", workers=0)
            seen[pipeline] = (batch[1] * 255).round().byte().permute(0, 2, 3, 1)
        for index in range(3):
            published = _as_published(images.path(index), name, severity, index, tmp_path)
            assert np.array_equal(seen["regenerated"][index].numpy(), published), (name, index)
        if name == "gaussian_noise":
            assert (seen["in-memory"].float() - seen["regenerated"].float()).abs().mean() > 11
