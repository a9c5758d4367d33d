"""Any bytes that are called an image end in an image or in one error, in one line."""

from __future__ import annotations

import io
import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from experiments.errors import InputError
from jobs.datasets import image_file, image_folder
from jobs.datasets.image_file import UnreadableImageError, open_image, upright

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
PIXELS = np.random.default_rng(0).integers(0, 255, (12, 8, 3), dtype=np.uint8)


def _encode(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


def _exif(resolution_unit: tuple[int, int, bytes] = (3, 1, b"\2\0\0\0")) -> bytes:
    """Return an EXIF block: turned by a quarter, tag 296 of this (type, count, value), an Exif IFD with a text."""
    kind, count, value = resolution_unit
    entries = struct.pack("<H", 3) + struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)
    entries += struct.pack("<HHI", 296, kind, count) + value + struct.pack("<HHII", 0x8769, 4, 1, 50)
    inner = struct.pack("<HHHII", 1, 0x9003, 2, 20, 68) + struct.pack("<I", 0) + b"2020:01:01 00:00:00\0"
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + entries + struct.pack("<I", 0) + inner


def _exif_offset(content: bytes) -> int:
    return content.index(b"II*\0")


def _mutants(content: bytes, start: int, end: int, count: int) -> Iterator[bytes]:
    """Yield copies in which one to six bytes between two places are changed, seeded."""
    draws = random.Random(0)
    for _ in range(count):
        mutant = bytearray(content)
        for _ in range(draws.randint(1, 6)):
            mutant[draws.randrange(start, end)] = draws.choice((0, 1, 2, 7, 12, 127, 128, 255, draws.randrange(256)))
        yield bytes(mutant)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_broken_exif_block_never_costs_the_image(kind: str) -> None:
    """What encodes the pixels is untouched, so that every one of thousands is read, turned or not."""
    content = _encode(kind, exif=_exif())
    start = _exif_offset(content)
    end = start + len(_exif()) - 6
    with open_image(_encode(kind)) as plain:
        upright_HWC = np.asarray(plain.convert("RGB"))
    turns = [upright_HWC, *(np.asarray(Image.fromarray(upright_HWC).transpose(turn)) for turn in Image.Transpose)]
    for mutant in _mutants(content, start, end, 3000):
        with open_image(mutant) as image:
            pixels_HWC = np.asarray(upright(image).convert("RGB"))
        assert any(np.array_equal(pixels_HWC, turned) for turned in turns)


@pytest.mark.parametrize("kind", image_file.FORMATS)
def test_any_damage_ends_in_an_image_or_in_one_line_that_names_the_file(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1 << 20)  # a damaged size would take long to fill
    if kind not in image_file._formats():
        pytest.skip(f"this Pillow has no {kind}")
    content = _encode(kind) if kind in ("DIB", "GIF", "BMP", "PPM") else _encode(kind, exif=_exif())
    errors = 0
    for mutant in _mutants(content, 0, len(content), 200):
        try:
            assert image_folder.decode_image(mutant, Path("cat/1.jpg"), 3, 6).shape == (6, 6, 3)
        except InputError as error:
            errors += 1
            assert str(error).startswith("cat/1.jpg: no image that can be read: ") and "\n" not in str(error)
    assert 0 < errors < 200


def test_the_orientation_is_read_beside_tags_that_are_of_a_wrong_type() -> None:
    with open_image(_encode("JPEG", exif=_exif((2, 2, b"a\0\0\0")))) as image:
        assert upright(image).size == (12, 8)


def _metadata_with_a_wrong_checksum() -> bytes:
    content = _encode("PNG")
    text = b"tEXt" + b"Comment\0a"
    return content[:33] + struct.pack(">I", len(text) - 4) + text + b"\0\0\0\0" + content[33:]


def _two_pictures_of_a_wrong_count() -> bytes:
    block = b"MPF\0II*\0\x08\0\0\0" + struct.pack("<HHHI4sI", 1, 0xB001, 2, 4, b"abc\0", 0)
    content = _encode("JPEG")
    return content[:2] + b"\xff\xe2" + struct.pack(">H", len(block) + 2) + block + content[2:]


@pytest.mark.parametrize("make", [_metadata_with_a_wrong_checksum, _two_pictures_of_a_wrong_count])
def test_metadata_that_keeps_pillow_from_opening_a_file_is_left_out(make: Callable[[], bytes]) -> None:
    with open_image(make()) as image:
        assert image.size == (8, 12)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("number", range(10))
def test_images_are_turned_as_pillow_turns_them(kind: str, number: int) -> None:
    exif = Image.Exif()
    exif[0x112] = number
    content = _encode(kind, exif=exif)
    with open_image(content) as image, Image.open(io.BytesIO(content)) as other:
        assert np.array_equal(np.asarray(upright(image)), np.asarray(ImageOps.exif_transpose(other)))


def test_postscript_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gs").write_text(f'#!/bin/sh\ntouch {tmp_path}/ran\nexec /usr/bin/gs "$@"\n')
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    file = tmp_path / "1.jpg"
    file.write_bytes(_encode("EPS"))
    for source in (file, file.read_bytes()):
        with pytest.raises(UnreadableImageError, match="of none of the formats AVIF, BMP"), open_image(source) as image:
            image.load()
    assert not (tmp_path / "ran").exists()


def test_more_than_8_bits_and_missing_files_have_the_same_words_for_every_reader(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(UnreadableImageError, match="I;16 pixels, more than 8"), open_image(tmp_path / "deep.png"):
        pass
    with pytest.raises(UnreadableImageError, match="No such file"), open_image(tmp_path / "none.png"):
        pass
    os.mkfifo(tmp_path / "pipe.png")
    for path, kind in ((tmp_path / "pipe.png", "a named pipe"), (Path("/dev/zero"), "a device")):
        with pytest.raises(UnreadableImageError, match=f"it is {kind}, not a file"), open_image(path):
            pass
