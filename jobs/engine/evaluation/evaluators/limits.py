"""What no attack can be asked for: refused before it starts."""

from __future__ import annotations

from experiments.benchmarks import (
    WITHOUT_DLR,
    WITHOUT_SQUARE,
    AutoAttack,
    GradientAudit,
    Pgd,
    Transfer,
    format_eps,
    largest_eps,
    min_classes,
    min_image_size,
    tag,
)
from experiments.datasets import DatasetInfo
from experiments.errors import InputError


def check(benchmark: Pgd | Transfer | AutoAttack | GradientAudit, info: DatasetInfo) -> None:
    """Raise InputError for a ball that holds every image, for more images or another class than there are, for a loss
    that so few classes don't have, for images too small, and for restarts that would all be the same."""
    where = f"{tag(benchmark)} on {info.name}"
    largest = largest_eps(benchmark.norm, info)
    if not 0 < benchmark.eps <= largest:
        wrong = "not positive" if benchmark.eps <= 0 else f"larger than the range of images in {benchmark.norm}"
        raise InputError(
            where, f"eps {format_eps(benchmark.eps)} is {wrong}", f"at most {largest:g} in [0, 1] pixel units"
        )
    if benchmark.subset is not None and benchmark.subset > info.test:
        raise InputError(where, f"a subset of {benchmark.subset:,} images", f"there are {info.test:,}")
    if info.classes < (needed := min_classes(benchmark)):
        raise InputError(where, f"its loss, DLR, needs {needed} classes; there are {info.classes}", WITHOUT_DLR)
    if info.size < (needed := min_image_size(benchmark)):
        wrong = f"in l2 its attack Square needs {needed} x {needed} pixels; there are {info.size}"
        raise InputError(where, wrong, WITHOUT_SQUARE)
    if isinstance(benchmark, Pgd):
        if isinstance(benchmark.target, int) and benchmark.target >= info.classes:
            raise InputError(where, f"there is no class {benchmark.target}", f"classes are 0 to {info.classes - 1}")
        if benchmark.restarts > 1 and not benchmark.random_start:
            raise InputError(
                where, f"{benchmark.restarts} restarts from one point are all the same", "use random_start"
            )
