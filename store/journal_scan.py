"""Which journals there are, and whether what was read of one is still what it holds.

A journal only grows. One that shrank, or whose bytes before the offset are others, was cut or replaced: all
that came from it is forgotten and it is read again. The fingerprint covers the first and the last 4 KiB before
the offset; records carry the time, so a journal that was cut and has grown past the offset again differs there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import sqlalchemy as sa
from sqlalchemy import Connection

from experiments.errors import UnreachableError
from jobs.journal.ownership import Owner
from jobs.paths import Home, attempt_of
from store.tables import journals

_ENDS = 4096


@dataclass(frozen=True)
class JournalFile:
    """A journal: where it is, and whose."""

    path: Path
    name: str
    """Its path relative to CEBCTL_HOME."""
    submission: str | None
    """The submission whose journal it is, or else …"""
    job: tuple[str, str, int] | None
    """… the run, stage and attempt."""
    homes: tuple[str, ...] = ()
    """The ids of the home that it lies in."""

    def owner(self, foreign: bool = False) -> Owner:
        """Return whom its records are held against; `foreign`: those before the next head are another's."""
        return Owner(self.homes, self.job, self.submission or "", foreign)


@dataclass(frozen=True)
class ReadPosition:
    """What the store remembers of a journal."""

    offset: int = 0
    fingerprint: str = ""
    mtime_ns: int = 0
    damaged: int = 0
    foreign: bool = False


@dataclass(frozen=True)
class ScanResult:
    """What an ingest has to look at."""

    grown: list[JournalFile]
    replaced: list[JournalFile]
    vanished: list[JournalFile]
    known: int
    """How many journals the store knows."""


def scan(connection: Connection, home: Home) -> ScanResult:
    """Compare the store with the files. A journal that was read to its end and not touched is not opened."""
    known = _known(connection)
    grown, replaced, present = [], [], set()
    for source in journal_files(home):
        before = known.get(source.name, ReadPosition())
        try:
            now = source.path.stat()
            present.add(source.name)
            if now.st_size == before.offset and now.st_mtime_ns == before.mtime_ns:
                continue
            with source.path.open("rb") as file:
                intact = fingerprint(file, before.offset) == before.fingerprint
        except FileNotFoundError:
            continue
        except OSError as error:
            raise unreadable(source, error) from error
        if not intact:
            replaced.append(source)
        elif now.st_size > before.offset:
            grown.append(source)
    missing = [parsed for name in known.keys() - present if (parsed := journal_file(home, name))]
    return ScanResult(grown, replaced, [source for source in missing if _gone(source)], len(known))


def journal_files(home: Home) -> Iterator[JournalFile]:
    """Every journal under the home; a file by another name is none."""
    homes = home.identities()
    for path in home.journals():
        source = journal_file(home, path.relative_to(home.folder).as_posix(), homes)
        if source:
            yield source


def stray_files(home: Home) -> Iterator[Path]:
    """Every file that lies among the journals and is none by its name."""
    for path in home.journals():
        if journal_file(home, path.relative_to(home.folder).as_posix()) is None:
            yield path


def journal_file(home: Home, name: str, homes: tuple[str, ...] = ()) -> JournalFile | None:
    """The journal of this relative path; None if journals are not called so."""
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
    """What the store remembers of one journal."""
    row = connection.execute(_KNOWN.where(journals.c.path == source.name)).first()
    return ReadPosition(*row[1:]) if row else ReadPosition()


def fingerprint(file: BinaryIO, offset: int) -> str:
    """Of the bytes before the offset; empty for none. A file that is shorter has another one."""
    if not offset:
        return ""
    length = min(offset, _ENDS)
    file.seek(0)
    digest = hashlib.blake2b(file.read(length), digest_size=8)
    file.seek(offset - length)
    digest.update(file.read(length))
    return digest.hexdigest()


def unreadable(source: JournalFile, error: OSError) -> UnreachableError:
    return UnreachableError(str(source.path), f"can't be read: {error.strerror}")


_KNOWN = sa.select(
    *[journals.c[name] for name in ("path", "byte_offset", "fingerprint", "mtime_ns", "damaged", "foreign")]
)


def _known(connection: Connection) -> dict[str, ReadPosition]:
    return {path: ReadPosition(*rest) for path, *rest in connection.execute(_KNOWN)}


def _gone(source: JournalFile) -> bool:
    """Whether it is certain that the journal is there no more; a folder that can't be searched is not."""
    try:
        return not source.path.exists()
    except OSError as error:
        raise unreadable(source, error) from error
