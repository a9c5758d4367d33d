"""Schedules against the numbers of the papers and of the public TPU code."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from torch.optim import lr_scheduler

from experiments import lineage, spec
from jobs.engine import objectives
from jobs.engine.training import schedules

CEB = objectives.from_spec(spec.Ceb(rho=0.0))
VIB = objectives.from_spec(spec.Vib(rho=0.0))
IMAGENET = spec.Schedule(warmup_epochs=15.0, drops=(90.0, 180.0, 240.0), factor=0.1)
CIFAR10 = spec.Schedule(drops=(500.0, 1000.0, 1250.0), factor=0.3)


def tpu_learning_rate(epoch: float) -> float:
    """learning_rate_schedule of the public TPU ResNet code, with its list of (multiplier, first epoch)."""
    rates = [(1.0, 15), (0.1, 90), (0.01, 180), (0.001, 240)]
    rate = 1.6 * rates[0][0] * epoch / rates[0][1]
    for multiplier, first in rates:
        rate = rate if epoch < first else 1.6 * multiplier
    return rate


@given(st.floats(0, 270))
def test_the_imagenet_schedule_is_the_tpu_codes(epoch: float) -> None:
    ours = 1.6 * schedules.warmup(IMAGENET, epoch) * schedules.decline(IMAGENET, epoch)
    assert ours == pytest.approx(tpu_learning_rate(epoch), rel=1e-12)


@pytest.mark.parametrize(
    ("epoch", "factor"), [(0, 1), (499.99, 1), (500, 0.3), (999, 0.3), (1000, 0.09), (1250, 0.027), (1499, 0.027)]
)
def test_cifar10_drops_at_the_start_of_the_named_epochs(epoch: float, factor: float) -> None:
    assert schedules.drops(CIFAR10, epoch) == pytest.approx(factor)
    assert schedules.warmup(CIFAR10, epoch) == 1.0


STEPS = 40


def factors(schedule: spec.Schedule, epochs: float = 10.0, extends: tuple[int, ...] = ()) -> list[float]:
    """Those of STEPS steps within 10 epochs, and of the step behind them."""
    run = spec.Run(data=spec.Data(name="digits"), network=spec.SmallCnn(), objective=spec.Xent(), optimiser=spec.Adam(),
                   schedule=schedule, epochs=epochs, extends=extends or UNSET, batch=8)  # fmt: skip
    resolved = lineage.resolved_schedule(run)
    moments = [10 * step / STEPS for step in range(STEPS + 1)]
    return [schedules.warmup(resolved, epoch) * schedules.decline(resolved, epoch) for epoch in moments]


def by_torch(make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]) -> list[float]:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, rates = make(optimiser), []
    for _ in range(STEPS + 1):
        rates.append(scheduler.get_last_lr()[0])
        optimiser.step()
        if len(rates) <= STEPS:
            scheduler.step()
    return rates


def one_cycle(rise: float, **fields: Any) -> Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]:
    """torch's, which counts the last of its steps as the end: with one step more it is ours."""
    share = (rise * STEPS + 1) / (STEPS + 1)
    return lambda optimiser: lr_scheduler.OneCycleLR(
        optimiser, 1.0, total_steps=STEPS + 1, pct_start=share, cycle_momentum=False, **fields
    )


TORCHS: list[tuple[spec.Schedule, Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]]] = [
    (spec.Schedule(name="cosine"), lambda optimiser: lr_scheduler.CosineAnnealingLR(optimiser, STEPS)),
    (
        spec.Schedule(name="cosine", final_factor=0.1),
        lambda optimiser: lr_scheduler.CosineAnnealingLR(optimiser, STEPS, eta_min=0.1),
    ),
    (
        spec.Schedule(name="cosine", warmup_epochs=2.5),
        lambda optimiser: lr_scheduler.SequentialLR(
            optimiser,
            [
                lr_scheduler.LambdaLR(optimiser, lambda step: step / 10),
                lr_scheduler.CosineAnnealingLR(optimiser, STEPS - 10),
            ],
            [10],
        ),
    ),
    (spec.Schedule(name="polynomial"), lambda optimiser: lr_scheduler.LinearLR(optimiser, 1.0, 0.0, STEPS)),
    (spec.Schedule(name="polynomial", power=2), lambda optimiser: lr_scheduler.PolynomialLR(optimiser, STEPS, 2.0)),
    (spec.Schedule(name="one_cycle"), one_cycle(0.3)),
    (
        spec.Schedule(name="one_cycle", rise=0.5, initial_factor=0.1, final_factor=0.05, anneal="linear"),
        one_cycle(0.5, div_factor=10, final_div_factor=2, anneal_strategy="linear"),
    ),
]


