"""Real photographs to corrupt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def photographs(side: int, count: int) -> list[NDArray[np.uint8]]:
    """Squares of the photographs that scikit-learn ships, as large as they are high."""
    import sklearn

    found = []
    for name in ("china.jpg", "flower.jpg"):
        with Image.open(Path(sklearn.__file__).parent / "datasets" / "images" / name) as image:
            for left in np.linspace(0, image.width - image.height, count // 2):
                square = image.crop((int(left), 0, int(left) + image.height, image.height))
                found.append(np.asarray(square.resize((side, side), Image.Resampling.BICUBIC)))
    return found
