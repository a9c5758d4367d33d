"""The errors of training and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from experiments.errors import CebctlError, InputError
from jobs.engine.distributed import is_peer_lost
from jobs.errors import Stopped


class DivergedError(CebctlError):
    """A quantity of the loss is not finite any more, or has exploded."""

    def __init__(self, kind: str, quantity: str, value: float, step: int, checkpoint: Path | None) -> None:
        """Build the message; `kind` is `nan` or `exploded`, `checkpoint` the newest one, written while all was well."""
        self.kind, self.step, self.checkpoint = kind, step, checkpoint
        became = "became NaN" if kind == "nan" else f"exploded to {value:.3g}"
        last = f"the last good checkpoint is {checkpoint.name}" if checkpoint else "there is no checkpoint yet"
        super().__init__(f"{quantity} {became} at step {step}; {last}")


class NoCheckpointError(CebctlError):
    """There is nothing to evaluate: no checkpoint, or none that is intact."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder}: no intact checkpoint; the run has to be trained first")


class ForeignCheckpointError(InputError):
    """A checkpoint lies in the folder of another run, or holds another network's weights."""

    def __init__(self, file: Path, actual: str, expected: str) -> None:
        super().__init__(file, f"a checkpoint of {actual}, not of {expected}")


class BenchmarkError(CebctlError):
    """A benchmark failed by an unforeseen error, which is the cause of this one."""

    def __init__(self, benchmark: str, error: Exception) -> None:
        super().__init__(f"{benchmark}: {in_one_line(error)}")
        self.__cause__ = error


class EvaluationError(CebctlError):
    """Some benchmarks failed, and the others of the evaluation have their results; the cause holds every error."""

    def __init__(self, faults: Sequence[CebctlError]) -> None:
        super().__init__(f"evaluate: {'; '.join(map(str, faults))}")
        self.__cause__ = ExceptionGroup("benchmarks that failed", list(faults))


def in_one_line(error: Exception) -> str:
    """Return the first line of an error, with its type if it is not ours: `ZeroDivisionError: …`."""
    lines = str(error).strip().splitlines()
    names = [] if isinstance(error, CebctlError) else [type(error).__name__]
    return ": ".join([*names, *lines[:1]])


def is_fatal(error: Exception) -> bool:
    """Whether the same process could measure no other benchmark behind this error: it was asked to stop, has no memory
    left or a broken device, or lost another process of its group."""
    if isinstance(error, Stopped | MemoryError | torch.OutOfMemoryError) or is_peer_lost(error):
        return True
    broken = getattr(torch, "AcceleratorError", ())  # older versions have none
    return isinstance(error, broken) or "DefaultCPUAllocator" in str(error)
