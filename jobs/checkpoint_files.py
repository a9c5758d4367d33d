"""Checkpoint files, without torch: written beside and renamed, checksummed, the newest two kept.

A file is `<step>.<first 16 hex digits of its SHA-256>.pt`. The rename makes content, step and checksum appear at once,
and a reader detects a broken file by its name alone. Absence is told from failure: a file that can't be read now, as on
a network disk that is away, is not broken, and a folder that can't be listed is not an empty one.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from experiments.atomic_files import is_abandoned
from experiments.errors import InputError, UnreachableError
from experiments.regular_files import open_regular
from jobs import file_ownership
from jobs.journal.files import fsync_folder

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

KEPT = 2
"""The second is the fallback where the newest is damaged."""
_NAME = re.compile(r"([0-9]{9,15})\.([0-9a-f]{16})\.pt", re.ASCII)


@dataclass(frozen=True, order=True)
class CheckpointFile:
    """A file that was written completely, perhaps damaged since."""

    step: int
    path: Path

    def read(self) -> bytes | None:
        """Return the bytes as they were written, or None if the file is damaged or gone.

        Raises InputError if its owner is not trusted, and UnreachableError if it can't be read.
        """
        try:
            with open_regular(self.path) as file:
                file_ownership.check_owner(self.path, os.fstat(file.fileno()).st_uid)
                data = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(self.path, error) from error
        return data if _digest_name(hashlib.sha256(data)) == self.path.name.split(".")[1] else None

    def set_aside(self) -> None:
        """Rename a broken file, so that it does not count among the newest two and push out a whole one."""
        with suppress(FileNotFoundError):
            self.path.rename(self.path.with_suffix(".broken"))


def write(folder: Path, step: int, dump: Callable[[BinaryIO], None]) -> Path:
    """Write what `dump` produces as the checkpoint of `step`, then drop all but the newest two."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{step:09d}.{socket.gethostname()}.{os.getpid()}.part"
    try:
        with _Digested(beside) as file:
            dump(file)
            file.flush()
            os.fsync(file.fileno())
        path = folder / f"{step:09d}.{_digest_name(file.digest)}.pt"
        beside.rename(path)
    except BaseException:
        beside.unlink(missing_ok=True)  # on a full disk it would take the room of the next write
        raise
    fsync_folder(folder)
    for old in islice(newest_first(folder), KEPT, None):
        old.path.unlink(missing_ok=True)
    for part in folder.glob(".*.part"):
        if is_abandoned(part):  # an attempt whose node is cut off may still be writing its own
            part.unlink(missing_ok=True)
    return path


def newest_first(folder: Path) -> Iterator[CheckpointFile]:
    """Return the complete checkpoints of a folder, the newest first; a caller falls back to the next ones.

    Raises InputError if it is no folder, and UnreachableError if it can't be listed.
    """
    matches = ((_NAME.fullmatch(path.name), path) for path in _list(folder))
    return iter(sorted((CheckpointFile(int(match[1]), path) for match, path in matches if match), reverse=True))


def strays(folder: Path) -> list[Path]:
    """Return the files that end like a checkpoint and are not named like one."""
    return sorted(path for path in _list(folder) if path.suffix == ".pt" and not _NAME.fullmatch(path.name))


def _list(folder: Path) -> list[Path]:
    """Return the files of a folder, none if it does not exist. Raises as `newest_first` does."""
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        if folder.is_symlink():
            wrong = f"is a link to {folder.readlink()}, which is not there"
            raise InputError(folder, wrong, "restore that, or remove the link") from None
        return []
    except NotADirectoryError:
        raise InputError(folder, "is not a folder", "checkpoints are kept there: move it away") from None
    except OSError as error:
        raise _unreadable(folder, error) from error


def _unreadable(path: Path, error: OSError) -> UnreachableError:
    return UnreachableError(str(path), f"can't be read: {error.strerror or error}")


def leftovers(folder: Path) -> list[Path]:
    """Return broken checkpoints that were set aside, and unfinished files of killed writers."""
    return sorted([*folder.glob("*.broken"), *folder.glob(".*.part")])


class _Digested(io.BufferedWriter):
    """A new file that digests its content as it is written: the widest states are gigabytes, too large for a copy."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path, "w"))
        self.digest = hashlib.sha256()

    def write(self, data: ReadableBuffer, /) -> int:
        self.digest.update(data)
        return super().write(data)


def _digest_name(digest: hashlib._Hash) -> str:
    return digest.hexdigest()[:16]
