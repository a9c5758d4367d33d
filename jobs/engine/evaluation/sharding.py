"""The share of an evaluation that one of several processes has: batches are divided, never images within one.

So every process measures the same batches as a single one would, and what they find together is the same to the
last image, attacks whose draws depend on the batch included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch.distributed

from jobs.engine.distributed import Group

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """The batches `number`, `number + of`, `number + 2 of`, …"""

    number: int = 0
    of: int = 1
    grouped: bool = False
    """The processes form a torch.distributed group (gloo or nccl) and tell each other what they find; else each is
    a job of its own, and the one that is done last writes the result."""

    @classmethod
    def of_group(cls) -> Share:
        """This process's share in the default group; the whole where there is none."""
        group = Group.default()
        return cls(group.rank, group.size, grouped=group.size > 1)

    @property
    def writes(self) -> bool:
        """Whether this process reports: in a group its first one does, for all."""
        return self.number == 0 or not self.grouped

    def has(self, batch: int) -> bool:
        """Whether the batch of this number is this process's."""
        return batch % self.of == self.number

    def gather(self, mine: T) -> list[T]:
        """What every process of the group gives, in order of their numbers; waits until all have given it."""
        if not self.grouped:
            return [mine]
        given: list[T | None] = [None] * self.of
        torch.distributed.all_gather_object(given, mine)
        return [one for one in given if one is not None]
