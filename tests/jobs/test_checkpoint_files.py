from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from experiments.errors import InputError, UnreachableError
from jobs import checkpoint_files


def _write(folder: Path, step: int, content: bytes = b"") -> Path:
    return checkpoint_files.write(folder, step, lambda file: file.write(content or b"%d" % step))


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 30):
        _write(tmp_path, step)
    assert [(file.step, file.read()) for file in checkpoint_files.newest_first(tmp_path)] == [(30, b"30"), (2, b"2")]


@pytest.mark.parametrize("harm", ["truncate", "flip", "empty", "remove"])
def test_a_broken_one_is_told_from_a_whole_one(tmp_path: Path, harm: str) -> None:
    _write(tmp_path, 1, b"a" * 1000)
    path = _write(tmp_path, 2, b"b" * 1000)
    if harm == "truncate":
        os.truncate(path, 500)
    elif harm == "flip":
        path.write_bytes(b"b" * 999 + b"c")
    elif harm == "empty":
        os.truncate(path, 0)
    newest, before = checkpoint_files.newest_first(tmp_path)
    if harm == "remove":
        path.unlink()
    assert newest.read() is None
    assert before.read() == b"a" * 1000


def test_no_folder_is_no_checkpoint(tmp_path: Path) -> None:
    assert list(checkpoint_files.newest_first(tmp_path / "none")) == []


def test_a_name_that_is_none_of_a_checkpoint_is_a_stray(tmp_path: Path) -> None:
    path = _write(tmp_path, 1)
    digest = path.name.split(".")[1]
    odd = [
        "9abc.%s.pt",
        "1.%s.pt",
        "000000002.xyz.%s.pt",
        "\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661.%s.pt",
        "9" * 30 + ".%s.pt",
    ]
    for name in odd:
        (tmp_path / (name % digest)).write_bytes(b"1")
    assert [file.path for file in checkpoint_files.newest_first(tmp_path)] == [path]
    assert len(checkpoint_files.strays(tmp_path)) == len(odd)
    _write(tmp_path, 5)
    _write(tmp_path, 6)
    assert len(checkpoint_files.strays(tmp_path)) == len(odd)


def test_a_folder_that_is_none_is_one_line(tmp_path: Path) -> None:
    file, link, loop = tmp_path / "file", tmp_path / "link", tmp_path / "loop"
    file.write_text("x")
    link.symlink_to(tmp_path / "elsewhere")
    loop.symlink_to(loop)
    with pytest.raises(InputError, match=f"^{file}: is not a folder; "):
        checkpoint_files.newest_first(file)
    with pytest.raises(InputError, match=f"^{link}: is a link to {tmp_path}/elsewhere, which is not there; "):
        checkpoint_files.newest_first(link)
    with pytest.raises(UnreachableError, match=f"^{loop}: can't be read: "):
        checkpoint_files.newest_first(loop)


def test_a_folder_may_be_a_link_to_another_disk(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    _write(tmp_path / "link", 3)
    assert [file.read() for file in checkpoint_files.newest_first(tmp_path / "link")] == [b"3"]


def test_a_failed_read_is_not_a_broken_file(tmp_path: Path) -> None:
    path = _write(tmp_path, 1)
    path.unlink()
    path.symlink_to("/proc/self/mem")  # whose first page is read as EIO
    (file,) = checkpoint_files.newest_first(tmp_path)
    with pytest.raises(UnreachableError, match="Input/output error"):
        file.read()


def test_a_failed_write_leaves_the_old_ones(tmp_path: Path) -> None:
    _write(tmp_path, 1)

    def fail(_file: object) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        checkpoint_files.write(tmp_path, 2, fail)
    assert [file.step for file in checkpoint_files.newest_first(tmp_path)] == [1]


def test_an_unfinished_file_of_another_writer_is_left_until_it_is_old(tmp_path: Path) -> None:
    _write(tmp_path, 1)
    other, abandoned = tmp_path / ".000000002.node7.1.part", tmp_path / ".000000002.node8.1.part"
    for path in (other, abandoned):
        path.write_bytes(b"x")
    os.utime(abandoned, (0, 0))
    _write(tmp_path, 3)
    assert other.exists() and not abandoned.exists()


def test_killed_at_any_moment_the_newest_whole_one_is_found(tmp_path: Path) -> None:
    for trial in range(10):
        folder = tmp_path / str(trial)
        child = os.fork()
        if child == 0:
            for step in range(1, 10**6):
                _write(folder, step, b"%d " % step * 20_000)
        while len(list(folder.glob("*.pt"))) < 2:
            time.sleep(0.001)
        time.sleep(0.003 * trial)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = list(checkpoint_files.newest_first(folder))
        assert 2 <= len(found) <= 3
        assert [file.read() for file in found] == [b"%d " % file.step * 20_000 for file in found]
