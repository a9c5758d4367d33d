"""Files of strangers: a home keeps them out, and what lies in it all the same is not believed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.errors import InputError
from jobs import checkpoint_files, file_ownership
from jobs.journal.files import Journal, read
from jobs.journal.records import Succeeded
from jobs.paths import RunPaths

STRANGER, COLLEAGUE = 64_001, 64_002
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def test_a_home_is_private_unless_the_group_shares_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file_ownership.restrict_umask(tmp_path / "mine")
    with Journal(tmp_path / "mine" / "runs" / "r" / "journal" / "train.1.jsonl"):
        pass
    assert {path.stat().st_mode & 0o077 for path in [tmp_path / "mine", *(tmp_path / "mine").rglob("*")]} == {0}
    monkeypatch.setenv("CEBCTL_SHARED", "group")
    file_ownership.restrict_umask(tmp_path / "ours")
    assert (tmp_path / "ours").stat().st_mode & 0o7777 == 0o2770
    monkeypatch.setenv("CEBCTL_SHARED", "everybody")
    with pytest.raises(InputError, match=r"CEBCTL_SHARED: is 'everybody'; allowed: group"):
        file_ownership.restrict_umask(tmp_path / "theirs")


def test_in_a_shared_home_every_command_writes_for_the_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for shared, mode in (("", 0o644), ("group", 0o664)):
        monkeypatch.setenv("CEBCTL_SHARED", shared)
        os.umask(0o022)
        file_ownership.share_umask()
        (tmp_path / shared).mkdir(exist_ok=True)
        path = tmp_path / shared / "told.json"
        path.touch()
        assert path.stat().st_mode & 0o777 == mode


@root_only
@pytest.mark.parametrize("user", [1, 1000, STRANGER])
def test_a_strangers_checkpoint_and_journal_are_refused(
    paths: RunPaths, monkeypatch: pytest.MonkeyPatch, user: int
) -> None:
    checkpoint_files.write(paths.checkpoints, 1, lambda file: file.write(b"weights"))
    (checkpoint,) = checkpoint_files.newest_first(paths.checkpoints)
    with Journal(paths.journal("train", 1)) as journal:
        journal.write(Succeeded())
    for path, look in (
        (checkpoint.path, checkpoint.read),
        (paths.journal("train", 1), lambda: read(paths.journal("train", 1))),
    ):
        os.chown(path, user, -1)
        with pytest.raises(InputError, match=rf"{path.name}: belongs to \S+( \d+)?, and its folder to root"):
            look()
        with monkeypatch.context() as patch:
            patch.setenv("CEBCTL_SHARED", "group")
            assert look()


@root_only
def test_a_colleagues_own_run_is_read(paths: RunPaths) -> None:
    with Journal(paths.journal("train", 1)) as journal:
        journal.write(Succeeded())
    for path in (paths.journal("train", 1), paths.journal("train", 1).parent):
        os.chown(path, COLLEAGUE, -1)
    assert len(read(paths.journal("train", 1)).records) == 1


@root_only
@pytest.mark.parametrize(("variables", "name"), [({}, "54321"), ({"USER": "ann"}, "ann")])
def test_a_user_without_an_entry_in_passwd_is_a_number(variables: dict[str, str], name: str) -> None:
    script = "import os; from jobs.file_ownership import user_name; os.setuid(54321); print(user_name())"
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), **variables}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.stdout == f"{name}\n", done.stderr
