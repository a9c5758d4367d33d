"""The engine's numbers on the device against those on the CPU, in float32 of IEEE 754: TF32 is off in both.

What is asked, and why:

- losses and updates of two steps: 1e-4 of their length. Sums in another order, and convolutions by transforms, differ
  by some 1e-6 to 1e-5; TF32, which has 10 bits, would by 1e-3, a wrong kernel by 1.
- gradients with respect to images: 1e-4 of their length, likewise.
- verdicts behind attacks: one image, or 2% of them (`results.same_verdicts`).
- augmented images: 0.1% of the values by more than half a level of grey. Their draws are made on the CPU, and are the
  same; a pixel whose source lies between two of them may be taken from the other.
- corrupted images: equal. They are computed on the CPU, and copied.
- measures of evaluators: 1e-3 of a mean, one image or 2% of a count or a share.

Shapes: B images of a batch, C channels, H by W pixels, N images of a set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import msgspec
import torch
from torch import Tensor

from benchmarks.gpu.results import Result, at_most, checked, count_of_images, distance, guarded, same_verdicts, skipped
from benchmarks.gpu.steps import DIGITS, data_root, digits, one_thread, synthetic, take_steps
from experiments import benchmarks, spec
from experiments.benchmarks import AnyBenchmark, Norm, describe
from jobs.engine.attacks.autoattack import ATTACKS, autoattack, worst_points
from jobs.engine.attacks.pgd import gradient
from jobs.engine.attacks.precision import full_precision
from jobs.engine.corruptions import FUNCTIONS, Corruption
from jobs.engine.data import batches
from jobs.engine.data.images import MemoryImages
from jobs.engine.data.training_batches import training_batches
from jobs.engine.evaluation.evaluate import measure
from jobs.engine.evaluation.evaluators import EVALUATORS, EvaluationContext
from jobs.engine.evaluation.evaluators.pgd import attack, targets
from jobs.engine.models import CebModel

ROUNDING = 1e-4
"""Of losses, updates and gradients, relative."""
GREY_SHARE = 1e-3
MEAN = 1e-3
EPS: dict[Norm, float] = {"linf": 0.1, "l2": 0.5}
"""Radii at which the digits' network is wrong on some images, and right on others."""

OBJECTIVES: dict[str, dict[str, object]] = {
    "xent": {"objective": spec.Xent()},
    "vib": {"objective": spec.Vib(rho=1.0)},
    "vib, diagonal": {"objective": spec.Vib(rho=1.0, covariance="diagonal", bottleneck_dim=4)},
    "vib, full": {"objective": spec.Vib(rho=1.0, covariance="full", bottleneck_dim=4)},
    "vib, vamp": {"objective": spec.Vib(rho=1.0, marginal=spec.Marginal(name="vamp", components=5))},
    "ceb": {"objective": spec.Ceb(rho=1.0)},
    "ceb, diagonal": {"objective": spec.Ceb(rho=1.0, covariance="diagonal", bottleneck_dim=4)},
    "ceb, diagonal mixture": {"objective": spec.Ceb(rho=1.0, marginal=spec.Marginal(name="diagonal_mixture"))},
    "cceb": {"objective": spec.Cceb(rho=1.0)},
    "cceb, diagonal": {"objective": spec.Cceb(rho=1.0, covariance="diagonal", bottleneck_dim=4)},
    "adversarial, linf": {"adversary": spec.PgdAdversary(norm="linf", eps=0.1, steps=1, step_size=0.05)},
    "adversarial, l2": {"adversary": spec.PgdAdversary(norm="l2", eps=0.5, steps=2, step_size=0.3)},
    "smoothed, clipped, averaged": {"label_smoothing": 0.1, "clip_norm": 0.1, "ema_decay": 0.9},
    "mixed, erased": {"data": spec.Data(name="digits", mixup=0.2, cutmix=1.0, erasing=0.5)},
    "in parts": {"replica_batch": 3},
    "fp64": {"precision": "fp64"},
}

