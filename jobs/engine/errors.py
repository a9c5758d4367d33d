"""The errors of training and evaluation."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from experiments.errors import CebctlError, InputError
from jobs import own_parts
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


@dataclass(frozen=True)
class Failure:
    """The failure of a benchmark in words. The error itself would keep the tensors of its frames in memory."""

    kind: Literal["input", "memory", "device", "error"]
    """`input`: it was refused; `memory`: there was too little; `device`: it broke, and measures nothing more."""
    message: str
    """One line."""
    traceback: str = ""
    """Empty if it was refused."""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Return the failure that an error stands for."""
        if isinstance(error, ProcessError):
            return replace(error.failure, message=str(error))
        if isinstance(error, InputError):
            return cls("input", in_one_line(error))
        kind: Literal["memory", "device", "error"] = "error"
        if is_out_of_memory(error):
            kind = "memory"
        elif is_device_broken(error):
            kind = "device"
        return cls(kind, in_one_line(error), "".join(traceback.format_exception(error)))


class ProcessError(CebctlError):
    """A benchmark failed in another process of the group."""

    def __init__(self, number: int, failure: Failure) -> None:
        self.failure = failure
        super().__init__(f"process {number}: {failure.message}")


class EvaluationError(CebctlError):
    """Some benchmarks failed, and the others of the evaluation have their results.

    `failures` are by evaluation id, `unmeasured` the columns of benchmarks that could not be begun.
    """

    def __init__(self, failures: Mapping[str, Failure], unmeasured: Sequence[str] = ()) -> None:
        kinds = {failure.kind for failure in failures.values()}
        self.kind = kinds.pop() if len(kinds) == 1 else "error"
        self.benchmarks = {identity: failure.message for identity, failure in failures.items()}
        self.traceback = "\n".join(failure.traceback for failure in failures.values() if failure.traceback)
        lines = list(self.benchmarks.values())
        if unmeasured:
            lines.append(f"not measured behind it: {', '.join(unmeasured)}")
        CebctlError.__init__(self, f"evaluate: {'; '.join(lines)}")


class RefusedError(EvaluationError, InputError):
    """All the benchmarks that failed were refused."""


def in_one_line(error: BaseException) -> str:
    """Return the first line of an error, with its type and its place in a part of one's own if it is not ours:
    `ZeroDivisionError: …`."""
    if isinstance(error, CebctlError):
        return str(error).strip().partition("\n")[0]
    return own_parts.describe(error)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was too small for what was computed: of the machine, or of the GPU, which works on."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(_OUT_OF_MEMORY.search(str(error)))


_OUT_OF_MEMORY = re.compile(r"out of memory|DefaultCPUAllocator|_ALLOC_FAILED")
"""As the messages of errors that have no type of their own say it: of torch on a CPU, cuBLAS, cuDNN and CUDA."""


def is_device_broken(error: BaseException) -> bool:
    """Whether the GPU computes nothing more in this process."""
    broken = getattr(torch, "AcceleratorError", ())  # older versions have none
    return isinstance(error, broken) and not is_out_of_memory(error)


def is_fatal(error: BaseException) -> bool:
    """Whether an error ends the evaluation: it was asked to stop, or lost another process of its group."""
    if not isinstance(error, Exception | SystemExit):  # a part of one's own may well call sys.exit
        return True
    return isinstance(error, Stopped) or is_peer_lost(error)
