"""ImageMagick 6 as the published code calls it: the program blurs a PNG and saves it as one."""

from __future__ import annotations

import io
import shutil
import subprocess
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@cache
def program() -> tuple[str, str]:
    """Return the path of ImageMagick 6.9's `convert` and, where there is none, why."""
    path = shutil.which("convert-im6.q16") or shutil.which("convert")
    if path is None:
        return "", "ImageMagick is not installed (Debian's package imagemagick)"
    version = subprocess.run([path, "-version"], capture_output=True, text=True).stdout.partition("\n")[0]
    return path, "" if "ImageMagick 6.9" in version and "Q16" in version else f"not ImageMagick 6.9, Q16: {version}"


def motion_blur(image: NDArray[np.uint8], radius: int, sigma: float, angle: float) -> NDArray[np.uint8]:
    """Return the blurred image, uint8 of the same shape: (H, W, 3), or (H, W) if grey."""
    png = io.BytesIO()
    Image.fromarray(image).save(png, "PNG")
    command = [program()[0], "png:-", "-motion-blur", f"{radius}x{sigma}{angle:+.15f}", "png:-"]
    done = subprocess.run(command, input=png.getvalue(), capture_output=True, check=True)
    with Image.open(io.BytesIO(done.stdout)) as blurred:
        return np.asarray(blurred.convert("L" if image.ndim == 2 else "RGB"))
