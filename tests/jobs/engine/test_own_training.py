"""Training with parts of one's own: those that do what a built-in one does give its numbers, and all of them resume.

Shapes: B images, Z dimensions of z.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch

from experiments import spec
from experiments.resources import Execution
from jobs.engine import checkpoint_format
from jobs.engine.data import batches, load
from jobs.engine.models import build
from jobs.engine.training import optimisers, schedules
from jobs.errors import Stopped
from jobs.own_parts import PartError

PARTS = """
import math
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD

def cnn(image, width: int = 2, z_dim: int = 4, rate: float = 0.0):
    layers = []
    for before, after, stride in ((image.channels, width, 1), (width, 2 * width, 2), (2 * width, 2 * width, 2)):
        layers += [nn.Conv2d(before, after, 3, stride, 1), nn.ReLU(), nn.Dropout(rate)]
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(z_dim))
def ceb(model, f, z, y, gamma, factor: float = 1.0):
    residual = (model.log_encoder(z, f) - model.log_backward_encoder(z, y)).mean()
    return cross_entropy(model.logits(z), y) + factor * gamma * residual
def named(model, f, z, y, gamma):
    return {"loss": ceb(model, f, z, y, gamma), "rate": z.square().mean()}
def pairs(model, f, z, y, gamma): return f, z
def per_image(model, f, z, y, gamma): return cross_entropy(model.logits(z), y, reduction="none")
def constant(model, f, z, y, gamma): return torch.ones(())
def sgd(parameters, lr: float = 0.01, momentum: float = 0.9):
    return SGD(parameters, lr=lr, momentum=momentum, nesterov=True, weight_decay=1e-4)
def two_rates(parameters, lr: float = 0.01):
    first, *others = [p for group in parameters for p in group["params"]]
    return SGD([{"params": [first]}, {"params": others, "lr": lr / 10}], lr=lr)
class mixture(nn.Module):
    def __init__(self, z_dim, classes, scale: float = 1.0):
        super().__init__()
        self.means = nn.Parameter(scale * torch.randn(2 * classes, z_dim) * z_dim**-0.5)
        self.logits = nn.Parameter(torch.zeros(2 * classes))
    def forward(self, z):
        log_probs = torch.distributions.Normal(self.means, 1.0).log_prob(z[:, None]).sum(dim=2)
        return (log_probs + self.logits.log_softmax(dim=0)).logsumexp(dim=1)
def normal(z_dim, classes, std: float = 1.0):
    return lambda z: torch.distributions.Normal(0, std).log_prob(z).sum(dim=1)
