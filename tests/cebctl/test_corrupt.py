"""`cebctl corrupt`: the same files however often it is killed and on however many cores, and odd folders."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cebctl.render import corrupt_view
from experiments.benchmarks import CORRUPTIONS, EXTRA_CORRUPTIONS

AS_IS = ("--pipeline", "as-is")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Twelve square pictures of 32 pixels in two classes."""
    folder, draw = tmp_path / "pets", np.random.default_rng(1)
    for number in range(12):
        file = folder / ("cat", "dog")[number % 2] / f"{number:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(file)
    return folder


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.fault
def test_a_killed_one_goes_on_to_the_same_files(start, cebctl, pictures: Path, tmp_path: Path) -> None:
    whole = cebctl("corrupt", pictures, "--out", "whole", *AS_IS, "--extra", "--workers", "3", "--json")
    assert whole.code == 0, whole.err
    assert (json.loads(whole.out)["written"], json.loads(whole.out)["present"]) == (12 * 19 * 5, 0)
    folders = {path.relative_to(tmp_path / "whole").parts[:2] for path in (tmp_path / "whole").glob("*/*/*/*.png")}
    assert folders == {(name, str(severity)) for name in (*CORRUPTIONS, *EXTRA_CORRUPTIONS) for severity in range(1, 6)}

    killed = start("corrupt", pictures, "--out", "out", *AS_IS, "--extra", "--workers", "2")
    while len(list((tmp_path / "out").glob("*/*/*/*.png"))) < 100:
        assert killed.poll() is None
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    time.sleep(0.5)  # its processes die with it
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").glob("*/*/*/[!.]*.png")}
    assert 100 <= len(before) < 12 * 19 * 5
    emptied, *_ = before
    emptied.write_bytes(b"")  # as a machine without power may leave it
    left = emptied.with_name(f".00.{os.uname().nodename}~{killed.pid}.part.png")
    left.write_bytes(b"half")
    again = cebctl("corrupt", pictures, "--out", "out", *AS_IS, "--extra", "--workers", "1")
    assert again.code == 0 and f"{len(before) - 1} were there" in again.err.replace(",", "")
    assert _tree(tmp_path / "out") == _tree(tmp_path / "whole")
    assert all(file.stat().st_mtime_ns == time for file, time in before.items() if file != emptied)


@pytest.mark.fault
def test_several_at_once_end_with_the_same_files(start, call, pictures: Path, tmp_path: Path) -> None:
    options = ("--corruption", "fog", "--corruption", "snow", *AS_IS)
    together = [start("corrupt", pictures, "--out", "out", *options, "--workers", "1") for _ in range(3)]
    for process in together:
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
    assert call("corrupt", pictures, "--out", tmp_path / "alone", *options).code == 0
    assert _tree(tmp_path / "out") == _tree(tmp_path / "alone")


def test_only_what_is_missing_and_nothing_of_other_parameters(call, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fog = ("corrupt", pictures, "--out", out, "--size", "32", "--corruption", "fog")
    first = call(*fog, "--severity", "2")
    assert (first.code, first.err.splitlines()[-1]) == (0, f"{out}: 12 files written: 12 images in 1 set")
    assert "12 images smaller than 36 pixels: enlarged; --pipeline as-is keeps their size" in first.err
    assert call(*fog, "--severity", "2", "--severity", "3").err.count("12 files written, 12 were there") == 1
    before = _tree(out)
    assert sorted(name for name in before if "dog" in name) == [f"fog/{s}/dog/{n:02d}.png.JPEG" for s in (2, 3)
                                                          for n in range(1, 12, 2)]  # fmt: skip

    def refused(*arguments: object) -> str:
        answer = call("corrupt", *arguments)
        assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1), answer
        assert _tree(out) == before
        return str(answer.err)

    assert "was begun with --size 32, now 64; name another --out" in refused(*fog[1:4], "--size", "64")
    assert "was begun with --pipeline published, now as-is; " in refused(*fog[1:6], *AS_IS)
    record = json.loads((out / "cebctl-corrupt.json").read_text())
    record["versions"]["fog"] = 0
    (out / "cebctl-corrupt.json").write_text(json.dumps(record))
    before = _tree(out)
    assert "was begun with version of fog 0, now 1" in refused(*fog[1:])
    (out / "cebctl-corrupt.json").write_text("{")
    before = _tree(out)
    assert "cebctl-corrupt.json: damaged: " in refused(*fog[1:])
    record["versions"]["fog"] = 1
    (out / "cebctl-corrupt.json").write_text(json.dumps(record))
    before = _tree(out)
    (pictures / "cat/00.png").write_bytes((pictures / "cat/02.png").read_bytes())
    assert f"was begun with other images than {pictures} has now" in refused(*fog[1:])


