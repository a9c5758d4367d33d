"""A claim about the results of a matrix, with the rule that decides it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from experiments.benchmarks import AnyBenchmark, column, full_column, measures

MatchColumn = Literal["clean_holdout", "rate_train", "residual_information_train"]


class StatedClaim(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One claim of the `claims` section: a sentence, the two sides that it compares, and its rule."""

    sentence: str
    """What is claimed, for people."""
    a: str
    """The selection of the runs of side A: the seeds of one setting, or of several where `match` chooses among them."""
    b: str
    """That of side B."""
    measure: str
    """The column that is compared, `pgd_linf` or with its parameters `pgd_linf@eps=8/255,n=20`."""
    measure_b: str | UnsetType = UNSET
    """The column of side B. Unset: that of A."""
    relation: Literal["higher", "lower", "equivalent"] = "higher"
    """`higher`: A - B is above `margin`; `lower`: B - A is; `equivalent`: A - B lies within -`margin` and `margin`."""
    margin: Annotated[float, Meta(ge=0)] = 0.0
    """In the unit of the measure: 0.02 is two points of accuracy, or 0.02 nats of rate."""
    level: Annotated[float, Meta(gt=0.5, lt=1)] = 0.95
    """Of the interval of A - B, before the correction for the number of primary claims."""
    primary: bool = False
    """The claims that the file is for, at most three: intervals are corrected for their number. Others explore."""
    match: MatchColumn | UnsetType = UNSET
    """The column, of images that no test uses, in which the sides must agree. One side may then have several settings,
    among which it chooses."""
    within: Annotated[float, Meta(gt=0)] | UnsetType = UNSET
    """The largest difference in `match` that counts as agreement, in the unit of that column."""
    choose: Literal["nearest", "lowest_rho"] = "nearest"
    """Among the settings that agree: the one nearest in `match`, or that of the lowest rho."""


def columns_named(name: str, benchmarks: Iterable[AnyBenchmark]) -> list[tuple[AnyBenchmark, str]]:
    """Return each benchmark and measure whose column has this name, short or in full."""
    return [
        (benchmark, measure)
        for benchmark in benchmarks
        for measure in measures(benchmark)
        if name in (column(benchmark, measure), full_column(benchmark, measure))
    ]
