"""The loss of smoothed labels against torch's cross-entropy. Shapes: B images, Z dimensions of z."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from experiments import spec
from experiments.resources import Execution
from jobs.engine.models import build
from jobs.engine.training.loss_module import LossModule


@pytest.mark.parametrize("objective", [spec.Xent(), spec.Vib(rho=1.0), spec.Ceb(rho=1.0), spec.Cceb(rho=1.0)])
def test_smoothing_is_torchs_in_the_classifiers_term_alone(
    change: Callable[..., spec.Run], objective: spec.Objective
) -> None:
    run = change(objective=objective, label_smoothing=0.2, precision="fp64")
    model = build(run)
    x_BCHW, y_B = torch.rand(6, 1, 8, 8, dtype=torch.float64), torch.arange(6)
    noise_BZ = torch.randn(6, 4, dtype=torch.float64)
    module = LossModule(run, model, Execution())
    plain = LossModule(change(objective=objective, precision="fp64"), model, Execution())
    (_, smoothed), (_, labelled) = (each(x_BCHW, y_B, noise_BZ, 0.3) for each in (module, plain))
    z_BZ = model.encode(x_BCHW) + (noise_BZ if module.objective.noisy else 0)
    logits_BK = model.logits(z_BZ)
    change_of_the_term = cross_entropy(logits_BK, y_B, label_smoothing=0.2) - cross_entropy(logits_BK, y_B)
    torch.testing.assert_close(smoothed["loss"], labelled["loss"] + change_of_the_term.detach())
    assert smoothed.keys() == labelled.keys()
    assert all(torch.equal(smoothed[name], labelled[name]) for name in smoothed.keys() - {"loss"})


def test_its_gradient_is_torchs(change: Callable[..., spec.Run]) -> None:
    run = change(objective=spec.Xent(), label_smoothing=0.3, precision="fp64")
    model = build(run)
    x_BCHW, y_B = torch.rand(5, 1, 8, 8, dtype=torch.float64), torch.arange(5)
    loss, _ = LossModule(run, model, Execution())(x_BCHW, y_B, torch.empty(5, 0), 0.0)
    ours = torch.autograd.grad(loss, list(model.parameters()))
    theirs = torch.autograd.grad(
        cross_entropy(model.classify(x_BCHW), y_B, label_smoothing=0.3), list(model.parameters())
    )
    for gradient, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, expected)
