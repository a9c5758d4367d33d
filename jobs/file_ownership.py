"""File ownership in a home: whose files are read, and whose code and commands are run.

Journals, checkpoints and weights are data: those of this user, of root and of the folder's owner are read. Code,
configuration and commands are run only if nobody but this user and root can have written them. A home is private by
default. CEBCTL_SHARED=group opens a new home to the user's group, whose members are then trusted too.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experiments.errors import InputError
from jobs import snapshot_check
from jobs.snapshot_check import user_name

GROUP = "group"


def is_shared() -> bool:
    """Whether the user's group works in this home. Raises InputError for an unknown value of CEBCTL_SHARED."""
    setting = os.environ.get(snapshot_check.SHARED, "")
    if setting not in ("", GROUP):
        raise InputError("CEBCTL_SHARED", f"is {setting!r}", f"allowed: {GROUP}, or nothing for a private home")
    return setting == GROUP


def restrict_umask(home: Path) -> None:
    """Make this process create files for the user alone, or for the group too where the home is shared.

    Creates the home's folder if it does not exist.
    """
    if not is_shared():
        os.umask(0o077)
        home.mkdir(parents=True, exist_ok=True)
        return
    os.umask(0o007)
    if not home.exists():
        home.mkdir(parents=True)
        home.chmod(0o2770)  # setgid: new files inside belong to the same group


def share_umask() -> None:
    """Let the group write what this process creates, where the home is shared, whatever the user's umask."""
    if is_shared():
        os.umask(os.umask(0) & ~0o070)


def check_owner(path: Path, owner: int) -> None:
    """Raise InputError if the file's owner, a numeric user id, is not trusted."""
    if owner in (os.geteuid(), 0) or is_shared():
        return
    folder_owner = path.parent.stat().st_uid
    if owner != folder_owner:
        raise InputError(
            path,
            f"belongs to {user_name(owner)}, and its folder to {user_name(folder_owner)}: it is not believed",
            "remove it, or set CEBCTL_SHARED=group if your group works in this home",
        )


def login_name() -> str:
    """Return this user's name, by the environment or passwd; the number of a user that has none, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def check_private(path: Path, top: Path) -> None:
    """Raise InputError if anybody who is not trusted owns or can write a file or folder, or one above it up to the
    folder `top`: for what is run."""
    with _refusing():
        snapshot_check.check_chain(path, top, shared=is_shared())


def check_snapshot(folder: Path, home: Path) -> None:
    """Raise InputError unless a snapshot of the code may be run: see `snapshot_check.check_snapshot`."""
    with _refusing():
        snapshot_check.check_snapshot(folder, home, shared=is_shared())


def untrusted_entries(home: Path) -> list[snapshot_check.UntrustedError]:
    """Return an error for a home that somebody who is not trusted owns or can write; else for each such entry in it."""
    group = snapshot_check.shared_group(home) if is_shared() else None
    errors: list[snapshot_check.UntrustedError] = []
    for path in (home, *sorted(home.iterdir())):
        try:
            snapshot_check.check_writers(path, group)
        except snapshot_check.UntrustedError as error:
            errors.append(error)
        except FileNotFoundError:  # a temporary file, or a link to nothing
            continue
        if errors and path == home:
            break
    return errors


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except snapshot_check.UntrustedError as error:
        raise InputError(error.path, error.wrong, error.remedy) from None
