"""Paths as users write them: what they mean, and what is refused."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments import own_dataset, pretrained
from experiments.atomic_files import filling, replacing, write_atomic
from experiments.errors import InputError
from experiments.user_paths import check_folder, expand, from_variable, in_cache


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.setenv("SCRATCH", "/scratch")
    monkeypatch.delenv("NOPE", raising=False)


@pytest.mark.parametrize(
    ("text", "path"),
    [("~/x", "/home/anna/x"), ("$SCRATCH/x", "/scratch/x"), ("/a/${SCRATCH}", "/a//scratch"), ("/a b%j?#", "/a b%j?#")],
)
def test_home_and_variables_are_expanded(text: str, path: str) -> None:
    assert expand(text, "CEBCTL_HOME") == Path(path)


def test_what_exists_is_meant_literally(tmp_path: Path) -> None:
    """So a job, which is told an absolute path, takes it for the same one."""
    for name in ("~", "$SCRATCH", "s3:"):
        Path(name).mkdir()
        assert expand(str(tmp_path / name), "CEBCTL_HOME") == expand(name, "CEBCTL_HOME") == tmp_path / name


@pytest.mark.parametrize("text", ["s3://bucket/x", "gs:/x", "file:///x", "~nobody-here/x", "$NOPE/x", "${NOPE}"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"CEBCTL_HOME: .*; name ") as caught:
        expand(text, "CEBCTL_HOME")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("character", ["\n", "\r", "\x1b", "\x7f", "\x85", "\t"])
def test_control_characters_are_refused_and_not_printed(character: str) -> None:
    with pytest.raises(InputError, match="holds a control character") as caught:
        expand(f"a{character}b", "CEBCTL_HOME")
    assert character not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "folder"),
    [
        ("CEBCTL_DATA", own_dataset.data_folder),
        ("HF_HUB_CACHE", pretrained._hub_folder),
        ("HF_HOME", pretrained._hub_folder),
        ("XDG_CACHE_HOME", pretrained._hub_folder),
    ],
)
def test_each_variable_is_read_alike(
    variable: str, folder: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CEBCTL_DATA", "HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "~/x")
    assert folder().is_relative_to("/home/anna/x")
    monkeypatch.setenv(variable, "s3://bucket")
    with pytest.raises(InputError, match=f"{variable}: s3://bucket is a URL"):
        folder()
    monkeypatch.setenv(variable, "")
    assert from_variable(variable, "data").name == "data"


@pytest.mark.parametrize("kind", ["file", "named pipe", "link"])
def test_a_folder_in_whose_place_is_something_else_is_refused(tmp_path: Path, kind: str) -> None:
    make(tmp_path / "x", kind)
    for path in (tmp_path / "x", tmp_path / "x" / "y"):
        with pytest.raises(InputError, match=f"x is a {kind}"):
            check_folder(path, "CEBCTL_HOME")
    assert check_folder(tmp_path / "new" / "y", "CEBCTL_HOME")


def make(path: Path, kind: str) -> None:
    if kind == "named pipe":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(str(path))
    elif kind == "device":
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 7))
    elif kind == "link":
        path.symlink_to("/nowhere")
    else:
        path.write_text("old")


@pytest.mark.parametrize("kind", ["named pipe", "socket", "link", "device"])
def test_only_regular_files_are_replaced(tmp_path: Path, kind: str) -> None:
    """A node of its own: a command of root's replaced /dev/full."""
    path = Path("x")
    if kind == "device" and os.geteuid():
        pytest.skip("only root makes devices")
    make(path, kind)
    before = path.lstat().st_ino, path.lstat().st_mode
    for write in (lambda: write_atomic(path, b"new"), lambda: replacing(path).__enter__()):
        with pytest.raises(InputError, match=f"x: is a {kind}"):
            write()
    assert (path.lstat().st_ino, path.lstat().st_mode) == before and [file.name for file in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("folder", [".", "new/x", "empty"])
def test_a_folder_is_filled_where_it_is(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    if folder == ".":
        os.chdir("empty")
    inode = Path(folder).stat().st_ino if Path(folder).exists() else None
    Path(folder).parent.mkdir(exist_ok=True)
    with filling(Path(folder)) as temporary:
        (temporary / "a").write_text("b")
    assert [path.name for path in Path(folder).iterdir()] == ["a"]
    assert inode is None or Path(folder).stat().st_ino == inode


def test_a_cache_is_where_the_xdg_rules_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert in_cache("TORCH_HOME", "torch") == tmp_path / "torch"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/nowhere")
    assert in_cache("TORCH_HOME", "torch") == Path("/nowhere/.cache/torch")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert in_cache("TORCH_HOME", "torch") == tmp_path


def test_a_user_without_a_home_folder_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_entry(user: int) -> pwd.struct_passwd:
        raise KeyError(user)

    for name in ("TORCH_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", no_entry)
    with pytest.raises(InputError, match=r"^HOME: is not set, .*; set HOME$"):
        in_cache("TORCH_HOME", "torch")
