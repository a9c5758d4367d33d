"""The papers' published numbers as data: both Table 1s and every number of the texts, each with its source.

    lookup("v2", run_fields(run), "clean")         the number that the paper prints for this run, or None
    lookup("v2", {"subject": "Madry"}, "clean")    the same by its name in our files
    table("v2")                                    Table 1 in the printed layout
    normaliser("alexnet")                          the errors that mCE is relative to
    disputes("v2")                                 where the paper contradicts itself
    reasons_not_comparable(run, benchmark, "mce", matrix.report)

The YAML files here have the numbers as printed and are read on first use. All functions return fractions and [0, 1]
pixel units.
"""

from __future__ import annotations

from experiments.published.catalogue import (
    Normaliser,
    PaperModel,
    all_numbers,
    disputes,
    lookup,
    normaliser,
    run_fields,
    table,
)
from experiments.published.comparable import attack_differences, reasons_not_comparable
from experiments.published.numbers import PublishedNumber, Reading
from experiments.published.public_models import public_number

__all__ = [
    "Normaliser",
    "PaperModel",
    "PublishedNumber",
    "Reading",
    "all_numbers",
    "attack_differences",
    "disputes",
    "lookup",
    "normaliser",
    "public_number",
    "reasons_not_comparable",
    "run_fields",
    "table",
]
