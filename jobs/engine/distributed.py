"""The processes that train or evaluate one run together: one for each GPU of a job, as a torch.distributed group.

srun starts them; submitit reads their ranks and their address from Slurm's variables. Numbers go over gloo, gradients
over NCCL where there are GPUs.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from experiments.errors import InputError
from jobs.errors import PeerLostError

K = TypeVar("K")
T = TypeVar("T")

TIMEOUT = timedelta(minutes=20)
"""The time a process waits for the others: the first one may write a checkpoint to a slow file system meanwhile."""
_PEER_LOST = re.compile(r"gloo|nccl|TCPStore|connection (closed|reset)|broken pipe", re.IGNORECASE)
"""torch's messages when another process has ended: in gloo it has no type for that."""
_PORTS = range(10_000, 20_000)
"""The ports that the tasks of a job meet at, one by the job's number: below those that the kernel gives to outgoing
connections, of which submitit's choice may be one."""


@contextmanager
def process_group() -> Iterator[None]:
    """Join this job's tasks to the default group; to none if there is one task only. Raises PeerLostError if one
    ends."""
    if os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
        yield
        return
    from submitit.helpers import TorchDistributedEnvironment

    # CUDA_VISIBLE_DEVICES stays as Slurm set it: on a node that is shared, GPU 0 may be another job's.
    environment = TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    if environment.world_size == 1:
        yield
        return
    os.environ["MASTER_PORT"] = str(_PORTS[int(os.environ["SLURM_JOB_ID"]) % len(_PORTS)])
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(environment.local_rank % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    with translate_peer_loss():
        distributed.init_process_group(backend, timeout=TIMEOUT)
        yield
    distributed.destroy_process_group()  # not after a failure, where it might wait for a process that has ended


@contextmanager
def translate_peer_loss() -> Iterator[None]:
    """Raise PeerLostError instead of the errors that the loss of another process causes."""
    try:
        yield
    except (distributed.DistError, ConnectionError, RuntimeError) as error:
        if not is_peer_lost(error):
            raise
        message = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise PeerLostError(f"another process of this job is gone, see the logs by rank: {message}") from error


def is_peer_lost(error: BaseException) -> bool:
    """Whether torch raised this because another process of the group has ended."""
    if isinstance(error, PeerLostError | distributed.DistError | ConnectionError):
        return True
    return isinstance(error, RuntimeError) and bool(_PEER_LOST.search(str(error)))


@dataclass(frozen=True)
class Group:
    """A process's place among those that train together; by default it is alone."""

    rank: int = 0
    size: int = 1

    @classmethod
    def default(cls) -> Group:
        """Return the place in the default torch.distributed group, if there is one."""
        if not distributed.is_initialized():
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def is_leader(self) -> bool:
        """Whether this process writes for all: journal, checkpoints, provenance."""
        return self.rank == 0

    def shard(self, samples_B: Tensor, unit: int) -> Tensor:
        """Return this process's images of a batch: consecutive parts of `unit` images, divided as evenly as possible.

        The shards are disjoint and make up the batch. Raises InputError if there are fewer parts than processes.
        """
        parts = -(-len(samples_B) // unit)
        if parts < self.size:
            wrong = f"{self.size} processes for a batch of {len(samples_B):,} images in {parts} parts of {unit}"
            raise InputError("resources.train", wrong, f"at most {parts}")
        first, last = (parts * number // self.size * unit for number in (self.rank, self.rank + 1))
        return samples_B[first:last]

    def sums(self, values: Sequence[float]) -> list[float]:
        """Return the sum over all processes of each value; waits for all."""
        if self.size == 1:
            return list(values)
        sums_V = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(sums_V)
        return sums_V.tolist()

    def means(self, images: Sequence[int], values: Sequence[Sequence[float]]) -> tuple[list[int], list[list[float]]]:
        """Return the images of all processes and the means over them, for several steps with equally many values each;
        `values` are the means over this process's `images`."""
        if self.size == 1 or not images:
            return list(images), [list(row) for row in values]
        weighted = [count * value for count, row in zip(images, values, strict=True) for value in (1, *row)]
        sums = torch.tensor(self.sums(weighted), dtype=torch.float64).view(len(images), -1).tolist()
        return [int(total) for total, *_ in sums], [[value / total for value in row] for total, *row in sums]

    def gather(self, entries: dict[K, T]) -> dict[K, T]:
        """Return the entries of all processes in one dictionary."""
        gathered: list[dict[K, T] | None] = [None] * self.size
        distributed.all_gather_object(gathered, entries)
        return {key: value for entries in gathered if entries for key, value in entries.items()}

    def sum_in_place(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one type and device by their sums over all processes."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        for tensor, summed in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(summed.view_as(tensor))

    def broadcast(self, value: T) -> T:
        """Return the first process's value in every process."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def replicate(self, module: nn.Module) -> nn.Module:
        """Return the module with gradients that are means over the processes, summed during the backward pass."""
        if self.size == 1:
            return module
        # Of dimensions of size one, as 1x1 convolutions have: the same numbers in the same order.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        replica = DistributedDataParallel(module, gradient_as_bucket_view=True)
        replica.broadcast_buffers = False  # as an argument torch 2.13 deprecates it; its successor is unknown to 2.12
        return replica


def accumulating(replica: nn.Module, *, last: bool) -> AbstractContextManager[None]:
    """Return the context of one of a step's backward passes: the processes add up their gradients in the `last`
    only."""
    if isinstance(replica, DistributedDataParallel) and not last:
        return replica.no_sync()
    return nullcontext()
