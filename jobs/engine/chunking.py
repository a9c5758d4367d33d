"""The inputs of several steps computed at once: some forty operations take as long for a few numbers as for many, and
a step of a small network takes not much longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor

Rows = TypeVar("Rows", bound=tuple[Tensor, ...])

NUMBERS_AT_ONCE = 2**19
"""2 MB in float32. On a CPU both more and fewer take longer for each number."""


def samples_at_once(numbers: int) -> int:
    """Return how many samples of so many numbers each are computed at once."""
    return max(1, NUMBERS_AT_ONCE // numbers)


def in_chunks(compute: Callable[[Tensor], Rows], index_batches: Sequence[Tensor], numbers: int) -> Iterator[Rows]:
    """Yield the rows of `compute` for each of these batches of samples (int64, at least one): tensors with a row for
    each sample, which depends on the sample alone. A call computes some NUMBERS_AT_ONCE, `numbers` for a sample, in
    whole batches, and is made when the first of them is needed."""
    longest = max((len(samples_B) for samples_B in index_batches), default=1)
    batches_at_once = max(1, samples_at_once(numbers) // longest)
    for first in range(0, len(index_batches), batches_at_once):
        chunk = index_batches[first : first + batches_at_once]
        sizes = [len(samples_B) for samples_B in chunk]
        tensors = compute(torch.cat(list(chunk)))
        yield from cast(Iterator[Rows], zip(*(torch.split(rows, sizes) for rows in tensors), strict=True))
