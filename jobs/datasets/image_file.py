"""The one reader of image files: the formats that are read, what is forgiven, and the words for what is not.

`cebctl init`, `cebctl corrupt`, training and evaluation all open images here. Pillow raises errors of many kinds for
bytes that are no image; here they are one. Without torch.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from experiments.regular_files import check_regular

FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of the formats that are read, whatever a file's suffix. Never PostScript, which Pillow has another
program run."""
ORIENTATION = 0x0112
"""EXIF's tag for how a stored image is to be turned."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_START_OF_SCAN, _COMMENT = 0xDA, 0xFE
_JPEG_METADATA = frozenset({*range(0xE1, 0xEE), 0xEF, _COMMENT})
"""Markers of segments that no pixel depends on; JFIF's and Adobe's, APP0 and APP14, say how colours are stored."""

# Pillow warns of metadata that it can't read: see `orientation`.
warnings.filterwarnings("ignore", module=r"PIL\.")


class UnreadableImageError(ValueError):
    """The file can't be read, is no image, or is a part of one; the message says which, without the file's name."""


@contextmanager
def open_image(source: bytes | Path) -> Iterator[Image.Image]:
    """Open an image; its pixels are decoded when they are first used.

    Raises UnreadableImageError for it, and for whatever Pillow raises while the image is open.
    """
    try:
        with _open(source) as image:
            if image.mode.startswith(("I", "F")):  # Pillow would clip these pixels to 8 bits, not scale them
                raise ValueError(f"{image.mode} pixels, more than 8 bits a channel")
            yield image
    except MemoryError:
        raise
    except Exception as error:  # of any kind: of struct, zlib, arithmetic, a missing key
        raise UnreadableImageError(_reason(error)) from None


def orientation(image: Image.Image) -> int:
    """Return how an image is to be turned, 1 to 8 as EXIF counts; 1, upright, where nothing that can be read says."""
    try:
        number = image.getexif().get(ORIENTATION)
        return number if number in _TURNS else 1
    except Exception:  # broken metadata costs the metadata, not the image
        return 1


def upright(image: Image.Image) -> Image.Image:
    """Return the image as it is to be looked at."""
    image.load()  # Pillow turns a TIFF as it loads it, and says so in the orientation
    turn = _TURNS.get(orientation(image))
    return image if turn is None else image.transpose(turn)


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)  # older versions of Pillow have fewer


def _open(source: bytes | Path) -> Image.Image:
    content = source if isinstance(source, bytes) else None
    if isinstance(source, Path):
        check_regular(source, source.stat().st_mode)  # a pipe would be waited for, a device read for ever
    try:
        return Image.open(source if content is None else io.BytesIO(content), formats=_formats())
    except Image.DecompressionBombError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise
        content = source.read_bytes() if isinstance(source, Path) else source
        if (bare := _without_metadata(content)) == content:
            raise
        return Image.open(io.BytesIO(bare), formats=_formats())


def _without_metadata(content: bytes) -> bytes:
    """Return a JPEG or a PNG without what no pixel depends on; any other content as it is."""
    if content.startswith(_JPEG):
        return b"".join(_jpeg_parts(content))
    return b"".join(_png_parts(content)) if content.startswith(_PNG) else content


def _jpeg_parts(content: bytes) -> Iterator[bytes]:
    start = len(_JPEG)
    yield content[:start]
    while content[start : start + 1] == b"\xff" and len(content) > start + 3 and content[start + 1] != _START_OF_SCAN:
        end = start + 2 + int.from_bytes(content[start + 2 : start + 4], "big")
        if content[start + 1] not in _JPEG_METADATA:
            yield content[start:end]
        start = end
    yield content[start:]


def _png_parts(content: bytes) -> Iterator[bytes]:
    start = len(_PNG)
    yield content[:start]
    while start < len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        kind = content[start + 4 : start + 8]
        if kind[:1].isupper() or kind == b"tRNS":  # a capital letter: a decoder has to know it
            yield content[start:end]
        start = end


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnidentifiedImageError):
        return f"no image that can be read: it is of none of the formats {', '.join(_formats())}"
    return f"no image that can be read: {' '.join(str(error).split()) or type(error).__name__}"
