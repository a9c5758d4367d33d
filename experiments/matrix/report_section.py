"""The `report` section of a matrix: the table and figures of the papers, and the rule that chooses rho*.

report: {table: table1, published: v2, rho_star: clean, mce_baseline: alexnet, figures: [v2-3, v2-4]}
report: {columns: [clean, pgd_l2, pgd_linf], published: v2, figures: [v2-1, v2-2]}
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class ReportSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `report` section of a matrix; all of it may be left out."""

    table: Literal["rows", "table1"] = "rows"
    """`rows`: a row per run, a column per measure; `table1`: Table 1 of the paper, models across."""
    columns: tuple[str, ...] = ()
    """The columns of the table that is printed, `pgd_linf` or with its parameters `pgd_linf@eps=8/255,n=20`; none: all.
    A short name stands for all its columns that every run is asked for, and where an adversarially trained run is
    there, whose published number has no radius, for the one nearest to it. CSV, JSON and the page have every column."""
    published: Literal["v1", "v2"] = "v2"
    """The version whose numbers stand beside ours."""
    robustbench: str = ""
    """The CIFAR-10 model of RobustBench whose weights the runs without training have, as `linf/Carmon2019Unlabeled`:
    its numbers stand beside theirs. Those of timm's models on ImageNet do so by the model's name and tag."""
    rho_star: Literal["clean", "mce", "clean_holdout"] = "clean"
    """What rho* is best at: clean accuracy (v2 section 3.2), mCE (v1 Figure 4), or the accuracy on training images that
    were held out (`data.holdout` and the benchmark `clean_holdout`), so that it is not chosen by what is reported."""
    mce_baseline: Literal["alexnet", "robustbench-standard"] = "alexnet"
    """Whose errors mCE is relative to (`experiments.published`). That of the papers' CIFAR-10 numbers could not be
    found; `robustbench-standard` is a stand-in (FACTS section 4)."""
    figures: tuple[Literal["v1-1", "v1-2", "v1-3", "v1-4", "v2-1", "v2-2", "v2-3", "v2-4"], ...] = ()
    """The paper's figures that this matrix has the numbers for; without any, accuracy over rho by attack and over the
    radius is drawn where there are results."""
    notes: tuple[str, ...] = ()
    """Footnotes of its author's, printed behind those that follow from the runs."""
