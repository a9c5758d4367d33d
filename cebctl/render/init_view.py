"""The output of `cebctl init`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cebctl.onboarding.scan_images import FolderScan
from cebctl.render.console import error_console, pluralize, progress_console, result_console


def print_new_matrix(matrix: Path, scan: FolderScan, description: Path, network: str, small_trial: str) -> None:
    """Print what the folder holds, which files were written, and which commands come next.

    `small_trial` is a command that trains a smaller network, where there is no GPU for this one.
    """
    data, console = scan.description, progress_console()
    kind = "grey" if data.channels == 1 else "colour"
    images = f"{data.train:,} training and {pluralize(data.test, 'test image')} of {len(data.class_names)} classes"
    lines = [f"found {images}, {kind}, taken at {data.size}x{data.size} pixels", f"described them in {description}"]
    for note in (*scan.notes, *_resize_notes(scan)):
        error_console().print(f"note: {note}", markup=False)
    for line in (*lines, f"wrote {matrix}"):
        console.print(line, markup=False)
    console.print(
        f"next: `cebctl plan {matrix}`, `cebctl submit {matrix} --wait`, `cebctl report {matrix}`", markup=False
    )
    if small_trial:
        console.print(
            f"no GPU here, and {network} wants one: `cebctl plan {matrix}` says how long it takes", markup=False
        )
        console.print(f"for a first try on a CPU, with a small network: `{small_trial}`", markup=False)


def print_new_part(file: Path, line: str) -> None:
    """Print which file was written, and the line for a matrix in its folder, which is the result."""
    progress_console().print(f"wrote {file}; in a matrix beside it:", markup=False)
    result_console().print(line, markup=False, soft_wrap=True)


def _resize_notes(scan: FolderScan) -> list[str]:
    size = scan.description.size
    if set(scan.sizes) == {(size, size)}:
        return []
    widths, heights = zip(*scan.sizes, strict=True)
    span = f"{_format_range(widths)} wide and {_format_range(heights)} high"
    return [f"images are {span}: each is resized and its centre is cropped; --size chooses another size"]


def _format_range(sides: Sequence[int]) -> str:
    low, high = min(sides), max(sides)
    return f"{low} pixels" if low == high else f"{low} to {high} pixels"
