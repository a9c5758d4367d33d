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
    """Whose records a journal is to hold, by its path; and whether those being read are another's.

    A journal that was copied, or appended to another, says so where an attempt or a submission begins: what follows
    is foreign until one begins whose journal this is. Earlier commits did not say; theirs are taken at their path's
    word.
    """

    homes: tuple[str, ...]
    """The ids of the home; empty: it has none to hold a record against."""
    job: tuple[str, str, int] | None = None
    """The run, the stage and the attempt whose journal it is, or else …"""
    submission: str = ""
    """… the submission."""
    foreign: bool = False

    @classmethod
    def of_attempt(cls, paths: RunPaths, stage: Stage, attempt: int) -> Owner:
        return cls(paths.home.identities(), (paths.run_id, stage, attempt))

    def sift(self, records: Iterable[AnyRecord]) -> list[AnyRecord]:
        """Return the records that belong here; called for one piece of the journal after the other."""
        own = []
        for record in records:
            kind = type(record)
            if kind is Started or kind is Submitted:
                self.foreign = bool(self.mismatch(record))
            if not self.foreign:
                own.append(record)
        return own

    def mismatch(self, head: AnyRecord) -> str:
        """Return what a record says that it belongs to, if that is something else; else nothing."""
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
    """Every record of a journal that belongs to its owner (None: every one), however long it is."""
    offset = 0
    while (chunk := read(path, offset)).offset > offset:
        yield from owner.sift(chunk.records) if owner else chunk.records
        offset = chunk.offset


def attempt_records(paths: RunPaths, stage: Stage, attempt: int) -> Iterator[AnyRecord]:
    """Every record that belongs to an attempt."""
    return iter_records(paths.journal(stage, attempt), Owner.of_attempt(paths, stage, attempt))


def read_head(paths: RunPaths, stage: Stage, attempt: int) -> Started | None:
    """The record with which an attempt began; None where it has none or the journal is another's."""
    first = read(paths.journal(stage, attempt), limit=4096).records[:1]
    own = Owner.of_attempt(paths, stage, attempt).sift(first)
    return next((record for record in own if isinstance(record, Started)), None)


def submission_records(home: Home, name: str) -> Iterator[AnyRecord]:
    """Every record that belongs to a submission."""
    return iter_records(home.submission(name), Owner(home.identities(), submission=name))


def ensure_home_id(home: Home) -> str:
    """Return the id of a home; one that has none takes on those that its journals name, the most frequent first."""
    if identities := home.identities():
        return identities[0]
    heads = (read(path, limit=4096).records[:1] for path in home.journals() if path.is_file())
    ids = Counter(head.home for first in heads for head in first if isinstance(head, Started | Submitted))
    return home.identify(name for name, _ in ids.most_common() if re.fullmatch(r"h[0-9a-f]{16}", name))
