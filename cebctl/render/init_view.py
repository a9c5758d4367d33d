"""`cebctl init`: what was found, what was written, and what to call next."""

from __future__ import annotations

from pathlib import Path

from cebctl.control.own_images import Looked
from cebctl.render.console import err, news


def show(matrix: Path, found: Looked, described: Path) -> None:
    """A line for each."""
    data, console = found.described, news()
    kind = "grey" if data.channels == 1 else "colour"
    images = f"{data.train:,} training and {data.test:,} test images of {len(data.class_names)} classes"
    lines = [f"found {images}, {kind}, taken at {data.size}x{data.size} pixels", f"described them in {described}"]
    for note in (*found.notes, *_resized(found)):
        err().print(f"note: {note}", markup=False)
    for line in (*lines, f"wrote {matrix}"):
        console.print(line, markup=False)
    console.print(
        f"next: `cebctl plan {matrix}`, `cebctl submit {matrix} --wait`, `cebctl report {matrix}`", markup=False
    )


def _resized(found: Looked) -> list[str]:
    size = found.described.size
    if set(found.sizes) == {(size, size)}:
        return []
    widths, heights = zip(*found.sizes, strict=True)
    span = f"{min(widths)} to {max(widths)} wide and {min(heights)} to {max(heights)} high"
    return [f"images are {span}: each is resized, its centre taken; --size says another size"]
