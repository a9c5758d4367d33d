"""Whether a claim is older than the results that it judges, by the journals of the submissions that stated it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from experiments.identity import evaluation_id
from experiments.matrix.planned_run import Matrix
from experiments.matrix.stated_claim import StatedClaim, columns_named
from jobs.journal.files import read
from jobs.journal.ownership import Owner
from jobs.journal.records import Submitted
from jobs.paths import Home
from store import queries
from store.connect import Store

Fields = Mapping[str, Any]

_HEAD = 1 << 20
"""Bytes that hold the longest first record of a submission's journal; nearly all fit into 4 kB."""


@dataclass(frozen=True)
class Statement:
    """The claims of a matrix as one submission journalled them."""

    time: float
    claims: Mapping[str, Fields]
    seeds: Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class History:
    """A claim beside the form that it had before the first result in what it compares."""

    stated_at: float | None = None
    """The time of the submission that stated it so and that still counts; None where none did."""
    first_result: float | None = None
    """The time of the first result; None where there is none yet."""
    is_late: bool = False
    """No submission had stated the claim when the first result came."""
    changes: tuple[str, ...] = ()
    """The fields that differ from the form before the first result: `margin 0.02 -> 0`."""
    added_seeds: tuple[int, ...] = ()
    """The seeds that it did not have before the first result: whoever looks in between, and adds some, decides more
    often by chance than the level says."""

    def describe(self) -> str:
        """Return the fault in words; '' for a rule that is older than the results."""
        if self.is_late:
            return "stated after the first result"
        return f"changed after the first result: {', '.join(self.changes)}" if self.changes else ""


def read_statements(matrix: Matrix, store: Store, home: Home) -> list[Statement]:
    """Return what submissions of a matrix of this name stated, the oldest first."""
    statements = []
    for row in queries.submissions(store):
        path = home.submission(row.name)
        if row.matrix == matrix.name and path.is_file():
            records = read(path, limit=4096).records or read(path, limit=_HEAD).records
            own = Owner(home.identities(), submission=row.name).sift(records[:1])
            statements += [
                Statement(head.time, head.stated_claims, head.claim_seeds)
                for head in own
                if isinstance(head, Submitted)
            ]
    return sorted(statements, key=lambda statement: statement.time)


def claim_history(name: str, matrix: Matrix, statements: Sequence[Statement], first: float | None) -> History:
    """Return the history of a claim; `first` is the time of the first result, if there is any."""
    current = _all_fields(msgspec.to_builtins(matrix.claims[name]))
    counting = [s for s in statements if name in s.claims and (first is None or s.time <= first)]
    before = [(statement.time, _all_fields(statement.claims[name])) for statement in counting]
    if not before:
        return History(None, first, is_late=first is not None)
    counted = before[-1][1]
    changes = tuple(
        f"{field} {_text(counted.get(field))} -> {_text(current.get(field))}"
        for field in dict.fromkeys([*counted, *current])
        if counted.get(field) != current.get(field)
    )
    since = next(moment for moment, fields in before if fields == counted)
    if first is None:
        return History(since)
    added = sorted({*matrix.claim_seeds[name]} - {*counting[-1].seeds.get(name, matrix.claim_seeds[name])})
    return History(since, first, changes=changes, added_seeds=tuple(added))


def compared_evaluations(name: str, matrix: Matrix, statements: Sequence[Statement]) -> set[str] | None:
    """Return the ids of the evaluations that any form of a claim compares, on all data of the matrix: a result of one
    may have led to another form. None where the matrix does not have them all any more."""
    forms = [
        *([msgspec.to_builtins(matrix.claims[name])] if name in matrix.claims else []),
        *(statement.claims[name] for statement in statements if name in statement.claims),
    ]
    columns = {form[field] for form in forms for field in ("measure", "measure_b") if field in form}
    compared = [[benchmark for benchmark, _ in columns_named(column, matrix.benchmarks)] for column in columns]
    data = {run.run.data.name for run in matrix.runs}
    ids = {evaluation_id(benchmark, own) for benchmarks in compared for benchmark in benchmarks for own in data}
    return ids if all(compared) else None


def withdrawn_claims(
    matrix: Matrix, statements: Sequence[Statement], first: Callable[[str], float | None]
) -> list[str]:
    """Return the names of the claims that submissions stated, that the matrix lacks, and that left it after the first
    result in what they compared; `first` returns the time of that result by the claim's name."""
    withdrawn = []
    for name in dict.fromkeys(name for statement in statements for name in statement.claims):
        times = [statement.time for statement in statements if name in statement.claims]
        left = min((s.time for s in statements if s.time > max(times)), default=math.inf)
        result = None if name in matrix.claims else first(name)
        if result is not None and result <= left:
            withdrawn.append(name)
    return withdrawn


def _all_fields(fields: Fields) -> dict[str, Any]:
    """Return the fields of a claim with those that its version did not have yet, at their defaults."""
    infos = msgspec.structs.fields(StatedClaim)
    defaults = {info.name: info.default for info in infos if not info.required and info.default is not msgspec.UNSET}
    return defaults | dict(fields)


def _text(value: Any) -> str:
    return "unset" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
