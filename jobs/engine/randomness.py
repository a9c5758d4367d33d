"""Counter-based random numbers: every draw is a pure function of (seed, stream, epoch, sample, position).

So a number depends neither on earlier draws nor on the other samples of the batch, and a resumed run or one with
another number of workers draws the same. `stream` is a name that keeps uses apart: "shuffle", "noise", ….

Each (seed, stream, epoch, sample) is the initial state of a SplitMix64 generator (Steele, Lea & Flood, 2014)
whose i-th output is the number at position i; its finaliser also mixes the four into that state. 64-bit integers
wrap alike on every device, so the bits are the same on CPU and CUDA; the logarithm and cosine of `normal` are
computed in float64 and may differ there in the last place.

Shapes: B samples, n numbers for each.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

_MASK = 2**64 - 1


def _signed(value: int) -> int:
    """Return the int64 of the same 64 bits."""
    value &= _MASK
    return value - 2**64 if value >= 2**63 else value


_GAMMA = _signed(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = _signed(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = _signed(0x94D049BB133111EB)


def bits(seed: int, stream: str, epoch: int, samples_B: Tensor, n: int) -> Tensor:
    """Return 64 random bits for each position, int64 of shape (B, n), on the device of `samples_B` (int64)."""
    states_B = _mix(samples_B * _GAMMA + _key(seed, stream, epoch))
    steps_n = torch.arange(1, n + 1, dtype=torch.int64, device=samples_B.device) * _GAMMA
    return _mix(states_B[:, None] + steps_n)


def uniform(
    seed: int, stream: str, epoch: int, samples_B: Tensor, n: int, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Return uniform numbers in [0, 1), of shape (B, n): as many leading bits as `dtype` holds, so never rounded to
    1."""
    digits = 53 if dtype == torch.float64 else 24
    leading_Bn = _shift_right(bits(seed, stream, epoch, samples_B, n), 64 - digits)
    return leading_Bn.to(dtype) * 2.0**-digits


def normal(seed: int, stream: str, epoch: int, samples_B: Tensor, n: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return standard normal numbers of shape (B, n), two for each two positions (Box & Muller, 1958)."""
    pairs = (n + 1) // 2
    leading_BP2 = _shift_right(bits(seed, stream, epoch, samples_B, 2 * pairs), 11).view(-1, pairs, 2)
    first_BP, second_BP = leading_BP2.double().mul_(2.0**-53).unbind(2)
    # log(1 - u), since u may be 0; 1 - u is exact for multiples of 2^-53, and log1p takes ten times as long.
    radius_BP = (1 - first_BP).log_().mul_(-2).sqrt_()
    angle_BP = 2 * math.pi * second_BP
    both_BP2 = torch.stack([angle_BP.cos().mul_(radius_BP), angle_BP.sin().mul_(radius_BP)], dim=2)
    return both_BP2.flatten(1)[:, :n].to(dtype)


def permutation(seed: int, stream: str, epoch: int, n: int) -> Tensor:
    """Return a random order of 0 … n - 1, int64 of shape (n,) on the CPU: the samples in order of their bits."""
    return torch.argsort(bits(seed, stream, epoch, torch.arange(n), 1).squeeze(1), stable=True)


def _key(seed: int, stream: str, epoch: int) -> int:
    """Return 64 bits that stand for the three as an int64; SHA-256, because this is computed once a batch and on the
    CPU."""
    name = f"{seed}\0{epoch}\0{stream}".encode()
    return _signed(int.from_bytes(hashlib.sha256(name).digest()[:8], "little"))


def _mix(state: Tensor) -> Tensor:
    """Return SplitMix64's finaliser of a state: a bijection of 64 bits whose every output bit depends on every input
    bit."""
    state = (_shift_right(state, 30) ^ state).mul_(_MULTIPLIER_1)
    state ^= _shift_right(state, 27)
    state *= _MULTIPLIER_2
    return state.bitwise_xor_(_shift_right(state, 31))


def _shift_right(value: Tensor, places: int) -> Tensor:
    """Return a logical shift: torch shifts int64 arithmetically, so the copies of the sign are masked away."""
    return (value >> places).bitwise_and_(_MASK >> places)
