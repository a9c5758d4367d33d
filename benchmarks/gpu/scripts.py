"""Scripts of this folder on the device: what their tables say is measured, and a script that fails, fails its part."""

from __future__ import annotations

import contextlib
import io
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

from measure import rows

from benchmarks.gpu.results import Result, is_installed, measured, skipped
from benchmarks.gpu.steps import data_root

BENCHMARKS = Path(__file__).parents[1]


def resident(device: str, small: bool) -> Iterator[Result]:
    """Measure CIFAR's images in the device's memory, with AutoAugment, against a DataLoader."""
    size = ["--images", "500", "--repeats", "1", "--workers", "1"] if small else ["--images", "20000", "--repeats", "2"]
    return _run("data.py", "--device", device, *size)


def dali(device: str, small: bool) -> Iterator[Result]:
    """Measure DALI's decoding of ImageNet's images against torchvision's, where both are at hand."""
    if not is_installed("nvidia.dali"):
        yield skipped("DALI", "it is not installed: the extra `dali`")
    elif not (data_root() / "imagenet-sample").is_dir():
        yield skipped("DALI", f"there is no imagenet-sample in {data_root()}")
    else:
        size = ["--images", "50", "--repeats", "1"] if small else ["--images", "1000", "--repeats", "2"]
        yield from _run("data.py", "--folders", "--device", device, *size)


def steps(device: str, small: bool) -> Iterator[Result]:
    """Measure each setting's speed; a small check compares steps with a bare loop's."""
    if small:
        return _run("step.py", "--device", device, "--rounds", "2", "--only", "digits")
    return _run("step.py", "--device", device, "--rounds", "3", "--only", "16x2", "--settings")


def _run(script: str, *arguments: str) -> Iterator[Result]:
    """Run a script in this process, and yield a line for each row of its tables."""
    out, before = io.StringIO(), sys.argv
    sys.argv = [script, *arguments]
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
    finally:
        sys.argv = before
    for cells in rows(out.getvalue()):
        name, *_ = cells.values()
        yield measured(name, "; ".join(f"{column} {cell}" for column, cell in list(cells.items())[1:]))
