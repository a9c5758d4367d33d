"""Benchmarks and attack losses of one's own.

A benchmark is a function of (model, images, labels, rng) and its fields that returns a value per image.
`model.classify(images)` are logits over mean encodings of images in [0, 1]. A bool per image is an accuracy, a float is
reported as its mean. Several measures are a mapping of the names that the return annotation lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from experiments.benchmarks import BenchmarkPart, tag
from experiments.spec import Part
from jobs import own_parts
from jobs.engine.attacks.losses import LossFunction
from jobs.engine.evaluation.evaluators.context import BatchFn, EvaluationContext, ImageValues
from jobs.engine.image_draws import ImageDraws
from jobs.engine.models import CebModel
from jobs.own_parts import PartError


def evaluate(model: CebModel, context: EvaluationContext, benchmark: BenchmarkPart, seed: int) -> Iterator[ImageValues]:
    """Yield each measure of the benchmark. Raises PartError for values of another shape or name than expected."""
    return context.each_batch(own_measure(model, benchmark, seed), subset=benchmark.subset)


def own_measure(model: CebModel, benchmark: BenchmarkPart, seed: int) -> BatchFn:
    """Return the benchmark as a function of a batch. Its values raise PartError as those of `evaluate` do."""
    function = own_parts.load(benchmark, "benchmark")

    def measure_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[ImageValues]:
        rng = ImageDraws(seed, tag(benchmark), 0, samples_B, x_BCHW.device)
        returned = function(model, x_BCHW, y_B, rng, **benchmark.fields)
        for name, values_B in _named(benchmark, returned).items():
            yield _image_values(benchmark, name, samples_B, values_B)

    return measure_batch


def own_loss(part: Part) -> LossFunction:
    """Return a loss of one's own for an attack: of (logits, labels) and its fields, what the attack climbs for each
    image. Raises PartError for a loss of another shape, or without a gradient."""
    function = own_parts.load(part, "loss")

    def loss(logits_BK: Tensor, y_B: Tensor) -> Tensor:
        value = function(logits_BK, y_B, **part.fields)
        if not isinstance(value, Tensor) or value.shape != y_B.shape:
            got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise PartError(part, f"returns {got} for {len(y_B)} images; expected one value for each")
        if logits_BK.requires_grad and not value.requires_grad:
            raise PartError(part, "returns a loss without a gradient to the logits")
        return value

    return loss


def _named(benchmark: BenchmarkPart, returned: object) -> Mapping[str, object]:
    """Return what the function returned by the columns of the benchmark."""
    own = tag(benchmark)
    if benchmark.columns == (own,):
        return {own: returned}
    expected = [column.removeprefix(f"{own}_") for column in benchmark.columns]
    if not isinstance(returned, Mapping) or sorted(returned) != sorted(expected):
        got = ", ".join(map(str, returned)) if isinstance(returned, Mapping) else type(returned).__name__
        raise PartError(benchmark, f"returns {got}; its annotation says a mapping of {', '.join(expected)}")
    return {f"{own}_{name}": values for name, values in returned.items()}


def _image_values(benchmark: BenchmarkPart, name: str, samples_B: Tensor, values_B: object) -> ImageValues:
    images = len(samples_B)
    if not isinstance(values_B, Tensor) or values_B.shape != (images,) or values_B.is_complex():
        shape = (
            f"a tensor of shape {tuple(values_B.shape)}" if isinstance(values_B, Tensor) else type(values_B).__name__
        )
        raise PartError(benchmark, f"returns {shape} for {images} images; expected one bool or float for each")
    values_B = values_B.detach()
    is_bool = not values_B.is_floating_point()
    return ImageValues(name, "accuracy" if is_bool else "score", samples_B, values_B.bool() if is_bool else values_B)
