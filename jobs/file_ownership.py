"""Whose files are believed: those of this user, of root, and of whoever owns the folder they lie in.

A home is private by default, so that nobody else can write there. CEBCTL_SHARED=group opens a new home to the
user's group, whose members are then believed too.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from experiments.errors import InputError

GROUP = "group"


def is_shared() -> bool:
    """Whether the user's group works in this home. Raises InputError if CEBCTL_SHARED says neither."""
    given = os.environ.get("CEBCTL_SHARED", "")
    if given not in ("", GROUP):
        raise InputError("CEBCTL_SHARED", f"is {given!r}", f"allowed: {GROUP}, or nothing for a private home")
    return given == GROUP


def restrict_umask(home: Path) -> None:
    """From now on this process creates files for the user alone, or for the group too where the home is shared;
    the home's folder is made if there is none."""
    if not is_shared():
        os.umask(0o077)
        home.mkdir(parents=True, exist_ok=True)
        return
    os.umask(0o007)
    if not home.exists():
        home.mkdir(parents=True)
        home.chmod(0o2770)  # what is made inside belongs to the same group


def share_umask() -> None:
    """Where the home is shared, this process too creates files that the group can write, whatever the user's umask."""
    if is_shared():
        os.umask(os.umask(0) & ~0o070)


def check_owner(path: Path, owner: int) -> None:
    """Raise InputError if the file's owner, a user's number, is somebody who is not believed."""
    if owner in (os.geteuid(), 0) or is_shared():
        return
    folder_owner = path.parent.stat().st_uid
    if owner != folder_owner:
        raise InputError(
            path,
            f"belongs to {_name(owner)}, and its folder to {_name(folder_owner)}: it is not believed",
            "remove it, or set CEBCTL_SHARED=group if your group works in this home",
        )


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
