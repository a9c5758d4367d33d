"""The shard of an evaluation that one of several processes has: batches are divided, never images within one.

So every process measures the same batches as a single one would, and their joint results are the same to the last
image, even of attacks whose draws depend on the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch.distributed

from jobs.engine.distributed import Group

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """The batches `number`, `number + count`, `number + 2 count`, … of an evaluation in `count` shards."""

    number: int = 0
    count: int = 1
    grouped: bool = False
    """The processes form a torch.distributed group (gloo or nccl) and exchange their results; else each is a job of
    its own, and the one that ends last writes the result."""

    @classmethod
    def from_group(cls) -> Shard:
        """Return this process's shard in the default group; of a process by itself, the one shard there is."""
        group = Group.default()
        return cls(group.rank, group.size, grouped=group.size > 1)

    @property
    def is_writer(self) -> bool:
        """Whether this process reports: in a group its first one does, for all."""
        return self.number == 0 or not self.grouped

    def owns(self, batch: int) -> bool:
        """Return True if this process measures the batch of this number."""
        return batch % self.count == self.number

    def gather(self, value: T) -> list[T]:
        """Return the value of every process of the group, in order of their numbers; waits for all of them."""
        if not self.grouped:
            return [value]
        values: list[T | None] = [None] * self.count
        torch.distributed.all_gather_object(values, value)
        return [value for value in values if value is not None]
