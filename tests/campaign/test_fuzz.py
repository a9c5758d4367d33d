"""Damaged input of each kind: it is read, or refused in one line that names it; journals: tests/cebctl/test_junk.py.

`pytest --hypothesis-profile soak` tries a hundred times as many.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cebctl.onboarding import scan_images
from experiments.datasets import OTHER_TEST_SETS, info
from experiments.errors import CebctlError, MatrixError
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix
from experiments.matrix.selection import parse
from jobs.engine import checkpoint_format, weights_file
from jobs.engine.data.datasets import other_test_sets
from jobs.engine.models import build

FEWER = settings.default.max_examples // 4
"""For what takes a tenth of a second."""

MATRIX = """
title: A matrix
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 4, batch: 256}
variants: {wide: {network: {width: 8}}}
grids:
  - objective: xent
  - {objective: [ceb, vib], rho: [3, 0], variants: [wide], exclude: ["rho = 3, objective = ceb"]}
  - {objective: ceb, zip: {rho: [1, 2], lr: [1e-3, 1e-2]}}
seeds: [0, 1]
resources: {train: {memory: 1500M, time: 0:30:00, gpus_per_node: 1}, evaluate: {time: 1-00:00:00}}
evaluate: [clean, information, pgd: {norm: linf, eps: 8/255, steps: 3, only: objective != xent}]
report: {columns: [clean, pgd_linf], notes: [A note.]}
"""
WORDS = (
    "[", "]", "{", "}", ": ", "- ", "&a ", "*a", "<<: ", "!!python/object:os.system ", "? ", "|\n", "#", "'", '"', "%",
    "\t", "null", "true", "~", ".inf", ".nan", "-1", "0", "1e999", "0x10", "9" * 30, "1_000", "2001-01-01", "12:30:45",
    "\0", "\x1b[31m", "\u2028", "\ufeff", "é", "ceb", "rho", "pgd", "objective", "network", "evaluate", "grids", "in (",
    ", ", "from: x.py:Net", "source: objective = xent", "extends: 2", "variants", "zip", "include", "exclude", "not in",
    "<=",
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, content: bytes, words: Sequence[bytes] = ()) -> bytes:
    """Return the bytes with some pieces replaced, moved or removed, and perhaps cut."""
    data = bytearray(content)
    piece = st.binary(max_size=8)
    if words:
        piece = st.one_of(st.sampled_from(words), piece)
    for _ in range(draw(st.integers(1, 6))):
        at, length = draw(st.integers(0, len(data))), draw(st.integers(0, 12))
        source = draw(st.integers(0, len(data)))
        copy = bytes(data[source : source + draw(st.integers(0, 40))])
        data[at : at + length] = draw(st.one_of(piece, st.just(copy)))
    return bytes(data[: draw(st.integers(0, len(data)))]) if draw(st.integers(0, 4)) == 0 else bytes(data)


def is_refused(call: Callable[[], object], *names: object) -> bool:
    """Return whether the call raises the error for a user: a line, or one for each fault of a matrix, that names it."""
    try:
        call()
    except CebctlError as error:
        lines = str(error).split("\n")
        assert len(lines) == 1 or isinstance(error, MatrixError), error
        assert not any(character < " " for line in lines for character in line), error
        assert all(any(str(name) in line for name in names) for line in lines), error
        return True
    return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@given(content=damaged(MATRIX.encode(), [word.encode() for word in WORDS]))
def test_a_matrix(folder: Path, content: bytes) -> None:
    path = folder / "m.yaml"
    path.write_bytes(content)
    is_refused(lambda: load(path), path)


SELECTIONS = (
    "objective in (ceb, cceb), rho <= 3",
    "network.depth != 152, seed not in (1, 2)",
    "eps >= 8/255, norm = linf",
)


@pytest.fixture(scope="module")
def matrix(folder: Path) -> Matrix:
    path = folder / "whole.yaml"
    path.write_text(MATRIX)
    return load(path)


@given(text=st.sampled_from(SELECTIONS).flatmap(lambda text: damaged(text.encode(), [word.encode() for word in WORDS])))
def test_a_selection(matrix: Matrix, text: bytes) -> None:
    selection = text.decode(errors="replace")
    is_refused(lambda: parse(selection), "selection")
    is_refused(lambda: matrix.select(selection), "selection", "--only")


@pytest.fixture(scope="module")
def checkpoint(folder: Path, matrix: Matrix) -> Path:
    """A checkpoint, and an older one beside it."""
    run = matrix.runs[0].run
    for step in (10, 20):
        checkpoint_format.write(folder / "whole", step, checkpoint_format.content(run, build(run), steps_done=step))
    return folder / "whole"


@settings(max_examples=FEWER)
@given(data=st.data())
def test_a_checkpoint(folder: Path, matrix: Matrix, checkpoint: Path, data: st.DataObject) -> None:
    """Damage one that its checksum tells of, or one that the checksum fits, or the name."""
    run = matrix.runs[0].run
    checkpoints = folder / "checkpoints"
    shutil.rmtree(checkpoints, ignore_errors=True)
    shutil.copytree(checkpoint, checkpoints)
    newest = max(checkpoints.iterdir())
    content = data.draw(damaged(newest.read_bytes()))
    newest.unlink()
    name = data.draw(
        st.sampled_from((newest.name, f"000000020.{hashlib.sha256(content).hexdigest()[:16]}.pt", "20.x.pt"))
    )
    (checkpoints / name).write_bytes(content)
    set_aside = data.draw(st.booleans())
    is_refused(lambda: checkpoint_format.load_newest(run, checkpoints, set_aside=set_aside), checkpoints)


def _image(format: str, mode: str, **options: object) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (9, 9, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, format, **options)
    return file.getvalue()


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[274], exif[296], exif[282], exif[305] = 6, 2, 72.0, "a camera"
    return exif


IMAGES = {
    "x.png": _image("PNG", "RGB"), "p.png": _image("PNG", "P"), "x.jpg": _image("JPEG", "RGB", exif=_exif()),
    "cmyk.jpg": _image("JPEG", "CMYK"),
    "x.gif": _image("GIF", "P"), "x.tif": _image("TIFF", "RGB", compression="tiff_lzw"),
    "x.bmp": _image("BMP", "RGB"), "x.webp": _image("WEBP", "RGB", exif=_exif()), "x.pgm": _image("PPM", "L"),
}  # fmt: skip


@settings(max_examples=FEWER)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore")
def test_a_folder_of_images(folder: Path, data: st.DataObject) -> None:
    root = folder / "images"
    shutil.rmtree(root, ignore_errors=True)
    place = st.sampled_from(("a", "b", "train/a", "train/b", "test/a", "test/b", "test", "."))
    places = data.draw(st.sampled_from((("a", "b"), ("train/a", "train/b", "test/a", "test/b"))))
    for place_ in (*places, *data.draw(st.lists(place, max_size=2))):
        for name in data.draw(st.lists(st.sampled_from(sorted(IMAGES)), min_size=2, max_size=3, unique=True)):
            (root / place_).mkdir(parents=True, exist_ok=True)
            (root / place_ / name).write_bytes(IMAGES[name])
    victim = data.draw(st.sampled_from(sorted(root.rglob("*.*"))))
    victim.write_bytes(data.draw(damaged(IMAGES[victim.name])))
    is_refused(lambda: scan_images.scan(root, folder, size=8), root)


def _torch_file(zipped: bool) -> bytes:
    file = io.BytesIO()
    state = {"state_dict": {"fc.weight": torch.ones(3, 2), "fc.bias": torch.zeros(3)}, "epoch": 3}
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def _safetensors() -> bytes:
    header = b'{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"__metadata__":{"format":"pt"}}'
    return len(header).to_bytes(8, "little") + header + bytes(16)


ARCHIVES = (_torch_file(True), _torch_file(False), _safetensors())


@given(content=st.sampled_from(ARCHIVES).flatmap(damaged))
def test_an_archive_of_weights(content: bytes) -> None:
    is_refused(lambda: weights_file.read(content, "net.pt"), "net.pt")


def _array_file() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(20) % 10)
    return file.getvalue()


@given(content=damaged(_array_file(), [b"{", b"}", b"(", b",", b"'descr'", b"<f8", b"|O", b"True", b"9" * 12]))
def test_an_array(folder: Path, content: bytes) -> None:
    path = folder / "labels.npy"
    path.write_bytes(content)
    declared = OTHER_TEST_SETS["cifar10-c"]
    is_refused(lambda: other_test_sets._labels(path, 20, info("cifar10"), declared), path)
