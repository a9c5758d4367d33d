"""The processes that train or evaluate one run together: one for each GPU of a job, as a torch.distributed group.

srun starts them; who they are and where they meet comes from submitit's reading of Slurm's variables. Numbers go
over gloo, gradients over NCCL where there are GPUs.
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
"""How long a process waits for the others. The first one may write a checkpoint to a slow file system meanwhile."""
_PEER_LOST = re.compile(r"gloo|nccl|TCPStore|connection (closed|reset)|broken pipe", re.IGNORECASE)
"""What torch says when another process is gone. It has no type of its own for it in gloo."""


_PORTS = range(10_000, 20_000)
"""Where the tasks of a job meet, by its number: below the ports that the kernel gives to outgoing connections, of which
submitit's choice may be one."""


@contextmanager
def joined() -> Iterator[None]:
    """The default group of this job's tasks; none where a job is one process. Raises PeerLostError if one is gone."""
    if os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
        yield
        return
    from submitit.helpers import TorchDistributedEnvironment

    # CUDA_VISIBLE_DEVICES stays as Slurm set it: on a node that is shared, GPU 0 may be another job's.
    here = TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    if here.world_size == 1:
        yield
        return
    os.environ["MASTER_PORT"] = str(_PORTS[int(os.environ["SLURM_JOB_ID"]) % len(_PORTS)])
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(here.local_rank % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    with peers():
        distributed.init_process_group(backend, timeout=TIMEOUT)
        yield
    distributed.destroy_process_group()  # behind a failure it might wait for who is gone


@contextmanager
def peers() -> Iterator[None]:
    """What the loss of another process raises becomes a PeerLostError."""
    try:
        yield
    except (distributed.DistError, ConnectionError, RuntimeError) as error:
        if not is_peer_lost(error):
            raise
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise PeerLostError(f"another process of this job is gone, see the logs by rank: {said}") from error


def is_peer_lost(error: Exception) -> bool:
    """Whether torch raised this because another process of the group is gone."""
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
        """In the default torch.distributed group, if there is one."""
        if not distributed.is_initialized():
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def leads(self) -> bool:
        """Whether this process writes for all: journal, checkpoints, provenance."""
        return self.rank == 0

    def share(self, samples_B: Tensor, unit: int) -> Tensor:
        """This process's images of a batch: consecutive parts of `unit` images, divided as evenly as parts can be.

        The shares are disjoint and make up the batch. InputError if there are fewer parts than processes.
        """
        parts = -(-len(samples_B) // unit)
        if parts < self.size:
            found = f"{self.size} processes for a batch of {len(samples_B):,} images in {parts} parts of {unit}"
            raise InputError("resources.train", found, f"at most {parts}")
        first, last = (parts * number // self.size * unit for number in (self.rank, self.rank + 1))
        return samples_B[first:last]

    def sums(self, values: Sequence[float]) -> list[float]:
        """The sum over all processes of each value; waits for all."""
        if self.size == 1:
            return list(values)
        sums_V = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(sums_V)
        return sums_V.tolist()

    def means(self, images: Sequence[int], values: Sequence[Sequence[float]]) -> tuple[list[int], list[list[float]]]:
        """Of several steps with equally many values each, the images of all processes, and of each value the mean over
        them, given that over this one's."""
        if self.size == 1 or not images:
            return list(images), [list(row) for row in values]
        weighted = [count * value for count, row in zip(images, values, strict=True) for value in (1, *row)]
        summed = torch.tensor(self.sums(weighted), dtype=torch.float64).view(len(images), -1).tolist()
        return [int(total) for total, *_ in summed], [[value / total for value in row] for total, *row in summed]

    def gather(self, mine: dict[K, T]) -> dict[K, T]:
        """What all processes know together."""
        known: list[dict[K, T] | None] = [None] * self.size
        distributed.all_gather_object(known, mine)
        return {key: value for one in known if one for key, value in one.items()}

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one type and device by their sums over all processes."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        for tensor, summed in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(summed.view_as(tensor))

    def from_first(self, value: T) -> T:
        """The first process's value, in every one."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def replicate(self, module: nn.Module) -> nn.Module:
        """The module with gradients that are means over the processes, summed while the backward pass goes on."""
        if self.size == 1:
            return module
        # Of dimensions of size one, as 1x1 convolutions have: the same numbers in the same order.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        replica = DistributedDataParallel(module, gradient_as_bucket_view=True)
        replica.broadcast_buffers = False  # as an argument torch 2.13 deprecates it; its successor is unknown to 2.12
        return replica


def accumulating(replica: nn.Module, *, last: bool) -> AbstractContextManager[None]:
    """Of the backward passes of one step, only the `last` has the processes add up what each has gathered."""
    if isinstance(replica, DistributedDataParallel) and not last:
        return replica.no_sync()
    return nullcontext()
