"""What commands write: regular files and folders where they were asked for, and nothing else is replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cebctl.conftest import Cebctl

KINDS = ["named pipe", "link", "device"]


def make(path: Path, kind: str) -> None:
    if kind == "named pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(path.with_name("elsewhere"))
    elif os.geteuid():
        pytest.skip("only root makes devices")
    else:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 7))  # of the kind of /dev/full, and in a folder of its own


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "arguments",
    [
        ("report", "MATRIX", "--html", "OUT"),
        ("report", "MATRIX", "--figures", "OUT"),
        ("export", "MATRIX", "--to", "csv", "--out", "OUT"),
        ("init", "OUT", "--part", "network"),
        ("corrupt", "FOLDER", "--out", "OUT"),
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_only_regular_files_and_folders_are_written(
    call: Cebctl, tiny: Path, tmp_path: Path, arguments: tuple[str, ...], kind: str
) -> None:
    out = tmp_path / "out.py"
    make(out, kind)
    before = out.lstat().st_ino, out.lstat().st_mode
    places = {"MATRIX": tiny, "OUT": out, "FOLDER": tmp_path}
    answer = call(*[places.get(argument, argument) for argument in arguments])
    assert answer.code == 2 and answer.err.count("\n") == 1 and str(out) in answer.err
    assert (out.lstat().st_ino, out.lstat().st_mode) == before and not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("report", "MATRIX", "--html"),
        ("report", "MATRIX", "--figures"),
        ("export", "MATRIX", "--to", "csv", "--out"),
        ("corrupt", "FOLDER", "--out"),
    ],
    ids=lambda arguments: " ".join(arguments),
)
@pytest.mark.parametrize("out", ["s3://bucket/x", "a\nb", "$NOPE/x"])
def test_a_url_is_no_place(
    call: Cebctl, tiny: Path, tmp_path: Path, arguments: tuple[str, ...], out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    answer = call(*[{"MATRIX": tiny, "FOLDER": tmp_path}.get(argument, argument) for argument in arguments], out)
    assert answer.code == 2 and answer.err.startswith(f"{arguments[-1]}: ") and answer.err.count("\n") == 1
    assert set(tmp_path.iterdir()) == before


def test_export_fills_the_folder_where_one_is(
    call: Cebctl, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert call("export", tiny, "--to", "csv", "--out", ".").code == 0
    assert sorted(path.name for path in Path().iterdir()) == ["metrics.csv", "results.csv", "runs.csv"]
    assert call("export", tiny, "--to", "csv", "--out", ".").code == 2
