"""Means over steps, and the losses that are taken for an explosion."""

from __future__ import annotations

import pytest
import torch

from jobs.engine.distributed import Group
from jobs.engine.errors import DivergedError
from jobs.engine.metrics import EXPLODED, Meter, Pending


@pytest.mark.parametrize("sign", [1, -1])
def test_a_loss_above_a_million_nats_is_an_explosion(sign: int) -> None:
    meter, pending = Meter(), Pending()
    pending.add(1, 2, {"loss": torch.tensor(sign * 1e6)})
    pending.collect(None, Group.default(), meter)
    assert meter.means() == {"loss": sign * 1e6}
    pending.add(2, 2, {"loss": torch.tensor(sign * 1.1e6)})
    with pytest.raises(DivergedError, match=r"loss exploded to -?1.1e\+06 at step 2"):
        pending.collect(None, Group.default(), meter)


def test_what_else_is_large_is_no_explosion() -> None:
    pending, meter = Pending(), Meter()
    pending.add(1, 1, {"rate": torch.tensor(10 * EXPLODED)})
    pending.collect(None, Group.default(), meter)
    assert meter.means() == {"rate": 10 * EXPLODED}
