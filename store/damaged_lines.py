"""The lines of a journal that are damaged or belong to another run; for `cebctl doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from experiments.regular_files import open_regular
from jobs.journal import files, records
from jobs.journal.records import JobRecord
from jobs.paths import Home
from store import journal_scan, projection
from store.journal_scan import JournalFile


@dataclass(frozen=True)
class BadLine:
    """A line that the ingest counted as damaged and skipped."""

    number: int
    """From 1."""
    why: str


def bad_lines(home: Home, name: str, at_most: int) -> list[BadLine]:
    """Return the first lines of a journal (relative to CEBCTL_HOME) that were skipped, and why."""
    source = journal_scan.journal_file(home, name, home.identities())
    return list(islice(_bad_lines(source), at_most)) if source else []


def _bad_lines(source: JournalFile) -> Iterator[BadLine]:
    owner = source.owner()
    complaint = ""
    with open_regular(source.path) as file:
        for number, line in enumerate(files.iter_lines(file), 1):
            if not line:
                continue
            if len(line) > files.LONGEST_LINE:
                yield BadLine(number, f"makes no sense: it is longer than {files.LONGEST_LINE >> 20} MiB")
                continue
            try:
                record = records.decode(line)
            except records.DECODE_ERRORS as error:
                yield BadLine(number, f"makes no sense: {str(error).partition(chr(10))[0]}")
                continue
            complaint = owner.mismatch(record) or complaint
            if not owner.sift([record]):
                yield BadLine(number, f"belongs to {complaint}")
            elif isinstance(record, JobRecord) != (source.job is not None):
                yield BadLine(number, f"is no record of a {'job' if source.job else 'submission'}")
            elif isinstance(record, records.Claim) and projection.is_misnamed(record):
                yield BadLine(number, f"claims run {record.run_id} with a spec that is not its own")
