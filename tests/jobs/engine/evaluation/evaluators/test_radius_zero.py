"""At a negligible radius, the robust accuracy of every attack is the accuracy of the classifier that it judges.

One network, trained by CEB at rho 0: there z is so noisy that no two draws of it agree on many images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from experiments import spec
from experiments.benchmarks import AutoAttack, Benchmark, GradientAudit, Pgd, Transfer
from jobs.engine import checkpoint_format
from jobs.engine.data import ImageSet, load
from jobs.engine.evaluation.evaluators import EVALUATORS, EvaluationContext, ImageValues
from jobs.engine.models import CebModel
from jobs.engine.training.loop import train
from jobs.paths import RunPaths

EPS = 1e-6
RUN = spec.Run(
    data=spec.Data(name="digits"),
    network=spec.SmallCnn(width=8, z_dim=8),
    objective=spec.Ceb(rho=0.0, jump_start=spec.GammaJumpStart(steps=100)),
    optimiser=spec.Adam(lr=1e-2),
    epochs=8,
    batch=64,
)
NORMS = ("linf", "l2")
PGD = [
    *({"loss": loss} for loss in ("cross_entropy", "margin", "dlr")),
    {"target": 3},
    {"target": "random", "loss": "dlr"},
    {"restarts": 3},
    {"random_start": False},
]
ATTACKS = [
    *((Pgd, {"steps": 3} | options) for options in PGD),
    (Transfer, {"steps": 3, "source": "r" + "1" * 16}),
    (AutoAttack, {"subset": 20}),
    (GradientAudit, {"steps": 2, "queries": 50}),
]
"""Against the classifier over mean encodings."""
SAMPLED = [("linf", {}), ("l2", {}), ("linf", {"draws": 1}), ("l2", {"draws": 40})]
"""Of AutoAttack's `rand`: unset, the classifier averages over 20 draws of z."""
SUBSET = 180


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CebModel:
    paths = RunPaths(tmp_path_factory.mktemp("run"))
    train(RUN, paths, None, Path(), "cpu", lambda: False)
    return checkpoint_format.load_model(RUN, paths.checkpoints).model.eval()


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return load(RUN.data, "test", Path())


def found(model: CebModel, images: ImageSet, benchmark: Benchmark, batch: int = 500) -> dict[str, ImageValues]:
    context = EvaluationContext(images, "cpu", batch, load_model=lambda _: model)
    return {one.name: one for one in EVALUATORS[type(benchmark)](model, context, benchmark, 0)}


def right(model: CebModel, images: ImageSet, draws: int = 0) -> Tensor:
    """Return for each image whether the average of the probabilities over draws of z is right, by torch's generator; 0
    draws: over mean encodings."""
    with torch.no_grad():
        f_NZ = model.encode(images.images_NCHW.float() / 255)  # type: ignore[union-attr]
        zs = [f_NZ + torch.randn_like(f_NZ) for _ in range(draws)] or [f_NZ]
        p_NK = torch.stack([model.logits(z_NZ).softmax(dim=1) for z_NZ in zs]).mean(dim=0)
    return p_NK.argmax(dim=1) == images.labels_N


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("kind", "options"), ATTACKS, ids=str)
def test_over_mean_encodings(
    kind: type[Benchmark], options: dict[str, Any], norm: str, model: CebModel, images: ImageSet
) -> None:
    own_N = right(model, images)
    by_name = found(model, images, kind(norm=norm, eps=EPS, **options))
    robust = {name: one for name, one in by_name.items() if one.unit == "accuracy" and name != "audit_large_eps"}
    assert robust
    for name, one in robust.items():
        assert (one.values_M != own_N[one.samples_M]).sum() <= 1, name  # one image may lie on a border


@pytest.mark.parametrize(("norm", "options"), SAMPLED, ids=str)
def test_over_sampled_z(norm: str, options: dict[str, int], model: CebModel, images: ImageSet) -> None:
    """Each image is right with a probability of its own, known here from 200 trials, which leaves the count little
    room: four standard deviations are four to eleven points."""
    torch.manual_seed(0)
    attack = AutoAttack(norm=norm, eps=EPS, version="rand", subset=SUBSET, **options)
    one = found(model, images, attack)[f"autoattack_{norm}"]
    trials_TN = torch.stack([right(model, images, options.get("draws", 20)) for _ in range(200)]).double()
    chance_N = trials_TN.mean(dim=0)[one.samples_M]
    spread = (chance_N * (1 - chance_N)).sum().sqrt().item() / SUBSET
    assert one.values_M.double().mean() == pytest.approx(chance_N.mean().item(), abs=4 * spread + 1e-9)


def test_a_radius_worth_the_name_is_felt_by_every_predictor(model: CebModel, images: ImageSet) -> None:
    """The classifier over sampled z falls as far as the one over mean encodings does."""
    over_means = found(model, images, Pgd(norm="linf", eps=0.15, steps=20))["pgd_linf"].values_M.double().mean()
    for options in ({}, {"draws": 1}):
        attack = AutoAttack(norm="linf", eps=0.15, version="rand", subset=SUBSET, **options)
        robust = found(model, images, attack)["autoattack_linf"].values_M.double().mean()
        assert robust < over_means + 0.05 < 0.6


def test_the_draws_are_the_images_not_the_batchs(model: CebModel, images: ImageSet) -> None:
    attack = AutoAttack(norm="linf", eps=0.05, version="rand", subset=80)
    at_once, in_parts = (found(model, images, attack, batch)["autoattack_linf"] for batch in (80, 33))
    assert torch.equal(at_once.samples_M, in_parts.samples_M)
    assert (at_once.values_M != in_parts.values_M).sum() <= 1  # another batch, another rounding
