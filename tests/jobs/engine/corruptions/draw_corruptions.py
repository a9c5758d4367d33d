"""Draws `jobs/engine/figures/corruptions.jpg`: `python tests/jobs/engine/corruptions/draw_corruptions.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from jobs.engine.corruptions import FUNCTIONS, Corruption

SHOWN = (1, 3, 5)
SIDE, GAP, LABEL, ACROSS = 112, 4, 14, 7
"""Pixels of a picture, between them, of a name; corruptions side by side."""


def main() -> None:
    """The photograph of a flower that scikit-learn ships, corrupted at 224 pixels, shown at half its size."""
    import sklearn

    with Image.open(Path(sklearn.__file__).parent / "datasets" / "images" / "flower.jpg") as image:
        clean = np.asarray(image.crop((100, 0, 527, 427)).resize((224, 224), Image.Resampling.BICUBIC))
    rows = -(-len(FUNCTIONS) // ACROSS)
    width, height = SIDE + GAP, len(SHOWN) * (SIDE + GAP) + LABEL
    sheet = Image.new("RGB", (ACROSS * width - GAP, rows * height), "white")
    pen = ImageDraw.Draw(sheet)
    for number, name in enumerate(FUNCTIONS):
        left, top = number % ACROSS * width, number // ACROSS * height
        pen.text((left, top), name.replace("_", " "), fill="black")
        for at, severity in enumerate(SHOWN):
            corrupted = Image.fromarray(Corruption(name, severity)(clean, 0)).resize((SIDE, SIDE))
            sheet.paste(corrupted, (left, top + LABEL + at * (SIDE + GAP)))
    sheet.save(Path(__file__).parents[4] / "jobs" / "engine" / "figures" / "corruptions.jpg", quality=70, optimize=True)


if __name__ == "__main__":
    main()
