"""What a part of the check finds, and the comparisons that it is made of.

This module does not import torch: the command that starts the parts reads results too.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from torch import Tensor

Status = Literal["passed", "failed", "measured", "skipped"]
"""`measured`: a figure of which nothing is asked; `skipped`: it can't run here, which is no pass."""


class Rate(Struct, frozen=True):
    """Floating-point operations per second that training reached, as `experiments.costs` counts them."""

    precision: str
    flops: float


class Result(Struct, frozen=True, omit_defaults=True):
    """One line of the report."""

    name: str
    status: Status
    value: str = ""
    """What was found; of a skipped one the reason."""
    limit: str = ""
    """What is asked of it."""
    rate: Rate | None = None


def measured(name: str, value: str, rate: Rate | None = None) -> Result:
    """Return a figure of which nothing is asked."""
    return Result(name, "measured", value, rate=rate)


def skipped(name: str, reason: str) -> Result:
    """Return a line for what can't run here."""
    return Result(name, "skipped", reason)


def checked(name: str, holds: bool, value: str, limit: str) -> Result:
    """Return a figure that something is asked of."""
    return Result(name, "passed" if holds else "failed", value, limit)


def at_most(name: str, value: float, limit: float, what: str) -> Result:
    """Return `what` against its limit; a value that is not a number is above every limit."""
    return checked(name, value <= limit, f"{what} {value:.2g}", f"at most {limit:.2g}")


def distance(tensor: Tensor, reference: Tensor) -> float:
    """Return |a - b| / |b| over all elements, inf if any is not finite or the shapes differ."""
    import torch

    if tensor.shape != reference.shape:
        return math.inf
    tensor, reference = tensor.detach().cpu().double(), reference.detach().cpu().double()
    if not (tensor.isfinite().all() and reference.isfinite().all()):
        return math.inf
    length = torch.linalg.vector_norm(reference).item()
    return torch.linalg.vector_norm(tensor - reference).item() / (length or 1.0)


def guarded(name: str, compare: Callable[[], Iterable[Result]]) -> list[Result]:
    """Return the results of one comparison; an error fails it, and the next one is made all the same."""
    try:
        return list(compare())
    except Exception as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())
        return [checked(name, False, words[:300], "no error")]


def same_verdicts(name: str, verdicts_B: Tensor, reference_B: Tensor) -> Result:
    """Compare what an attack or a network decides about each image: one image, or 2% of them, may differ.

    An attack follows signs of gradients for many steps, so that the last bit may send an image on the edge of the ball
    to the other side of the boundary. A fault of a kernel changes many images.
    """
    differing = int((verdicts_B.cpu() != reference_B.cpu()).sum())
    return count_of_images(name, differing, len(reference_B))


def count_of_images(name: str, differing: int, images: int) -> Result:
    """Return how many of the images differ; one, or 2% of them, may."""
    allowed = max(1, images // 50)
    return checked(name, differing <= allowed, f"{differing} of {images} images differ", f"at most {allowed}")


def largest_batch(
    fits: Callable[[int], bool], estimate: int, most: int = 2**31, tries: int = 5
) -> tuple[int, int | None]:
    """Return the largest batch that was found to fit, 0 if none was, and the smallest one that was found not to, None
    if all fitted: from an estimate in steps of a quarter, then between the two; none above `most` is tried."""
    fitting, failing, batch = 0, None, min(max(1, estimate), most)
    for _ in range(tries):
        if fits(batch):
            fitting = batch
        else:
            failing = batch
        if failing is None:
            batch = min(max(fitting + 1, fitting * 5 // 4), most)
        elif fitting:
            batch = (fitting + failing) // 2
        else:
            batch = failing * 3 // 4
        if batch in (fitting, failing, 0):
            break
    return fitting, failing


def is_installed(module: str) -> bool:
    """Return whether a module can be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


def status_of(results: Sequence[Result]) -> Status:
    """Return the status of a part: that of its worst line; it is skipped only if all lines are."""
    statuses = {result.status for result in results}
    order: tuple[Status, ...] = ("failed", "passed", "measured")
    return next((status for status in order if status in statuses), "skipped")
