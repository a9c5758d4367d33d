"""The journals under a home, and the comparison of each with the position up to which the store has read it.

A journal only grows. One that shrank, or whose bytes before the offset changed, was cut or replaced: its rows are
deleted and it is read again. The fingerprint covers the first and the last 4 KiB before the offset. That detects a
journal that was cut and has grown past the offset again, because its records carry the time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import sqlalchemy as sa
from sqlalchemy import Connection

from experiments.errors import UnreachableError
from experiments.regular_files import open_regular
from jobs.journal.ownership import Owner
from jobs.paths import Home, attempt_of
from store.tables import journals

_FINGERPRINT_BYTES = 4096
"""The length of each of the two pieces that a fingerprint covers."""


@dataclass(frozen=True)
class JournalFile:
    """A journal's path and its owner."""

    path: Path
    name: str
    """Its path relative to CEBCTL_HOME."""
    submission: str | None
    """The submission that writes it; None for the journal of an attempt."""
    job: tuple[str, str, int] | None
    """The run, stage and attempt; None for the journal of a submission."""
    homes: tuple[str, ...] = ()
    """The ids of its home."""

    def owner(self, foreign: bool = False) -> Owner:
        """Return the owner to compare records with; `foreign`: the last record before the offset was another's."""
        return Owner(self.homes, self.job, self.submission or "", foreign)


@dataclass(frozen=True)
class ReadPosition:
    """The position up to which the store has read a journal, and its findings so far."""

    offset: int = 0
    fingerprint: str = ""
    mtime_ns: int = 0
    damaged: int = 0
    foreign: bool = False


@dataclass(frozen=True)
class ScanResult:
    """The journals that differ from the store."""

    grown: list[JournalFile]
    replaced: list[JournalFile]
    vanished: list[JournalFile]
    stored: int
    """The number of journals in the store."""


def scan(connection: Connection, home: Home) -> ScanResult:
    """Compare the store with the files. A journal that was read to its end and is unchanged is not opened."""
    positions = {path: ReadPosition(*values) for path, *values in connection.execute(_POSITIONS)}
    grown, replaced, present = [], [], set()
    for source in journal_files(home):
        position = positions.get(source.name, ReadPosition())
        try:
            now = source.path.stat()
            present.add(source.name)
            if now.st_size == position.offset and mtime_ns(now) == position.mtime_ns:
                continue
            with open_regular(source.path) as file:
                intact = fingerprint(file, position.offset) == position.fingerprint
        except FileNotFoundError:
            continue
        except OSError as error:
            raise unreadable(source, error) from error
        if not intact:
            replaced.append(source)
        elif now.st_size > position.offset:
            grown.append(source)
    unlisted = [journal for name in positions.keys() - present if (journal := journal_file(home, name))]
    return ScanResult(grown, replaced, [journal for journal in unlisted if _is_missing(journal)], len(positions))


def journal_files(home: Home, run_ids: Iterable[str] | None = None) -> Iterator[JournalFile]:
    """Yield every journal under the home, of attempts only those at the given runs; a file of another name is none."""
    homes = home.identities()
    for path in home.journals(run_ids):
        source = journal_file(home, path.relative_to(home.folder).as_posix(), homes)
        if source:
            yield source


def stray_files(home: Home) -> Iterator[Path]:
    """Yield every file in the folders of journals whose name is not a journal's."""
    for path in home.journals():
        if journal_file(home, path.relative_to(home.folder).as_posix()) is None:
            yield path


def journal_file(home: Home, name: str, homes: tuple[str, ...] = ()) -> JournalFile | None:
    """Return the journal of a path relative to the home; None if the name is not a journal's."""
    if not name.isprintable():
        return None
    match name.split("/"):
        case ["submissions", file] if submission := file.removesuffix(".jsonl"):
            return JournalFile(home.folder / name, name, submission, None, homes)
        case ["runs", run_id, "journal", file] if attempt := attempt_of(file):
            return JournalFile(home.folder / name, name, None, (run_id, *attempt), homes)
        case _:
            return None


def read_position(connection: Connection, source: JournalFile) -> ReadPosition:
    """Return the position up to which the store has read a journal."""
    row = connection.execute(_POSITIONS.where(journals.c.path == source.name)).first()
    return ReadPosition(*row[1:]) if row else ReadPosition()


def fingerprint(file: BinaryIO, offset: int) -> str:
    """Return a digest of the bytes before the offset; empty for offset 0. A shorter file has another fingerprint."""
    if not offset:
        return ""
    length = min(offset, _FINGERPRINT_BYTES)
    file.seek(0)
    digest = hashlib.blake2b(file.read(length), digest_size=8)
    file.seek(offset - length)
    digest.update(file.read(length))
    return digest.hexdigest()


def mtime_ns(now: os.stat_result) -> int:
    """Return the time of a file's last change in whole nanoseconds, within the range of the database."""
    return max(min(now.st_mtime_ns, 2**63 - 1), -(2**63))


def unreadable(source: JournalFile, error: OSError) -> UnreachableError:
    """Return the error for a journal that can't be read."""
    return UnreachableError(str(source.path), f"can't be read: {error.strerror}")


_POSITIONS = sa.select(
    *[journals.c[name] for name in ("path", "byte_offset", "fingerprint", "mtime_ns", "damaged", "foreign")]
)


def _is_missing(source: JournalFile) -> bool:
    """Whether the journal does not exist. Raises UnreachableError if its folder can't be searched."""
    try:
        return not source.path.exists()
    except OSError as error:
        raise unreadable(source, error) from error