AUGMENTATIONS: dict[str, spec.Data] = {
    name: spec.Data(name="cifar10", **fields)  # type: ignore[arg-type]
    for name, fields in {
        "none": {},
        "crop_flip": {"augment": spec.CropFlip()},
        "autoaugment": {"augment": spec.AutoAugment(policy="cifar10")},
        "autoaugment, the authors'": {
            "augment": spec.AutoAugment(
                policy="cifar10", family="cifar10_authors", order="policy_first", crop_offsets=8, cutout=16, fill="mean"
            )
        },
        "autoaugment, ImageNet's authors'": {"augment": spec.AutoAugment(policy="imagenet", family="imagenet_authors")},
        "randaugment": {"augment": spec.RandAugment()},
        "trivialaugment": {"augment": spec.TrivialAugment()},
        "augmix": {"augment": spec.AugMix()},
        "erasing": {"erasing": 0.5},
        "mixup": {"mixup": 0.4},
        "cutmix": {"cutmix": 1.0},
    }.items()
}


def objectives(device: str, small: bool) -> Iterator[Result]:
    """Compare two steps of every objective, and of what else changes the loss."""
    for name, fields in OBJECTIVES.items():
        run = msgspec.structs.replace(DIGITS, **fields)
        yield from guarded(name, partial(_same_steps, name, run, device))


def _same_steps(name: str, run: spec.Run, device: str) -> Iterator[Result]:
    with one_thread():
        on_cpu = take_steps(run, digits(), "cpu", 2)
    on_device = take_steps(run, digits(), device, 2)
    losses = distance(torch.tensor(on_device.losses), torch.tensor(on_cpu.losses))
    yield at_most(f"{name}: losses", losses, ROUNDING, "relative distance")
    yield at_most(f"{name}: update", distance(on_device.update_P, on_cpu.update_P), ROUNDING, "relative distance")


def attacks(device: str, small: bool) -> Iterator[Result]:
    """Compare each attack: its gradients, and the verdicts behind it."""
    networks = _trained(device)
    batch = _test_images(8 if small else 32)
    with full_precision(device):  # cuDNN's convolutions are in TF32 otherwise
        for loss in ("cross_entropy", "margin", "dlr"):
            yield from guarded(f"gradient, {loss}", partial(_same_gradients, loss, networks, batch, device))
        for norm, eps in EPS.items():
            for loss, target, restarts in (("cross_entropy", "none", 2), ("margin", "random", 1), ("dlr", 3, 1)):
                name = f"pgd {norm}, {loss}, target {target}"
                pgd = benchmarks.Pgd(norm=norm, eps=eps, loss=loss, target=target, restarts=restarts)  # type: ignore[arg-type]
                yield from guarded(name, partial(_same_outcomes, name, partial(_pgd, pgd), networks, batch, device))
            if small and norm == "l2":
                continue
            for name in ("apgd_ce",) if small else ATTACKS:
                if name.endswith("restarts") and norm == "l2":  # five times as long, and no other code
                    continue
                run = partial(_autoattack, name, norm, eps)
                yield from guarded(name, partial(_same_outcomes, f"{name} {norm}", run, networks, batch, device))
            name, run = f"worst points {norm}", partial(_worst_points, norm, eps)
            yield from guarded(name, partial(_same_outcomes, name, run, networks, batch, device))


Images = tuple[Tensor, Tensor, Tensor]
"""Images in [0, 1], labels, and indices, which stay on the CPU."""
Verdicts = Callable[[CebModel, Tensor, Tensor, Tensor], Tensor]
"""(network, images, labels, indices) to a verdict for each image."""


def _same_gradients(loss: str, networks: tuple[CebModel, CebModel], batch: Images, device: str) -> Iterator[Result]:
    (x_BCHW, y_B, _), (on_device, on_cpu) = batch, networks
    gradients = (
        gradient(on_device.classify, x_BCHW.to(device), y_B.to(device), loss),  # type: ignore[arg-type]
        gradient(on_cpu.classify, x_BCHW, y_B, loss),  # type: ignore[arg-type]
    )
    yield at_most(f"gradient, {loss}", distance(*gradients), ROUNDING, "relative distance")


def _same_outcomes(
    name: str, verdicts: Verdicts, networks: tuple[CebModel, CebModel], batch: Images, device: str
) -> Iterator[Result]:
    (x_BCHW, y_B, samples_B), (on_device, on_cpu) = batch, networks
    verdicts_B = verdicts(on_device, x_BCHW.to(device), y_B.to(device), samples_B)
    yield same_verdicts(name, verdicts_B, verdicts(on_cpu, x_BCHW, y_B, samples_B))


