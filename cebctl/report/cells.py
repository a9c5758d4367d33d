"""What a report consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.audit import Verdict


@dataclass(frozen=True)
class Cell:
    """One measured number. Accuracies and errors are fractions."""

    value: float
    low: float
    high: float
    n: int
    """Images (of one seed)."""
    seeds: int
    std: float
    """Sample standard deviation over seeds; 0 for one."""
    measure: str
    published: float | None = None
    """The paper's number for such a run, in the same measure."""
    stale: bool = False
    """Made by engine code that has changed since."""


@dataclass(frozen=True)
class Missing:
    """Why there is no number."""

    reason: str
    published: float | None = None


@dataclass(frozen=True)
class Row:
    """The runs that differ in their seed only."""

    run_ids: tuple[str, ...]
    axes: Mapping[str, Any]
    cells: Mapping[str, Cell | Missing]


@dataclass(frozen=True)
class Table:
    """Rows of one matrix under the same columns."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Report:
    """Everything a report says."""

    matrix: str
    title: str
    tables: tuple[Table, ...]
    selected: Mapping[str, Any]
    """By family: `cebctl.report.selection.Selected`."""
    notes: tuple[str, ...] = field(default=())
    verdicts: Mapping[str, Mapping[str, Verdict]] = field(default_factory=dict)
    """Of gradient audits, by run_id and threat model."""
