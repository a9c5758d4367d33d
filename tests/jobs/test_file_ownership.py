"""Files of strangers: a home keeps them out, and what lies in it all the same is not believed."""

from __future__ import annotations

import grp
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
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
    script = "import os; from jobs.file_ownership import login_name; os.setuid(54321); print(login_name())"
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), **variables}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.stdout == f"{name}\n", done.stderr


DAEMON, BIN, MAIL, USERS = 1, 2, 8, 100
"""Users of every Linux, the first three with a group of their own; USERS is a group of many."""


def refusal(path: Path, top: Path, user: int = DAEMON, group: int = DAEMON, *groups: int, shared: str = "") -> str:
    """Return why another user's process does not run what lies at a path."""
    output, input = os.pipe()
    if not (child := os.fork()):
        os.setgroups(groups)
        os.setgid(group)
        os.setuid(user)
        os.environ["CEBCTL_SHARED"] = shared
        try:
            file_ownership.check_private(path, top)
        except BaseException as error:
            os.write(input, f"{'' if isinstance(error, InputError) else repr(error)}{error}".encode())
        os._exit(0)
    os.close(input)
    with os.fdopen(output) as file:
        text = file.read()
    os.waitpid(child, 0)
    return text


@pytest.fixture
def hook() -> Iterator[Path]:
    """A file of the user `daemon` in a folder of theirs, in a place that every user can reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder, "home", "code", "hook")
        path.parent.mkdir(parents=True, mode=0o755)
        path.touch(0o644)
        for place in (path.parents[1], path.parent, path):
            os.chown(place, DAEMON, DAEMON)
        yield path


@root_only
class TestWhatIsRun:
    def test_of_this_user_or_root(self, hook: Path) -> None:
        home = hook.parents[1]
        assert refusal(hook, home) == ""
        os.chown(hook, 0, 0)
        assert refusal(hook, home) == ""

    @pytest.mark.parametrize("owner", [BIN, 1000, STRANGER])
    @pytest.mark.parametrize("level", [0, 1, 2])
    def test_not_of_anybody_else(self, hook: Path, owner: int, level: int) -> None:
        place = [hook, *hook.parents][level]
        os.chown(place, owner, DAEMON)
        assert refusal(hook, hook.parents[1]).startswith(f"{place}: belongs to {file_ownership.user_name(owner)}")
        assert "work in a folder of your own, or set CEBCTL_SHARED=group" in refusal(hook, hook.parents[1])

    def test_root_runs_nobody_elses_either(self, hook: Path) -> None:
        with pytest.raises(InputError, match="hook: belongs to daemon, not to you; remove it"):
            file_ownership.check_private(hook, hook.parents[1])

    @pytest.mark.parametrize(
        ("mode", "group", "writers"),
        [
            (0o775, DAEMON, ""),  # umask 002 and a private group of one
            (0o775, 0, ""),
            (0o755, USERS, ""),
            (0o775, BIN, "the group bin"),
            (0o775, USERS, "the group users"),
            (0o775, STRANGER, f"the group {STRANGER}"),
            (0o757, DAEMON, "everybody"),
            (0o1777, DAEMON, "everybody"),
            (0o777, USERS, "everybody, the group users"),
        ],
    )
    @pytest.mark.parametrize("level", [0, 1, 2])
    def test_only_where_nobody_else_can_write(
        self, hook: Path, mode: int, group: int, writers: str, level: int
    ) -> None:
        place = [hook, *hook.parents][level]
        os.chown(place, DAEMON, group)
        place.chmod(mode)
        refused = refusal(hook, hook.parents[1])
        assert refused.startswith(f"{place}: can be written by {writers}; look") if writers else not refused
        assert "\n" not in refused and (f"chmod -R g-w,o-w {place}" in refused) == bool(writers)

    def test_a_group_of_this_users_name_with_more_members(self, hook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        hook.chmod(0o664)
        assert refusal(hook, hook) == ""
        monkeypatch.setattr(grp, "getgrgid", lambda number: grp.struct_group(("daemon", "x", number, ["mail"])))
        assert "can be written by the group daemon" in refusal(hook, hook)

    def test_a_folder_above_the_home_is_not_the_homes(self, hook: Path) -> None:
        hook.parents[2].chmod(0o777)
        assert refusal(hook, hook.parents[1]) == ""

    def test_a_user_without_an_account(self, hook: Path) -> None:
        os.chown(hook, STRANGER, STRANGER)
        assert refusal(hook, hook, STRANGER, STRANGER) == ""
        hook.chmod(0o664)
        assert f"can be written by the group {STRANGER}" in refusal(hook, hook, STRANGER, STRANGER)

    def test_a_link_is_its_file(self, hook: Path) -> None:
        link = hook.with_name("link")
        link.symlink_to(hook)
        assert refusal(link, link) == ""
        os.chown(link, BIN, -1, follow_symlinks=False)
        assert f"{link}: belongs to bin" in refusal(link, link)
        os.chown(link, DAEMON, -1, follow_symlinks=False)
        os.chown(hook, BIN, -1)
        assert f"{link}: belongs to bin" in refusal(link, link)

    @pytest.mark.parametrize(
        ("entries", "writers"),
        [([(2, 6, BIN)], "bin"), ([(8, 6, MAIL)], "the group mail"), ([(2, 4, BIN)], ""), ([(2, 6, DAEMON)], "")],
    )
    def test_an_access_control_list_lets_write_too(
        self, hook: Path, entries: list[tuple[int, int, int]], writers: str
    ) -> None:
        acl = [(1, 6, 0xFFFFFFFF), *entries, (4, 4, 0xFFFFFFFF), (16, 6, 0xFFFFFFFF), (32, 4, 0xFFFFFFFF)]
        acl.sort(key=lambda entry: entry[0])
        packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in acl)
        os.setxattr(hook, "system.posix_acl_access", packed)
        assert (f"can be written by {writers};" in refusal(hook, hook)) == bool(writers)
        hook.chmod(0o644)  # sets the list's mask
        assert refusal(hook, hook) == ""

    def test_in_a_shared_home_of_the_group(self, hook: Path) -> None:
        home = hook.parents[1]
        for place in (home, hook.parent, hook):
            os.chown(place, BIN, MAIL)
            place.chmod(0o2770)
        assert refusal(hook, home, DAEMON, DAEMON, MAIL, shared="group") == ""
        assert "belongs to bin" in refusal(hook, home, DAEMON, DAEMON, MAIL)
        os.chown(hook, BIN, BIN)
        assert "belongs to bin, not to you; remove it" in refusal(hook, home, DAEMON, DAEMON, MAIL, shared="group")
        os.chown(hook, DAEMON, USERS)
        assert "the group users" in refusal(hook, home, DAEMON, DAEMON, MAIL, shared="group")
        os.chown(hook, DAEMON, MAIL)
        hook.chmod(0o666)
        assert "can be written by everybody" in refusal(hook, home, DAEMON, DAEMON, MAIL, shared="group")

    def test_in_a_shared_home_of_another_group(self, hook: Path) -> None:
        home = hook.parents[1]
        os.chown(home, BIN, MAIL)
        home.chmod(0o2775)
        assert refusal(hook, home, shared="group").startswith(f"{home}: belongs to bin")
