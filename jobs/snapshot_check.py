"""The check of a snapshot before anything of it is imported: nobody else can have written it, and its content is that
of its name.

    python -I -c TEXT SNAPSHOT HOME     in the batch script of an array

Python's standard library alone: a batch script holds the text of this file, because a file in the home would be
checking itself.
"""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import shlex
import stat
import struct
import sys
from functools import lru_cache
from pathlib import Path

PACKAGES = ("experiments", "jobs")
"""The folders of a snapshot that it always has."""
PARTS = "parts"
"""The folder of the sources of a matrix's own parts."""
SHARED = "CEBCTL_SHARED"
"""The variable that is `group` where a group works in a home."""
ORIGIN = "origin.json"
"""The record of the commit that a snapshot was made from."""

_ACL = "system.posix_acl_access"
_ACL_USER, _ACL_OWNING_GROUP, _ACL_GROUP = 0x02, 0x04, 0x08
_ACL_WRITE = 2


class UntrustedError(Exception):
    """A file that is not to be run: its path, what is wrong, what to do."""

    def __init__(self, path: Path, wrong: str, remedy: str) -> None:
        super().__init__(f"{path}: {wrong}; {remedy}")
        self.path, self.wrong, self.remedy = path, wrong, remedy


def check_chain(path: Path, top: Path, *, shared: bool = False) -> None:
    """Raise UntrustedError if anybody else owns or can write a file or folder, or one above it up to the folder `top`.

    Root is trusted and, if the folder `top` is `shared`, its group if this user is in it.
    """
    group = shared_group(top) if shared else None
    for place in (path, *path.parents[: len(path.parts) - len(top.parts)]):
        check_writers(place, group)


def shared_group(top: Path) -> int | None:
    """Return the group of a shared folder; None if this user is not in it."""
    group = top.stat().st_gid
    return group if group in (os.getegid(), *os.getgroups()) else None


def check_writers(path: Path, group: int | None = None) -> None:
    """Raise UntrustedError if anybody but this user, root and `group` owns or can write a file or a folder; of a link,
    both it and what it names."""
    entry = path.lstat()
    _check_owner(path, entry, group)
    if stat.S_ISLNK(entry.st_mode):
        entry = path.stat()
        _check_owner(path, entry, group)
    users, groups = _further_writers(path, entry)
    writers = ["everybody"] if entry.st_mode & stat.S_IWOTH else []
    writers += [user_name(user) for user in sorted(users - {os.geteuid(), 0})]
    writers += [
        f"the group {group_name(number)}"
        for number in sorted(groups)
        if number != group and not _is_private(number, os.geteuid())
    ]
    if writers:
        remedy = f"look through it, then `chmod -R g-w,o-w {shlex.quote(str(path))}`"
        raise UntrustedError(path, f"can be written by {', '.join(writers)}", _or_share(remedy, group))


def _check_owner(path: Path, entry: os.stat_result, group: int | None) -> None:
    # Only its members can give a file to a group, so that the group of a shared home tells enough of the owner.
    if entry.st_uid not in (os.geteuid(), 0) and (group is None or entry.st_gid != group):
        owner = user_name(entry.st_uid)
        remedy = "remove it if it was planted, or work in a folder of your own"
        raise UntrustedError(path, f"belongs to {owner}, not to you", _or_share(remedy, group))


def _or_share(remedy: str, group: int | None) -> str:
    return remedy if group is not None else f"{remedy}, or set {SHARED}=group if your group works in this home"


def _further_writers(path: Path, entry: os.stat_result) -> tuple[set[int], set[int]]:
    """Return the users and groups that may write besides the owner, by the mode or by an access control list."""
    if not entry.st_mode & stat.S_IWGRP:  # which is also the mask of a list
        return set(), set()
    try:
        access_list = os.getxattr(path, _ACL)
    except OSError:
        return set(), {entry.st_gid}
    users, groups = set(), set()
    for tag, permissions, number in struct.iter_unpack("<HHI", access_list[4:]):
        if permissions & _ACL_WRITE:
            if tag == _ACL_USER:
                users.add(number)
            elif tag in (_ACL_OWNING_GROUP, _ACL_GROUP):
                groups.add(entry.st_gid if tag == _ACL_OWNING_GROUP else number)
    return users, groups


