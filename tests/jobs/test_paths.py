"""The home: from the environment or by name, the address of its store, and what a killed process leaves in it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cebctl.submission.pretrained_weights import take_into_home
from experiments.errors import InputError
from jobs.paths import Home
from store.connect import open_store


@pytest.mark.parametrize("name", ["a:b", "a%job", "%t", "s3://b", "a\nb", "file", "file/x", "dangling/x"])
def test_a_home_that_can_not_be_is_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("dangling").symlink_to("/nowhere")
    monkeypatch.setenv("CEBCTL_HOME", name)
    with pytest.raises(InputError, match=r"^CEBCTL_HOME: "):
        Home.from_environment()
    with pytest.raises(InputError, match=r"^home: "):
        Home.at(name)


@pytest.mark.parametrize("name", ["plain", "a b", "a?x=1", "a#b", "a%20b", "a%b", "50%", "ü", "a@b", "[a]", "a;b"])
def test_its_store_is_inside_whatever_its_name(tmp_path: Path, name: str) -> None:
    home = Home.at(tmp_path / name)
    with open_store(home.store_url, home):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "store.sqlite").is_file()


def test_a_store_of_one_s_own_is_a_path_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for url, name in (("sqlite:///~/a.sqlite", "a.sqlite"), (f"sqlite:///{tmp_path}/b%3F.sqlite", "b?.sqlite")):
        with open_store(url):
            pass
        assert (tmp_path / name).is_file()
    literal = tmp_path / "c%20.sqlite"
    literal.touch()
    with open_store(f"sqlite:///{literal}"):
        pass
    assert literal.stat().st_size
    for url in (f"sqlite:///{tmp_path}/x?mode=ro", "sqlite:///$NOPE/x", "sqlite:///a\nb"):
        with pytest.raises(InputError, match=r"^CEBCTL_STORE: "):
            open_store(url)


KILLED = """
import os, pathlib, sys
from jobs.paths import Home
sys.addaudithook(lambda event, arguments: event == "os.link" and os.kill(os.getpid(), 9))
Home(pathlib.Path(sys.argv[1])).identify(())
"""


def test_an_identity_that_was_not_finished(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=Path(__file__).parents[2])
    assert done.returncode == -9 and len(list(tmp_path.iterdir())) == 1
    identity = Home(tmp_path).identify(())
    assert Home(tmp_path).identify(()) == identity
    assert [path.name for path in tmp_path.iterdir()] == ["home-id"]


def test_parts_of_weights_but_not_those_that_somebody_writes(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    folder = tmp_path / "weights"
    folder.mkdir()
    left, busy = (folder / f".abc.{socket.gethostname()}~{pid}.part.pt" for pid in (ended.pid, os.getppid()))
    left.touch()
    busy.touch()
    take_into_home([], Home(tmp_path))
    assert list(folder.iterdir()) == [busy]
