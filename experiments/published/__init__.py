"""The papers' published numbers as data: both Table 1s and every number of the texts, each with its source.

    lookup("v2", axes_of(run), "clean")              what the paper prints for this run, or None
    lookup("v2", {"subject": "Madry"}, "clean")      the same by its name in our files
    table("v2")                                      Table 1 in the printed layout
    normaliser("alexnet")                            the errors that mCE is relative to
    disputes("v2")                                   where the paper contradicts itself
    why_not(run, benchmark, "mce", matrix.report)    why a number of the run may not stand beside a printed one

The YAML files here hold the numbers as printed; everything returned is in fractions and [0, 1] pixel units.
They are read on first use.
"""

from __future__ import annotations

from experiments.published.catalogue import (
    Dispute,
    Model,
    Normaliser,
    Row,
    Table,
    axes_of,
    disputes,
    every,
    lookup,
    normaliser,
    table,
)
from experiments.published.comparable import other_attack, why_not
from experiments.published.files import Measure, Paper, RhoStar, Tie
from experiments.published.numbers import Attack, Published, Reading

__all__ = [
    "Attack",
    "Dispute",
    "Measure",
    "Model",
    "Normaliser",
    "Paper",
    "Published",
    "Reading",
    "RhoStar",
    "Row",
    "Table",
    "Tie",
    "axes_of",
    "disputes",
    "every",
    "lookup",
    "normaliser",
    "other_attack",
    "table",
    "why_not",
]