def per_dimension(z_dim, classes): return torch.distributions.Normal(0.0, 1.0).log_prob
def no_marginal(z_dim, classes): return z_dim
def no_optimiser(parameters): return list(parameters)
def cosine(progress, least: float = 0.0): return least + (1 - least) * (1 + math.cos(math.pi * progress)) / 2
def below_zero(progress): return 0.5 - progress
def shift(images, rng, width: float = 0.1): return images + width * rng.uniform(1, 1, 1)
def cut(images, rng): return images[:, :, 1:]
def grey(image): return lambda images: images
def flat(image): return nn.Flatten(0)
def thin(image): return nn.Conv2d(image.channels + 1, 2, 3)
"""


@pytest.fixture
def part(own_part: Any) -> Callable[..., Any]:
    def part(name: str, role: str, **values: object) -> spec.Part:
        return own_part(PARTS, name, role, **values)

    return part


def weights(attempt: Any, run: spec.Run, **options: Any) -> dict[str, torch.Tensor]:
    attempt(run, **options)
    loaded = checkpoint_format.load_newest(run, attempt.paths.checkpoints)
    assert loaded is not None
    return dict(loaded.state["model"])


def assert_close(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], msg=name)


@pytest.mark.parametrize(
    ("field", "own", "built_in"),
    [
        ("objective", ("ceb", {"rho": 1.0}), spec.Ceb(rho=1.0)),
        ("optimiser", ("sgd", {"lr": 0.02}), spec.Sgd(lr=0.02, weight_decay=1e-4)),
        ("schedule", ("cosine", {}), spec.Schedule(name="cosine")),
    ],
)
def test_one_that_does_what_a_built_in_one_does_gives_its_numbers(
    field: str, own: Any, built_in: Any, part: Any, change: Any, new_attempt: Any
) -> None:
    mine = part(own[0], field, **own[1])
    mine = spec.Schedule(own=mine) if field == "schedule" else mine
    plain = Execution(update="for-loop")
    ours = weights(new_attempt("ours"), change(**{field: mine}), execution=plain)
    theirs = weights(new_attempt("theirs"), change(**{field: built_in}), execution=plain)
    assert_close(ours, theirs)


@pytest.mark.parametrize("kind", [spec.Vib, spec.Ceb])
def test_a_mixture_of_ones_own_is_the_built_in_one(kind: Any, part: Any, change: Any, new_attempt: Any) -> None:
    own = kind(rho=1.0, marginal=spec.Marginal(own=part("mixture", "marginal", marginal_lr=2e-2)))
    ours = weights(new_attempt("ours"), change(objective=own))
    theirs = weights(new_attempt("theirs"), change(objective=kind(rho=1.0, marginal=spec.Marginal(marginal_lr=2e-2))))
    renamed = {"marginal.means_MZ": "marginal.density.means", "marginal.logits_M": "marginal.density.logits"}
    assert_close(ours, {renamed.get(name, name): tensor for name, tensor in theirs.items()})


def test_a_marginal_without_parameters_is_fixed(part: Any, change: Any, new_attempt: Any) -> None:
    marginal = spec.Marginal(own=part("normal", "marginal", std=2.0))
    ours = weights(new_attempt("fixed"), change(objective=spec.Vib(rho=0.0, marginal=marginal)))
    assert not any(name.startswith("marginal") for name in ours)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("per_dimension", r"returns shape \(2, 4\) for z of shape \(2, 4\); expected log m\(z\) of shape \(2,\)"),
        ("no_marginal", r"returns int; expected a function or module from z to log m\(z\)"),
    ],
)
def test_a_marginal_that_is_none_is_told_what_was_expected(part: Any, change: Any, name: str, message: str) -> None:
    with pytest.raises(PartError, match=message):
        run = change(objective=spec.Vib(rho=0.0, marginal=spec.Marginal(own=part(name, "marginal"))))
        build(run).log_marginal(torch.zeros(2, 4))


def test_a_run_of_ones_own_parts_goes_on_bit_for_bit(part: Any, change: Any, new_attempt: Any) -> None:
    run = change(
        network=part("cnn", "network", rate=0.2),
        objective=part("named", "objective", rho=2.0, jump_start={"name": "gamma", "steps": 9}),
        optimiser=part("two_rates", "optimiser"),
        schedule=spec.Schedule(own=part("cosine", "schedule", least=0.1)),
        data=spec.Data(name="digits", train_subset=60, augment=part("shift", "augment")),
    )
    whole = weights(new_attempt("whole"), run)
    stopped, left = new_attempt("stopped"), 24
    while left:
        steps = iter(range(min(5, left) - 1))
        with suppress(Stopped):
            stopped(run, lambda steps=steps: next(steps, None) is None)
        left -= min(5, left)
    resumed = weights(stopped, run)
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())
    assert any(name.startswith("backward_encoder") for name in whole)


def test_the_schedule_multiplies_the_rate_of_each_group(part: Any, change: Any) -> None:
    model = build(change())
    optimiser = optimisers.build(part("two_rates", "optimiser", lr=0.5), model)
    optimisers.set_lr(optimiser, 0.25)
    assert [group["lr"] for group in optimiser.param_groups] == [0.25, pytest.approx(0.025)]


def test_a_schedules_progress_ends_at_its_horizon(part: Any) -> None:
    schedule = spec.Schedule(own=part("cosine", "schedule", least=0.2, horizon_epochs=4.0))
    assert [schedules.decline(schedule, epoch) for epoch in (0.0, 2.0, 4.0, 9.0)] == pytest.approx([1, 0.6, 0.2, 0.2])


def test_an_images_augmentation_does_not_depend_on_its_batch(part: Any) -> None:
    images = load(spec.Data(name="digits"), "train", None)  # type: ignore[arg-type]
    augment = part("shift", "augment", width=0.4)
    [whole] = batches(images, [torch.arange(12)], augment, 1, 2, "cpu")
    parts = list(batches(images, [torch.arange(5), torch.arange(5, 12)], augment, 1, 2, "cpu"))
    assert torch.equal(torch.cat([x for _, x, _ in parts]), whole[1])
    [other] = batches(images, [torch.arange(12)], augment, 1, 3, "cpu")
    assert not torch.equal(other[1], whole[1]) and other[1].min() >= 0 and other[1].max() <= 1


@pytest.mark.parametrize(
    ("role", "name", "wrong"),
    [
        ("objective", "pairs", "returns tuple as loss; expected a scalar"),
        ("objective", "per_image", r"returns a tensor of shape \(8,\) as loss; expected a scalar"),
        ("objective", "constant", "returns a loss without a gradient to the model"),
        ("optimiser", "no_optimiser", r"returns list; expected a torch\.optim\.Optimizer"),
        ("schedule", "below_zero", r"returns -0\.\d+ at 0\.\d+; expected a finite number >= 0"),
        ("augment", "cut", r"returns shape \(8, 1, 7, 8\) for images \(8, 1, 8, 8\)"),
        ("network", "grey", r"returns function; expected a torch\.nn\.Module"),
        ("network", "flat", r"network: returned a tensor of shape \(128,\) for 2 images; expected features, \(2, Z\)"),
        ("network", "thin", r"RuntimeError: .*expected input.* to have 2 channels"),
    ],
)  # fmt: skip
def test_what_returns_something_else_is_told_what_was_expected(
    role: str, name: str, wrong: str, part: Any, change: Any, attempt: Any
) -> None:
    mine = part(name, role)
    fields: dict[str, Any] = {role: mine}
    if role == "schedule":
        fields = {"schedule": spec.Schedule(own=mine)}
    if role == "augment":
        fields = {"data": spec.Data(name="digits", train_subset=60, augment=mine)}
    with pytest.raises(PartError, match=rf"^parts\.py:{name}: {wrong}"):
        attempt(change(**fields))
