"""What a step takes, made for several steps at once: some forty operations for a few numbers take as long as for many,
and a step of a small network not much longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor

Made = TypeVar("Made", bound=tuple[Tensor, ...])

NUMBERS_AT_ONCE = 2**19
"""2 MB in float32; on a CPU more take longer each, fewer too."""


def samples_at_once(numbers: int) -> int:
    """How many samples of so many numbers each."""
    return max(1, NUMBERS_AT_ONCE // numbers)


def ahead(make: Callable[[Tensor], Made], index_batches: Sequence[Tensor], numbers: int) -> Iterator[Made]:
    """What `make` gives for each of these batches of samples (int64, one at least): tensors with a row for each of
    them, which depends on the sample alone. It is asked for some NUMBERS_AT_ONCE, `numbers` a sample, in whole batches,
    and not before the first of them is needed."""
    longest = max((len(samples_B) for samples_B in index_batches), default=1)
    together = max(1, samples_at_once(numbers) // longest)
    for first in range(0, len(index_batches), together):
        several = index_batches[first : first + together]
        sizes = [len(samples_B) for samples_B in several]
        made = make(torch.cat(list(several)))
        yield from cast(Iterator[Made], zip(*(torch.split(rows, sizes) for rows in made), strict=True))
