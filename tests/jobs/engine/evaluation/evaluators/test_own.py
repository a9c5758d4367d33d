"""Benchmarks and attack losses of one's own: values per image, seeded draws, whose fault an error is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from experiments.benchmarks import BenchmarkPart, Pgd
from experiments.spec import Part, Xent
from jobs.engine.data import ImageSet
from jobs.engine.evaluation.evaluators import own, pgd
from jobs.engine.evaluation.evaluators.context import EvaluationContext
from jobs.engine.image_draws import ImageDraws
from jobs.engine.models import CebModel
from jobs.own_parts import PartError

PARTS = """
def noise(model, images, labels, rng, std: float = 0.5):
    noisy = images + std * rng.normal(*images.shape[1:]) + rng.uniform(1, 1, 1)
    return model.classify(noisy).argmax(dim=1) == labels
def both(model, images, labels, rng) -> "dict[Literal['low', 'high'], Tensor]":
    return {"low": images.flatten(1).amin(1), "high": images.flatten(1).amax(1)}
def one(model, images, labels, rng): return labels.float().mean()
def listed(model, images, labels, rng): return [1.0] * len(labels)
def misnamed(model, images, labels, rng) -> "dict[Literal['low'], Tensor]": return {"lowest": labels}
def entropy(logits, labels, weight: float = 1.0):
    return -weight * logits.log_softmax(1).gather(1, labels[:, None])[:, 0]
def flat(logits, labels): return entropy(logits, labels).mean()
def constant(logits, labels): return labels.float()
"""


@pytest.fixture
def part(own_part: Any) -> Callable[..., Part]:
    def part(name: str, role: str = "benchmark", **values: object) -> Part:
        return own_part(PARTS, name, role, **values)

    return part


def columns_of(
    model: CebModel, images: ImageSet, benchmark: BenchmarkPart, batch: int
) -> dict[str, tuple[str, Tensor]]:
    values = own.evaluate(model, EvaluationContext(images, "cpu", batch), benchmark, seed=3)
    return {column.name: (column.unit, column.values_M) for column in values}


def test_a_benchmarks_draws_are_the_images_own(part: Any, model_of: Any, digits: ImageSet) -> None:
    model, benchmark = model_of(Xent()), part("noise", subset=60)
    [(name, (unit, right_M))] = columns_of(model, digits, benchmark, batch=60).items()
    assert (name, unit, len(right_M), right_M.dtype) == ("noise", "accuracy", 60, torch.bool)
    assert torch.equal(columns_of(model, digits, benchmark, batch=7)["noise"][1], right_M)


def test_draws_are_those_of_their_distribution_and_never_twice_the_same() -> None:
    rng = ImageDraws(1, "x", 0, torch.arange(50), torch.device("cpu"))
    first_Bn, second_Bn, uniform_Bn = rng.normal(10, 40).flatten(1), rng.normal(400), rng.uniform(400)
    assert abs(first_Bn.mean()) < 0.03 and abs(first_Bn.std() - 1) < 0.03
    assert uniform_Bn.min() >= 0 and uniform_Bn.max() < 1 and abs(uniform_Bn.mean() - 0.5) < 0.01
    assert abs(torch.corrcoef(torch.stack([first_Bn.flatten(), second_Bn.flatten()]))[0, 1]) < 0.03


def test_several_measures_have_a_column_each(part: Any, model_of: Any, digits: ImageSet) -> None:
    columns = columns_of(model_of(Xent()), digits, part("both"), batch=100)
    assert {name: unit for name, (unit, _) in columns.items()} == {"both_low": "score", "both_high": "score"}
    assert columns["both_high"][1].max() == 1.0


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("one", r"^parts\.py:one: returns a tensor of shape \(\) for 100 images; expected one bool or float for each"),
        ("listed", "returns list for 100 images"),
        ("misnamed", "returns lowest; its annotation says a mapping of low"),
    ],
)
def test_values_of_another_shape_are_the_parts_fault(
    name: str, wrong: str, part: Any, model_of: Any, digits: ImageSet
) -> None:
    with pytest.raises(PartError, match=wrong):
        columns_of(model_of(Xent()), digits, part(name), batch=100)


def test_an_attack_by_the_cross_entropy_of_ones_own_is_the_built_in_one(
    part: Any, model_of: Any, digits: ImageSet
) -> None:
    built_in = Pgd(norm="linf", eps=0.2, steps=3, subset=40)
    mine = Pgd(norm="linf", eps=0.2, steps=3, subset=40, loss=part("entropy", "loss", weight=2))
    counts = [
        next(pgd.evaluate(model_of(Xent()), EvaluationContext(digits, "cpu", 20), attack, 0)).values_M  # type: ignore[union-attr]
        for attack in (built_in, mine)
    ]
    assert torch.equal(*counts) and not counts[0].all()


@pytest.mark.parametrize(
    ("name", "wrong"), [("flat", r"returns shape \(\) for 2 images"), ("constant", "without a gradient to the logits")]
)
def test_a_loss_that_can_not_be_climbed_is_the_parts_fault(name: str, wrong: str, part: Any) -> None:
    loss = own.own_loss(part(name, "loss"))
    logits_BK = torch.randn(2, 3, requires_grad=True)
    with pytest.raises(PartError, match=wrong):
        loss(logits_BK, torch.tensor([0, 1]))