def _pgd(benchmark: benchmarks.Pgd, model: CebModel, x_BCHW: Tensor, y_B: Tensor, samples_B: Tensor) -> Tensor:
    target_B = targets(benchmark.target, y_B, samples_B, 10, 0)
    return attack(model.classify, samples_B, x_BCHW, y_B, benchmark, 0, target_B).right_B


def _autoattack(
    name: str, norm: Norm, eps: float, model: CebModel, x_BCHW: Tensor, y_B: Tensor, samples_B: Tensor
) -> Tensor:
    return autoattack(model.classify, x_BCHW, y_B, samples_B, attacks=(name,), norm=norm, eps=eps, seed=0).right_B


def _worst_points(norm: Norm, eps: float, model: CebModel, x_BCHW: Tensor, y_B: Tensor, samples_B: Tensor) -> Tensor:
    """Return the class at each image's worst point."""
    ends_BCHW = worst_points(model.classify, x_BCHW, y_B, norm=norm, eps=eps, seed=0, samples_B=samples_B)
    return model.classify(ends_BCHW).argmax(dim=1)


def augmentations(device: str, small: bool) -> Iterator[Result]:
    """Compare the images and labels of a training batch under each augmentation."""
    images = synthetic("cifar10", 32 if small else 512)
    with one_thread(), full_precision(device):  # so that no processes are started for what is done image by image
        for name, data in AUGMENTATIONS.items():
            run = msgspec.structs.replace(DIGITS, data=data)
            yield from guarded(name, partial(_same_batch, name, run, images, device))


def _same_batch(name: str, run: spec.Run, images: MemoryImages, device: str) -> Iterator[Result]:
    order_N = torch.arange(len(images))
    (_, x_on, y_on), (_, x_BCHW, y_B) = (
        next(training_batches(images, [order_N], run, 0, order_N, where)) for where in (device, "cpu")
    )
    share = ((x_on.cpu() - x_BCHW).abs() > 0.5 / 255).double().mean().item()
    yield at_most(f"{name}: images", share, GREY_SHARE, "share of values that differ")
    yield at_most(f"{name}: labels", distance(y_on, y_B), ROUNDING, "relative distance")


def corruptions(device: str, small: bool) -> Iterator[Result]:
    """Compare each corruption of some images as an evaluation reads them, by workers into the device's memory."""
    images = synthetic("cifar10", 4 if small else 16)
    split = list(torch.arange(len(images)).split(4))
    for name in FUNCTIONS:
        corrupted = replace(images, transform=Corruption(name, 3), digest=name)
        read = {
            where: torch.cat(
                [
                    x_BCHW.cpu()
                    for _, x_BCHW, _ in batches(corrupted, split, spec.NoAugment(), 0, 0, where, workers=workers)
                ]
            )
            for where, workers in (("cpu", 0), (device, 0 if small else 2))
        }
        differing = int((read[device] != read["cpu"]).sum())
        yield checked(name, differing == 0, f"{differing} values differ", "none")


EVALUATIONS: tuple[AnyBenchmark, ...] = (
    benchmarks.Clean(),
    benchmarks.CleanHoldout(),
    benchmarks.Top5(),
    benchmarks.Information(),
    benchmarks.TrainInformation(subset=100),
    benchmarks.TrainingRate(),
    benchmarks.Calibration(),
    benchmarks.OutOfDistribution(against="photographs", subset=50),
    benchmarks.Pgd(norm="linf", eps=0.1, steps=5),
    benchmarks.Transfer(source="r0000000000000000", norm="l2", eps=0.5, steps=5),
    benchmarks.AutoAttack(norm="linf", eps=0.1, subset=4),
    benchmarks.AutoAttack(norm="l2", eps=0.5, version="rand", subset=4),
    benchmarks.GradientAudit(norm="linf", eps=0.1, steps=5, queries=20, subset=8),
    benchmarks.CommonCorruptions(pipeline="ours", subset=4),
    benchmarks.ExtraCorruptions(pipeline="ours", subset=4),
)
"""One of each kind that needs no published files."""
SLOW = (benchmarks.AutoAttack, benchmarks.ExtraCorruptions)
"""Left out of a small check: `attacks` and `corruptions` have what they are made of."""


