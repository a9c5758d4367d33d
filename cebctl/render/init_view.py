"""`cebctl init`: what was found, what was written, and what to call next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cebctl.onboarding.scan_images import FolderScan
from cebctl.render.console import error_console, pluralize, progress_console


def show(matrix: Path, found: FolderScan, described: Path, network: str, first_try: str) -> None:
    """A line for each; `first_try` is a command for a smaller network, where there is no GPU for this one."""
    data, console = found.description, progress_console()
    kind = "grey" if data.channels == 1 else "colour"
    images = f"{data.train:,} training and {pluralize(data.test, 'test image')} of {len(data.class_names)} classes"
    lines = [f"found {images}, {kind}, taken at {data.size}x{data.size} pixels", f"described them in {described}"]
    for note in (*found.notes, *_resized(found)):
        error_console().print(f"note: {note}", markup=False)
    for line in (*lines, f"wrote {matrix}"):
        console.print(line, markup=False)
    console.print(
        f"next: `cebctl plan {matrix}`, `cebctl submit {matrix} --wait`, `cebctl report {matrix}`", markup=False
    )
    if first_try:
        console.print(
            f"no GPU here, and {network} wants one: `cebctl plan {matrix}` says how long it takes", markup=False
        )
        console.print(f"for a first try on a CPU, with a small network: `{first_try}`", markup=False)


def _resized(found: FolderScan) -> list[str]:
    size = found.description.size
    if set(found.sizes) == {(size, size)}:
        return []
    widths, heights = zip(*found.sizes, strict=True)
    span = f"{_span(widths)} wide and {_span(heights)} high"
    return [f"images are {span}: each is resized, its centre taken; --size says another size"]


def _span(sides: Sequence[int]) -> str:
    low, high = min(sides), max(sides)
    return f"{low} pixels" if low == high else f"{low} to {high} pixels"
