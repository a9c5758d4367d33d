"""The records of a journal that belong to it: those of its run, stage and attempt, or of its submission."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.resources import Stage
from jobs.journal.files import read
from jobs.journal.records import AnyRecord, Started, Submitted
from jobs.paths import Home, RunPaths


@dataclass
class Owner:
    """The owner of a journal by its path, and whether the records being read belong to another.

    A journal may have been copied, or appended to another. The first record of an attempt or of a submission names its
    owner: the records behind it are foreign until one names the owner of this journal. Journals of earlier commits
    name none, and count as their path's.
    """

    homes: tuple[str, ...]
    """The ids of the home; empty for a home without one, which is compared with nothing."""
    job: tuple[str, str, int] | None = None
    """The run, stage and attempt; None for the journal of a submission."""
    submission: str = ""
    """The name of the submission; empty for the journal of an attempt."""
    foreign: bool = False
    """Whether the last records read belong to another owner."""

    @classmethod
    def of_attempt(cls, paths: RunPaths, stage: Stage, attempt: int) -> Owner:
        return cls(paths.home.identities(), (paths.run_id, stage, attempt))

    def sift(self, records: Iterable[AnyRecord]) -> list[AnyRecord]:
        """Return the records of this owner; call it for one piece of the journal after the other."""
        own = []
        for record in records:
            kind = type(record)
            if kind is Started or kind is Submitted:
                self.foreign = bool(self.mismatch(record))
            if not self.foreign:
                own.append(record)
        return own

    def mismatch(self, head: AnyRecord) -> str:
        """Return the owner that a record names if it is another one, else an empty text."""
        if isinstance(head, Submitted) and self.submission and head.name != self.submission:
            return f"submission {head.name}"
        if isinstance(head, Started) and self.job and head.run_id:
            job = (head.run_id, head.stage, head.attempt)
            if job != self.job:
                return "run {} ({}.{})".format(*job)
        if isinstance(head, Started | Submitted) and head.home and self.homes and head.home not in self.homes:
            return f"home {head.home}"
        return ""


def iter_records(path: Path, owner: Owner | None = None) -> Iterator[AnyRecord]:
    """Yield the records of a journal that belong to its owner (None: all), piece by piece."""
    offset = 0
    while (chunk := read(path, offset)).offset > offset:
        yield from owner.sift(chunk.records) if owner else chunk.records
        offset = chunk.offset


def attempt_records(paths: RunPaths, stage: Stage, attempt: int) -> Iterator[AnyRecord]:
    """Yield the records that belong to an attempt."""
    return iter_records(paths.journal(stage, attempt), Owner.of_attempt(paths, stage, attempt))


def read_head(paths: RunPaths, stage: Stage, attempt: int) -> Started | None:
    """Return the record that an attempt began with; None where it has none or the journal is another's."""
    first = read(paths.journal(stage, attempt), limit=4096).records[:1]
    own = Owner.of_attempt(paths, stage, attempt).sift(first)
    return next((record for record in own if isinstance(record, Started)), None)


def submission_records(home: Home, name: str) -> Iterator[AnyRecord]:
    """Yield the records that belong to a submission."""
    return iter_records(home.submission(name), Owner(home.identities(), submission=name))


def ensure_home_id(home: Home) -> str:
    """Return the id of a home; one without an id takes those that its journals name, the most frequent first."""
    if identities := home.identities():
        return identities[0]
    heads = (read(path, limit=4096).records[:1] for path in home.journals() if path.is_file())
    ids = Counter(head.home for first in heads for head in first if isinstance(head, Started | Submitted))
    return home.identify(name for name, _ in ids.most_common() if re.fullmatch(r"h[0-9a-f]{16}", name))
