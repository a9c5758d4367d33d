"""What a matrix wants reported: which table and figures of the papers, and by which rule rho* is chosen.

report: {table: table1, published: v2, rho_star: clean, mce_baseline: alexnet, figures: [v2-3, v2-4]}
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class ReportSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `report` section of a matrix; all of it may be left out."""

    table: Literal["rows", "table1"] = "rows"
    """`rows`: a row per run, a column per measure; `table1`: Table 1 of the paper, models across."""
    published: Literal["v1", "v2"] = "v2"
    """The version whose numbers stand beside ours."""
    rho_star: Literal["clean", "mce"] = "clean"
    """What rho* is best at: clean accuracy (v2 section 3.2) or mCE (v1 Figure 4)."""
    mce_baseline: Literal["alexnet", "robustbench-standard"] = "alexnet"
    """Whose errors mCE is relative to (`experiments.published`). That of the papers' CIFAR-10 numbers could not be
    found; `robustbench-standard` is a stand-in (FACTS section 4)."""
    figures: tuple[Literal["v1-1", "v1-2", "v1-3", "v1-4", "v2-1", "v2-2", "v2-3", "v2-4"], ...] = ()
    """The paper's figures that this matrix has the numbers for."""
    notes: tuple[str, ...] = ()
    """Footnotes of its author's, printed behind those that follow from the runs."""
