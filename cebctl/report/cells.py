"""What a report consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from cebctl.render.console import many
from cebctl.report.audit_verdict import Verdict

ERRORS = ("error", "relative_error", "success")
"""Measures of which less is better; of an accuracy more is."""

Interval = Literal["wilson", "student_t", "mean_of_ends", "none"]
"""Wilson's of a count, Student's t of a mean, the mean of the corruptions' ends, or one number without any."""
Over = Literal["images", "seeds", ""]
"""The draws that an interval is over: test images of one network, or networks on the same images."""


@dataclass(frozen=True)
class AbsentSeed:
    """A run of a row that has no number in a column."""

    run_id: str
    seed: int
    reason: str
    """As in `Missing`."""


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
    """The paper's number for such a run, in the same measure; None too where it gives a bound or a range."""
    published_text: str = ""
    """What it prints, in that measure: `19.1%`, `> 80%`, `93.9–95.1%`."""
    not_comparable: str = ""
    """Why no published number may stand beside this one, where there are any for such a run."""
    stale: bool = False
    """Made with numerics versions that are not today's (`experiments.numerics`), or with ones that nobody recorded."""
    best: bool = False
    """The best of its architecture, which the papers print bold."""
    changed: tuple[str, ...] = ()
    """The parts of the engine whose versions differ from today's, its training's too."""
    mixed: bool = False
    """Trained, by a run or seed of it, under several versions of a part."""
    interval: Interval = "none"
    interval_over: Over = ""
    run_ids: tuple[str, ...] = ()
    """The runs that made it."""
    absent: tuple[AbsentSeed, ...] = ()
    """The row's other runs: the matrix asks for their number too."""
    generation: int = 1
    """The newest in which a part of it was measured: above 1, it was measured again."""

    @property
    def seeds_asked(self) -> int:
        """Seeds that the matrix asks for."""
        return self.seeds + len(self.absent)

    @property
    def difference(self) -> float | None:
        """Ours minus the published."""
        return None if self.published is None else self.value - self.published

    def as_error(self) -> Cell:
        """An accuracy as an error; anything else as it is."""
        if self.measure != "accuracy":
            return self
        return replace(self, value=1 - self.value, low=1 - self.high, high=1 - self.low, measure="error")


@dataclass(frozen=True)
class Missing:
    """Why there is no number."""

    reason: str
    """`not run`, `running`, `failed: …`, `no data: …`: what stands before the colon is enough for a cell."""
    published: float | None = None
    published_text: str = ""
    not_comparable: str = ""


@dataclass(frozen=True)
class Row:
    """The runs that differ in their seed only."""

    run_ids: tuple[str, ...]
    """All of them; a cell names those that made it."""
    axes: Mapping[str, Any]
    cells: Mapping[str, Cell | Missing]
    heads: tuple[str, ...] = ()
    """Where a paper's table has models across: what it prints above this one."""
    last_rho: Mapping[str, float | None] = field(default_factory=dict)
    """By run_id, of the runs whose target rho was not in force when their training ended: the one that was; None if
    that was infinite."""

    @property
    def seeds(self) -> int:
        """The most seeds of a cell; those with fewer say so themselves."""
        return max((cell.seeds for cell in self.cells.values() if isinstance(cell, Cell)), default=0)


@dataclass(frozen=True)
class Table:
    """Rows of one matrix under the same columns."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    heads: tuple[str, ...] = ()
    """Names of the rows' heads. Where there are any, models stand across and measures down, as the papers have them."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The paper's name of a column, where it has one."""
    supplement: bool = False
    """Too long for a page of paper: for CSV, JSON and the HTML page only."""


@dataclass(frozen=True)
class Audit:
    """What a gradient audit says of one run."""

    verdict: Verdict
    n: int
    """Images that were audited."""

    def __str__(self) -> str:
        return f"{self.verdict} ({many(self.n, 'image')})"


@dataclass(frozen=True)
class Report:
    """Everything a report says."""

    matrix: str
    title: str
    tables: tuple[Table, ...]
    selected: Mapping[str, Any]
    """By family: `cebctl.report.selection.Selected`."""
    notes: tuple[str, ...] = field(default=())
    verdicts: Mapping[str, Mapping[str, Audit]] = field(default_factory=dict)
    """Of gradient audits, by run_id and threat model."""

    @cached_property
    def is_mixed(self) -> bool:
        """Whether intervals over seeds stand beside intervals over images, so that these have to be marked."""
        cells = (cell for table in self.tables for row in table.rows for cell in row.cells.values())
        return {"images", "seeds"} <= {cell.interval_over for cell in cells if isinstance(cell, Cell)}
