"""A small convolutional network with a decision worth attacking, in fp32 and on one thread."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def trained() -> tuple[nn.Module, Tensor, Tensor]:
    """(network in eval mode, x_BCHW, y_B): trained until it is right on most of its 40 images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        centres_KCHW = 0.3 + 0.4 * torch.rand(4, 3, 6, 6)
        y_B = torch.arange(40) % 4
        x_BCHW = (centres_KCHW[y_B] + 0.2 * torch.randn(40, 3, 6, 6)).clamp(0, 1)
        body = [nn.Conv2d(3, 8, 3, padding=1), nn.ELU(), nn.Conv2d(8, 8, 3, stride=2), nn.ELU(), nn.Flatten()]
        network = nn.Sequential(*body, nn.Linear(32, 4))
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
        for _ in range(30):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(x_BCHW), y_B).backward()
            optimiser.step()
    network.eval()
    assert (network(x_BCHW).argmax(1) == y_B).float().mean() > 0.9
    return network, x_BCHW, y_B
