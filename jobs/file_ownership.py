"""File ownership in a home: only files of this user, of root and of the folder's owner are trusted.

Jobs unpickle checkpoints and run code from the home, so that a file of another user could do harm. A home is private
by default. CEBCTL_SHARED=group opens a new home to the user's group, whose members are then trusted too.
"""

from __future__ import annotations

import getpass
import os
import pwd
from pathlib import Path

from experiments.errors import InputError

GROUP = "group"


def is_shared() -> bool:
    """Whether the user's group works in this home. Raises InputError for an unknown value of CEBCTL_SHARED."""
    setting = os.environ.get("CEBCTL_SHARED", "")
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
            f"belongs to {_name(owner)}, and its folder to {_name(folder_owner)}: it is not believed",
            "remove it, or set CEBCTL_SHARED=group if your group works in this home",
        )


def user_name() -> str:
    """Return this user's name, by the environment or passwd; the number of a user that has none, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