def test_wrong_input_is_one_line(call, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "nested").mkdir()
    pictures.rename(tmp_path / "nested/test")
    pictures = tmp_path / "nested/test"
    (tmp_path / "twins/a").mkdir(parents=True)
    for name in ("1.bmp", "1.bmp.JPEG"):
        (tmp_path / "twins/a" / name).write_bytes((pictures / "cat/00.png").read_bytes())
    (tmp_path / "broken/a").mkdir(parents=True)
    (tmp_path / "broken/a/1.png").write_bytes(b"no")
    Image.new("RGB", (8, 6)).save(pictures / "cat/oblong.png")
    for arguments, message in {
        (tmp_path / "none", "--out", tmp_path / "o"): "none: No such file or directory",
        (tmp_path / "empty", "--out", tmp_path / "o"): "empty: no images in <class>/<file>; such as cat/1.png",
        (tmp_path / "nested", "--out", tmp_path / "o"): "nested: no images in <class>/<file>; name nested/test",
        (tmp_path / "broken", "--out", tmp_path / "o"): "none of 1 image can be read; a/1.png: no image",
        (tmp_path / "twins", "--out", tmp_path / "o"): "would get the same name as a/1.bmp; rename one of them",
        (pictures, "--out", pictures / "c"): "whose images are read; name a folder outside of it",
        (pictures, "--out", tmp_path): "holds other files than of `cebctl corrupt`; a new or an empty folder",
        (pictures, "--out", tmp_path / "file"): "not a folder",
        (pictures, "--out", tmp_path / "o", *AS_IS): "oblong.png: 8x6 pixels, and corruptions are of square images (1",
        (pictures, "--out", tmp_path / "o", "--corruption", "fogg"): "no such corruption; did you mean 'fog'?",
        (pictures, "--out", tmp_path / "o", "--severity", "6"): "Invalid value for '--severity': Input should be less",
    }.items():
        answer = call("corrupt", *arguments)
        assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1), answer
        assert message in answer.err and not (tmp_path / "o").exists()


def test_odd_images_are_counted(call, pictures: Path, tmp_path: Path) -> None:
    Image.new("RGBA", (16, 16), (9, 9, 9, 128)).save(pictures / "cat/clear.png")
    Image.new("L", (16, 16), 40).save(pictures / "cat/grey.png")
    Image.new("I;16", (16, 16)).save(pictures / "cat/deep.png")
    whole = (pictures / "dog/01.png").read_bytes()
    (pictures / "dog/01.png").write_bytes(whole[:700])
    (pictures / "dog/01.png.d").mkdir()
    (pictures / "dog/01.png.d/x.png").write_bytes(whole)
    (pictures / "beside.png").write_bytes(whole)
    arguments = ("corrupt", pictures, "--out", tmp_path / "out", *AS_IS, "--corruption", "contrast", "--severity", 1)
    answer = call(*arguments)
    assert answer.code == 1
    for line, begin in zip(answer.err.splitlines(), [
        "note left aside: 1 image in no class folder (beside.png)",
        "note left aside: 1 image deeper than <class>/<file> (dog/01.png.d/x.png)",
        "note 1 image with transparency: it is dropped, as in evaluations",
        "note 1 image in grey among coloured ones: made RGB",
        "note no severities were published for 16 pixels: those of the nearest size are taken",
        f"{tmp_path / 'out'}: 13 files written: 15 images in 1 set",
        "left out: 2 images: cat/deep.png (no image that can be read: I;16 pixels, more than 8 bits a "
        "channel), dog/01.png (no image that can be read: image file is truncated",
    ], strict=True):  # fmt: skip
        assert line.startswith(begin)
    # Once it is whole again, its file follows, under the same index as in a folder that was never broken.
    (pictures / "dog/01.png").write_bytes(whole)
    answer = call(*arguments, "--json")
    assert (json.loads(answer.out)["written"], list(json.loads(answer.out)["unreadable"])) == (1, ["cat/deep.png"])
    call(*arguments[:3], tmp_path / "other", *arguments[4:])
    assert (tmp_path / "out/contrast/1/dog/01.png").read_bytes() == (
        tmp_path / "other/contrast/1/dog/01.png"
    ).read_bytes()


def test_without_a_terminal_a_line_now_and_then_shows_the_progress(
    call, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corrupt_view, "_SECONDS_BETWEEN_LINES", -1)
    answer = call("corrupt", pictures, "--out", tmp_path / "out", *AS_IS, "--corruption", "contrast")
    assert answer.err.splitlines()[:2] == ["0 of 60 files", "60 of 60 files"]


def test_odd_metadata_prints_nothing(cebctl, tmp_path: Path) -> None:
    (tmp_path / "pets/cat").mkdir(parents=True)
    cut_off = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0"
    Image.new("RGB", (32, 32)).save(tmp_path / "pets/cat/1.jpg", exif=cut_off)
    answer = cebctl("corrupt", "pets", "--out", "out", *AS_IS, "--corruption", "fog")
    assert (answer.code, answer.err) == (0, "out: 5 files written: 1 image in 5 sets\n")


def test_grey_images_stay_grey(call, tmp_path: Path) -> None:
    (tmp_path / "digits/7").mkdir(parents=True)
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "digits/7/a.png")
    assert call("corrupt", tmp_path / "digits", "--out", tmp_path / "out", *AS_IS, "--severity", "4").code == 0
    assert {Image.open(file).mode for file in (tmp_path / "out").rglob("*.png")} == {"L"}


def test_names_may_be_any_bytes(call, tmp_path: Path) -> None:
    (tmp_path / "caf\udce9").mkdir()
    for name in ("1\udcff.png", "2\n.png", "3.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / "caf\udce9" / name)
    (tmp_path / "caf\udce9/2\n.png").write_bytes(b"no")
    arguments = ("corrupt", tmp_path, "--out", tmp_path.parent / "out", *AS_IS, "--corruption", "fog", "--severity", 1)
    for files in (2, 0):
        answer = call(*arguments, "--json")
        written = json.loads(answer.out)
        assert (written["written"], list(written["unreadable"])) == (files, ["caf\\xe9/2\\n.png"]), answer
    assert (tmp_path.parent / "out/fog/1/caf\udce9/1\udcff.png").exists()
