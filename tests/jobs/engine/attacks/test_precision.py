"""What attacks are computed in."""

from __future__ import annotations

import pytest
import torch

from jobs.engine.attacks.precision import full_precision


@pytest.mark.parametrize("before", [False, True])
def test_tf32_is_off_inside_and_as_before_behind(before: bool) -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    kept = matmul.allow_tf32, cudnn.allow_tf32
    try:
        matmul.allow_tf32 = cudnn.allow_tf32 = before
        with pytest.raises(ZeroDivisionError), full_precision("cpu"):
            assert not matmul.allow_tf32 and not cudnn.allow_tf32
            raise ZeroDivisionError
        assert matmul.allow_tf32 is before and cudnn.allow_tf32 is before
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = kept


def test_autocast_ends_inside() -> None:
    a_AA = torch.rand(4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert (a_AA @ a_AA).dtype == torch.bfloat16
        with full_precision("cpu"):
            assert (a_AA @ a_AA).dtype == torch.float32
