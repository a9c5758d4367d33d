"""The measures of a built network, against those counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from experiments.errors import InputError
from jobs.engine.models.probe import probe, probe_z_dim


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_network_counted_by_hand(device: str) -> None:
    with torch.device(device):
        network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 64, 7))
    measured = probe(network, channels=3, size=8)
    assert measured.macs == 64 * 27 * 4 + 4 * 64 * 7
    assert measured.parameters == (27 * 4 + 4) + 2 * 4 + (4 * 64 * 7 + 7)
    assert (measured.z_dim, measured.batch_norm) == (7, True)
    assert measured.z_dim == probe_z_dim(network, channels=3, size=8)
    assert measured.largest == 4 * 64 and measured.activations >= 3 * 64 + 2 * 4 * 64


class _Pair(nn.Module):
    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        return x_BCHW, x_BCHW


@pytest.mark.parametrize(
    ("network", "returned"),
    [(nn.Conv2d(1, 4, 3), r"a tensor of shape \(2, 4, 6, 6\)"), (_Pair(), "tuple"),
     (nn.Flatten(0), r"a tensor of shape \(128,\)")],
)  # fmt: skip
def test_what_returns_no_features_is_told_what_was_expected(network: nn.Module, returned: str) -> None:
    with pytest.raises(InputError, match=rf"network: returned {returned} for 2 images; expected features, \(2, Z\)"):
        probe(network, channels=1, size=8)
