"""The counted costs of networks, against the table in experiments/ and against what training really takes."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from experiments import costs
from experiments.matrix.load import distinct_networks
from experiments.spec import Adam, Ceb, Data, Run, Sgd, SmallCnn, WideResNet, Xent
from jobs.engine import flops
from jobs.engine.models import build
from jobs.engine.training import optimisers

EXPERIMENTS = Path(__file__).parents[3] / "experiments"


def test_the_table_is_what_the_engine_counts() -> None:
    """`python -m jobs.engine.flops --write experiments` brings it up to date."""
    found = {costs.count_key(run): flops.count(run) for run in distinct_networks(EXPERIMENTS)}
    assert found == costs.network_counts()


def test_a_network_counted_by_hand() -> None:
    run = Run(data=Data(name="digits"), network=SmallCnn(width=4, z_dim=3), objective=Xent(), optimiser=Adam(),
              epochs=1, batch=8)  # fmt: skip
    counted = flops.count(run)
    assert counted.macs == 64 * 9 * 4 + 16 * 9 * 4 * 8 + 4 * 9 * 8 * 8 + 32 * 3
    assert counted.parameters == (9 * 4 + 4) + (9 * 4 * 8 + 8) + (9 * 8 * 8 + 8) + (32 * 3 + 3)


def _peak_bytes(network: torch.nn.Module, images: int) -> int:
    """The most that torch has allocated at once in a forward and backward pass, beyond what was there before."""
    x_BCHW = torch.rand(images, 3, 32, 32)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        network(x_BCHW).sum().backward()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(itertools.accumulate(changes))


@pytest.mark.parametrize(
    "network",
    [WideResNet(blocks=1, width=4), WideResNet(blocks=1, width=4, norm="batch"), WideResNet(blocks=2, width=2),
     SmallCnn(width=32)],
    ids=str,
)  # fmt: skip
def test_memory_per_image_is_a_little_more_than_torch_allocates(network: WideResNet | SmallCnn) -> None:
    run = Run(data=Data(name="cifar10"), network=network, objective=Xent(), optimiser=Sgd(lr=0.1), epochs=1, batch=8)
    counted, built = flops.count(run), build(run).network
    _peak_bytes(built, 1)  # gradients exist from here on
    measured = _peak_bytes(built, 48) - _peak_bytes(built, 16)
    estimate = costs.network_bytes(run, counted, 48) - costs.network_bytes(run, counted, 16)
    assert measured <= 1.02 * estimate <= 1.25 * measured


@pytest.mark.parametrize("optimiser", [Adam(), Sgd(lr=0.1), Sgd(lr=0.1, momentum=0.0)], ids=repr)
@pytest.mark.parametrize("objective", [Xent(), Ceb(rho=1)], ids=lambda o: type(o).__name__)
def test_a_checkpoint_has_the_size_it_was_said_to_have(optimiser: Adam | Sgd, objective: Xent | Ceb) -> None:
    run = Run(data=Data(name="cifar10"), network=WideResNet(blocks=1, width=2), objective=objective,
              optimiser=optimiser, epochs=1, batch=8)  # fmt: skip
    model = build(run)
    made = [optimisers.build(optimiser, model)]
    if model.marginal is not None:
        made.append(optimisers.build_marginal(0.1, model.marginal))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for one in made:
        one.step()
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimisers": [one.state_dict() for one in made]}, file)
    assert costs.checkpoint_bytes(run, flops.count(run)) == pytest.approx(file.tell(), rel=0.03)
