"""The difference between the two sides of a claim, measured over seeds and, where it is known, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from cebctl.report.comparison.paired_runs import group_name, image_count
from cebctl.report.comparison.variance_components import Spread, estimate_spread
from cebctl.report.measurements import Measurement, Results, run_measurement
from experiments import published
from experiments.benchmarks import AnyBenchmark, full_column, measures
from experiments.identity import evaluation_id
from experiments.matrix.planned_run import Matrix, PlannedRun
from jobs import per_sample
from store import queries
from store.connect import Store

Column = tuple[AnyBenchmark, str]
"""A benchmark and its measure."""


@dataclass(frozen=True)
class Side:
    """The seeds of one setting, under one column."""

    runs: tuple[PlannedRun, ...]
    """In order of seed."""
    column: Column

    @property
    def name(self) -> str:
        return group_name(self.runs[0])

    @property
    def column_name(self) -> str:
        return full_column(*self.column)


@dataclass(frozen=True)
class Difference:
    """A - B, with what its interval is made of."""

    mean_a: float
    mean_b: float
    unit: str
    n: int
    """Images of each seed."""
    spread: Spread
    is_over_images: bool
    """Else the interval is over seeds alone, for these images: the measure has no number for each image."""
    is_paired: bool
    """Both sides have the same seeds, which are taken in pairs."""

    def interval(self, alpha: float) -> tuple[float, float]:
        """Return the interval of A - B that misses with probability `alpha`; a difference of shares lies in [-1, 1]."""
        half = float(self.spread.half_width(alpha))
        low, high = float(self.spread.difference) - half, float(self.spread.difference) + half
        is_share = self.unit in ("accuracy", "error", "share", "success")
        return (max(-1.0, low), min(1.0, high)) if is_share else (low, high)


class Evidence:
    """The measurements of a matrix, by side."""

    def __init__(self, matrix: Matrix, store: Store, results: Results) -> None:
        self._store, self._results = store, results
        self._mce_baseline = published.normaliser(matrix.report.mce_baseline)

    def measurement(self, run: PlannedRun, column: Column) -> Measurement | None:
        """Return the number of a run in a column, None if it was not measured."""
        benchmark, measure = column
        data = run.run.data.name
        has_its_images = data.removesuffix("-jpeg") == self._mce_baseline.data
        baseline: Mapping[str, float] = self._mce_baseline.errors if has_its_images else {}
        return run_measurement(self._results, run.run_id, evaluation_id(benchmark, data), measure, baseline)

    def unmeasured(self, side: Side) -> list[PlannedRun]:
        """Return the runs of a side without a number."""
        return [run for run in side.runs if self.measurement(run, side.column) is None]

    def mean(self, runs: Sequence[PlannedRun], column: Column) -> float | None:
        """Return the mean over runs, None if one was not measured."""
        numbers = [self.measurement(run, column) for run in runs]
        values = [number.value for number in numbers if number is not None]
        return fmean(values) if len(values) == len(numbers) else None

    def difference(self, a: Side, b: Side) -> Difference:
        """Return A - B; all runs of both sides were measured. ValueError if they were measured on different images."""
        is_paired = [run.run.seed for run in a.runs] == [run.run.seed for run in b.runs]
        numbers_a, numbers_b = ([self._number(run, side) for run in side.runs] for side in (a, b))
        images = {(row.data_digest, row.total) for number in (*numbers_a, *numbers_b) for row in number.rows}
        flags = [self._right_by_image(side) for side in (a, b)]
        values_a, values_b = ([number.value for number in numbers] for numbers in (numbers_a, numbers_b))
        mean_a, mean_b, total = fmean(values_a), fmean(values_b), numbers_a[0].total
        if all(flags):
            if len(images) != 1:
                raise ValueError("the sides are measured on different images")
            import numpy as np

            right_a, right_b = (np.array(side, bool) for side in flags)
            spread = estimate_spread(right_a, right_b, total, is_paired)
        else:
            spread = spread_over_seeds(values_a, values_b, total, is_paired)
        return Difference(mean_a, mean_b, numbers_a[0].unit, total, spread, all(flags), is_paired)

    def _number(self, run: PlannedRun, side: Side) -> Measurement:
        number = self.measurement(run, side.column)
        if number is None:
            raise ValueError(f"{run.name} has no {side.column_name}")
        return number

    def _right_by_image(self, side: Side) -> list[list[bool]]:
        """Return right or wrong of each seed and image; nothing for a measure that is no such count."""
        benchmark, measure = side.column
        if measure != next(iter(measures(benchmark)), ""):
            return []
        run = side.runs[0]
        evaluation = evaluation_id(benchmark, run.run.data.name)
        texts = [queries.per_sample(self._store, member.run_id, evaluation) for member in side.runs]
        count = image_count(benchmark, run)
        flags = [per_sample.unpack(text, count) for text in texts if text is not None]
        return flags if len(flags) == len(side.runs) else []


def spread_over_seeds(a: Sequence[float], b: Sequence[float], n: int, paired: bool) -> Spread:
    """Return the variance of mean(a) - mean(b) over seeds alone, of values of `n` images each.

    Half the width is then Student's t of the pairs' differences, or Welch's of both sides. With one seed on a side the
    spread is unknown and has no seeds.
    """
    import numpy as np

    zero = np.asarray(0.0)
    difference = np.asarray(fmean(a) - fmean(b))
    if min(len(a), len(b)) < 2:
        return Spread(difference, (), (), zero, zero, zero, n)
    sides = [[x - y for x, y in zip(a, b, strict=True)]] if paired else [a, b]
    variances = tuple(np.asarray(variance(side) / len(side)) for side in sides)
    return Spread(difference, variances, tuple(map(len, sides)), zero, zero, zero, n)