@lru_cache
def _is_private(group: int, user: int) -> bool:
    """Whether a group is that of one user, this one or root, as systems with umask 002 give to each."""
    try:
        entry = grp.getgrgid(group)
    except KeyError:
        return False
    own = {user_name(user), user_name(0)}
    members = set(entry.gr_mem)
    if group:  # some systems have `sync` and `shutdown` in root's group
        members |= {account.pw_name for account in pwd.getpwall() if account.pw_gid == group}
    # A directory service may not list its accounts: then a group of many could look like one of nobody.
    return members <= own and entry.gr_name in own


def user_name(user: int) -> str:
    """Return the name of a user; one without an account has only a number."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def group_name(group: int) -> str:
    """Return the name of a group, or its number."""
    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)


def source_paths(root: Path, part: str) -> list[Path]:
    """Return the paths, relative to `root`, of the Python files in a folder below it, or of one such file; sorted."""
    paths = [root / part] if part.endswith(".py") else sorted((root / part).rglob("*.py"))
    return [relative for path in paths if path.is_file() and _is_code(relative := path.relative_to(root))]


def _is_code(path: Path) -> bool:
    """Whether an import statement can name it: not so a notebook's checkpoint, an editor's lock or a swap file."""
    return all(name.isidentifier() and name != "__pycache__" for name in path.with_suffix("").parts)


def read_snapshot(folder: Path) -> dict[Path, bytes]:
    """Return the code in a checkout or a snapshot, which may hold the sources of parts."""
    parts = (PARTS,) if (folder / PARTS).is_dir() else ()
    return {path: (folder / path).read_bytes() for part in (*PACKAGES, *parts) for path in source_paths(folder, part)}


def digest(sources: dict[Path, bytes]) -> str:
    """Return the digest of files, which names a snapshot of them."""
    sha256 = hashlib.sha256(b"cebctl code 1")
    for path, content in sources.items():
        sha256.update(f"\0{path.as_posix()}\0{len(content)}\0".encode() + content)
    return sha256.hexdigest()[:16]


def check_snapshot(folder: Path, home: Path, *, shared: bool = False) -> None:
    """Raise UntrustedError unless only trusted users can have written a snapshot, and it holds the code of its name and
    nothing else that could be imported."""
    check_chain(folder, home, shared=shared)
    group = shared_group(home) if shared else None
    paths = sorted(folder.rglob("*"))
    for path in paths:
        check_writers(path, group)
    sources = read_snapshot(folder)
    for path in paths:
        is_expected = path.is_dir() or _is_expected(path.relative_to(folder), sources)
        if path.is_symlink() or not is_expected:  # what a link names may lie where others can write
            raise _changed(folder, f": {path.relative_to(folder)}")
    if digest(sources) != folder.name:
        raise _changed(folder)


def _changed(folder: Path, where: str = "") -> UntrustedError:
    remedy = "remove it: `cebctl submit` makes it again"
    return UntrustedError(folder, f"holds other code than its name says{where}", remedy)


def _is_expected(path: Path, sources: dict[Path, bytes]) -> bool:
    """Whether a file is part of a snapshot, its bytecode, or one that no import can name."""
    is_bytecode = path.parent.name == "__pycache__" and path.suffix == ".pyc"
    return path in sources or path == Path(ORIGIN) or is_bytecode or path.name.startswith(".")


if __name__ == "__main__":
    try:
        check_snapshot(Path(sys.argv[1]), Path(sys.argv[2]), shared=os.environ.get(SHARED) == "group")
    except (UntrustedError, OSError) as error:
        sys.exit(f"the code of this job is not run: {error}")