def evaluators(device: str, small: bool) -> Iterator[Result]:
    """Compare what every evaluator measures on one network."""
    model, model_on = _trained(device)
    images = digits("test").subset(torch.arange(20 if small else 200))
    for benchmark in EVALUATIONS:
        name = describe(benchmark)
        if small and isinstance(benchmark, SLOW):
            yield skipped(name, "too slow for a small check")
            continue
        yield from guarded(name, partial(_same_measures, name, benchmark, images, (model_on, model), device))
    tried = {type(benchmark) for benchmark in EVALUATIONS}
    for kind in EVALUATORS.keys() - tried:
        own = kind is benchmarks.BenchmarkPart
        yield skipped(kind.__name__, "it is a user's own" if own else "it needs published files of another test set")


def _same_measures(
    name: str, benchmark: AnyBenchmark, images: MemoryImages, networks: tuple[CebModel, CebModel], device: str
) -> Iterator[Result]:
    with one_thread():  # so that no processes are started for each of the 95 sets of corrupted images
        on_device, on_cpu = (
            _measures(benchmark, images, model, where) for model, where in zip(networks, (device, "cpu"), strict=True)
        )
    yield from _compared(name, on_device, on_cpu)


def _measures(
    benchmark: AnyBenchmark, images: MemoryImages, model: CebModel, device: str
) -> dict[str, tuple[str, float, int]]:
    """Return unit, value and number of images of each measure, by name; counts as they are."""
    context = EvaluationContext(
        images, device, 50, load_model=lambda _: model, load_images=lambda _: digits().subset(torch.arange(200)),
        root=data_root(), epochs=lambda: [{"rate": 1.0}, {"rate": 2.0}], objective=spec.Ceb(rho=1.0),
    )  # fmt: skip
    with full_precision(device):
        measures = [measure(values) for values in EVALUATORS[type(benchmark)](model, context, benchmark, 0)]
    return {
        result.name: (
            result.unit,
            float(result.correct if result.correct is not None else result.value or 0.0),
            result.total,
        )
        for result in measures
    }


def _compared(
    name: str, on_device: dict[str, tuple[str, float, int]], on_cpu: dict[str, tuple[str, float, int]]
) -> Iterator[Result]:
    """Compare measures by name; one that is missing on a side fails."""
    if on_device.keys() != on_cpu.keys() or not on_device:
        yield checked(f"{name}: measures", False, ", ".join(on_device) or "none", ", ".join(on_cpu) or "some")
    for key in sorted(on_device.keys() & on_cpu.keys()):
        (unit, value, total), (_, expected, _) = on_device[key], on_cpu[key]
        if unit in ("accuracy", "success"):
            yield count_of_images(f"{name}: {key}", round(abs(value - expected)), total)
        elif unit in ("share", "error"):
            yield at_most(f"{name}: {key}", abs(value - expected), max(1 / total, 0.02), "difference")
        else:
            yield at_most(f"{name}: {key}", abs(value - expected), MEAN * max(1.0, abs(expected)), "difference")


def _trained(device: str) -> tuple[CebModel, CebModel]:
    """Return a network that has learned the digits in part, on the CPU and a copy on the device, in eval mode."""
    run = msgspec.structs.replace(DIGITS, objective=spec.Ceb(rho=3.0), optimiser=spec.Adam(lr=3e-3), batch=64)
    with one_thread():
        model = take_steps(run, digits(), "cpu", 60).model.eval()
    other = take_steps(run, digits(), "cpu", 0).model
    other.load_state_dict(model.state_dict())
    for parameter in (*model.parameters(), *other.parameters()):
        parameter.requires_grad_(False)
    return model, other.to(device).eval()


def _test_images(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return so many digits of the test set in [0, 1], their labels and their indices."""
    samples_B, x_BCHW, y_B = next(batches(digits("test"), [torch.arange(count)], spec.NoAugment(), 0, 0, "cpu"))
    return x_BCHW, y_B, samples_B