@pytest.mark.parametrize(("schedule", "torchs"), TORCHS)
def test_the_rates_are_torchs(schedule: spec.Schedule, torchs: Any) -> None:
    assert factors(schedule) == pytest.approx(by_torch(torchs), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", ["cosine", "polynomial", "one_cycle"])
def test_a_run_that_extends_goes_on_by_the_schedule_of_the_first(name: Any) -> None:
    """Not by one over its own length; a horizon that is set is the same for every length."""
    first = factors(spec.Schedule(name=name, final_factor=0.2))
    assert factors(spec.Schedule(name=name, final_factor=0.2), 30.0, (10, 20)) == first
    assert factors(spec.Schedule(name=name, final_factor=0.2, horizon_epochs=10.0), 30.0) == first
    assert factors(spec.Schedule(name=name, final_factor=0.2), 30.0) != first
    assert factors(spec.Schedule(name=name, final_factor=0.2, horizon_epochs=4.0))[17:] == pytest.approx([0.2] * 24)


@given(st.floats(-20, 300))
def test_gamma_and_rho_are_inverses(rho: float) -> None:
    for objective in (CEB, VIB):
        assert objective.rho_of(objective.gamma_of(rho)) == pytest.approx(rho, rel=1e-9, abs=1e-6)


def test_the_gammas_are_those_of_the_equations() -> None:
    assert CEB.gamma_of(3.0) == pytest.approx(math.exp(-3))
    assert VIB.gamma_of(3.0) == pytest.approx(1 / (1 + math.exp(3)))
    assert VIB.gamma_of(100.0) == pytest.approx(math.exp(-100))
    assert CEB.rho_of(0.0) == VIB.rho_of(0.0) == math.inf


def test_without_a_jump_start_the_target_is_in_force_at_once() -> None:
    assert schedules.gamma(CEB, 2.0, spec.NoJumpStart(), 0, 10, None) == math.exp(-2)


@pytest.mark.parametrize("objective", [CEB, VIB])
def test_the_gamma_jump_start_is_linear_in_gamma_not_in_rho(objective: objectives.Objective) -> None:
    jump_start = spec.GammaJumpStart(steps=12_000)

    def gamma(step: int) -> float:
        return schedules.gamma(objective, 3.0, jump_start, step, 156, None)

    target = objective.gamma_of(3.0)
    assert gamma(0) == objective.gamma_of(100.0)
    assert gamma(6_000) == pytest.approx(target / 2)
    assert gamma(12_000) == gamma(500_000) == target


def gated(step: int, passed_step: int | None, rho: float = 0.0) -> float:
    return schedules.gated_rho(spec.GatedJumpStart(), rho, step, 100, passed_step)


def test_the_gated_jump_start_falls_holds_and_goes_on() -> None:
    assert [gated(step, None) for step in (0, 100, 200, 5000)] == [100.0, 55.0, 10.0, 10.0]
    assert [gated(step, 700) for step in (700, 750, 800, 9000)] == [10.0, 5.0, 0.0, 0.0]


def test_a_gate_passed_while_rho_still_falls_waits_for_the_fall() -> None:
    assert [gated(step, 100) for step in (100, 150, 200, 250, 300)] == [55.0, 32.5, 10.0, 5.0, 0.0]


@given(st.integers(0, 2000), st.integers(0, 1500))
def test_the_gated_jump_start_never_jumps(step: int, passed_step: int) -> None:
    passed = passed_step if step >= passed_step else None
    following = passed_step if step + 1 >= passed_step else None
    assert 0 <= gated(step, passed, -1.0) - gated(step + 1, following, -1.0) <= 0.45 + 1e-9


def test_the_gate_opens_above_the_threshold_and_stays_open() -> None:
    jump_start = spec.GatedJumpStart(threshold=0.2)
    assert schedules.gate_passed(jump_start, 0.2, 300, None) is None
    assert schedules.gate_passed(jump_start, 0.21, 400, None) == 400
    assert schedules.gate_passed(jump_start, 0.1, 500, 400) == 400
    assert schedules.gate_passed(spec.NoJumpStart(), 0.9, 300, None) is None
