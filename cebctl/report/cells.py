"""The parts of a report: tables of rows of cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from cebctl.render.console import pluralize
from cebctl.report.audit_verdict import Verdict

if TYPE_CHECKING:
    from cebctl.report.claims.judge import ClaimVerdict

ERRORS = ("error", "relative_error", "success")
"""Measures of which less is better; of an accuracy more is."""

Interval = Literal["wilson", "student_t", "mean_of_ends", "none"]
"""Wilson's of a count, Student's t of a mean, the mean of the corruptions' ends, or none at all."""
Over = Literal["images", "seeds", ""]
"""The random draws of an interval: test images of one network, or networks on the same images."""


@dataclass(frozen=True)
class AbsentSeed:
    """A run of a row that has no number in a column."""

    run_id: str
    seed: int
    reason: str
    """The same text as `Missing.reason`."""


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
    """The number as the paper prints it, in that measure: `19.1%`, `> 80%`, `93.9–95.1%`."""
    not_comparable: str = ""
    """The reason why no published number may stand beside this one, if there are any for such a run."""
    stale: bool = False
    """Made with numerics versions other than today's (`experiments.numerics`), or with unrecorded ones."""
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
        """Return the number of seeds that the matrix asks for."""
        return self.seeds + len(self.absent)

    @property
    def difference(self) -> float | None:
        """Return our number minus the published one."""
        return None if self.published is None else self.value - self.published

    def as_error(self) -> Cell:
        """Return an accuracy as an error, and any other cell unchanged."""
        if self.measure != "accuracy":
            return self
        return replace(self, value=1 - self.value, low=1 - self.high, high=1 - self.low, measure="error")


@dataclass(frozen=True)
class Missing:
    """The absence of a number, with its reason."""

    reason: str
    """`not run`, `running`, `failed: …`, `no data: …`: a cell shows the part before the colon."""
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
    """The lines above this model, where a paper's table has models across."""
    last_rho: Mapping[str, float | None] = field(default_factory=dict)
    """By run_id, for runs whose training ended before the target rho was in force: the rho at the end, None if that was
    infinite."""

    @property
    def seeds(self) -> int:
        """Return the most seeds of a cell; cells with fewer say so themselves."""
        return max((cell.seeds for cell in self.cells.values() if isinstance(cell, Cell)), default=0)


@dataclass(frozen=True)
class Table:
    """Rows of one matrix under the same columns."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    heads: tuple[str, ...] = ()
    """The names of the rows' heads. If there are any, models stand across and measures down, as in the papers."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The paper's name of a column, where it has one."""
    supplement: bool = False
    """Too long for paper: only CSV, JSON and the HTML page have it."""


@dataclass(frozen=True)
class Audit:
    """The result of a gradient audit of one run."""

    verdict: Verdict
    n: int
    """Images that were audited."""

    def __str__(self) -> str:
        return f"{self.verdict} ({pluralize(self.n, 'image')})"


@dataclass(frozen=True)
class Report:
    """The whole content of a report."""

    matrix: str
    title: str
    tables: tuple[Table, ...]
    selected: Mapping[str, Any]
    """By family: `cebctl.report.selection.Selected`."""
    notes: tuple[str, ...] = field(default=())
    verdicts: Mapping[str, Mapping[str, Audit]] = field(default_factory=dict)
    """Of gradient audits, by run_id and threat model."""
    claims: tuple[ClaimVerdict, ...] = ()

    @cached_property
    def is_mixed(self) -> bool:
        """Whether some intervals are over seeds and some over images, so that the latter need a mark."""
        cells = (cell for table in self.tables for row in table.rows for cell in row.cells.values())
        return {"images", "seeds"} <= {cell.interval_over for cell in cells if isinstance(cell, Cell)}
