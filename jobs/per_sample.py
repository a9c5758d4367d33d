"""Correct or not, image by image, as a short text in a journal: base64 of zlib of packed bits.

Paired tests (McNemar, paired bootstrap) compare two networks on the same images by these flags. Without numpy, so that
the command line can read them quickly.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable


def pack(correct: Iterable[bool]) -> str:
    """Return one bit for each image in data set order, the first in the highest bit of the first byte."""
    text = "".join("1" if flag else "0" for flag in correct)
    text += "0" * (-len(text) % 8)
    packed = int(text or "0", 2).to_bytes(len(text) // 8, "big")
    return base64.b64encode(zlib.compress(packed, 9)).decode("ascii")


def unpack(packed: str, count: int) -> list[bool]:
    """Return the `count` flags that `pack` encoded. Raises ValueError if the text is damaged or of another length."""
    try:
        content = zlib.decompress(base64.b64decode(packed, validate=True))
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(content) != (count + 7) // 8:
        raise ValueError(f"{len(content)} bytes do not hold {count} flags")
    return [bit == "1" for bit in "".join(f"{byte:08b}" for byte in content)[:count]]
