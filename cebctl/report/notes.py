"""The footnotes of a report: how its numbers were obtained and what they do not show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cebctl.report.cells import Cell, Row
from cebctl.report.selection import Selected
from experiments.benchmarks import Information, Pgd, eps_text
from experiments.matrix import Matrix
from store.rows import ResultRow


def notes(
    matrix: Matrix, rows: Sequence[Row], selected: Mapping[str, Selected], results: Iterable[ResultRow]
) -> tuple[str, ...]:
    """The footnotes that apply, in a fixed order."""
    cells = [cell for row in rows for cell in row.cells.values() if isinstance(cell, Cell)]
    if not cells:
        return ()
    found = [_intervals(max(cell.seeds for cell in cells), rows), *_benchmarks(matrix), _gradients(results)]
    if selected:
        found.append(f"* rho: {next(iter(selected.values())).rule}, as in the paper.")
    if any(cell.stale for cell in cells):
        found.append("† made by an earlier version of the engine; delete the run's evaluate journals to measure again.")
    for data in sorted({run.run.data.name for run in matrix.runs}):
        if data == "cifar10-jpeg":
            found.append("cifar10-jpeg is CIFAR-10 saved as JPEG of quality 75: not comparable with CIFAR-10.")
        subsets = {run.run.data.train_subset for run in matrix.runs if run.run.data.name == data} - {None}
        if subsets:
            found.append(f"{data}: trained on a subset of {', '.join(str(size) for size in sorted(subsets))} images.")  # type: ignore[type-var]
    return tuple(note for note in found if note)


def _intervals(seeds: int, rows: Sequence[Row]) -> str:
    if seeds > 1:
        return f"Mean ± standard deviation over {seeds} seeds [95% interval, Student's t]."
    return "One seed: 95% intervals over the test images (Wilson for accuracies), not over training runs."


def _benchmarks(matrix: Matrix) -> list[str]:
    found = []
    attacks = [benchmark for benchmark in matrix.benchmarks if isinstance(benchmark, Pgd)]
    for attack in attacks:
        step = "4/3 eps/n" if attack.step_size is None else f"{attack.step_size:g}"
        start = "random start" if attack.random_start else "start at the image"
        subset = f", {attack.subset} images" if attack.subset else ""
        found.append(
            f"pgd_{attack.norm}: untargeted PGD, eps {eps_text(attack.eps)} ({attack.eps * 255:g}/255), "
            f"n {attack.steps}, step {step}, {start}{subset}."
        )
    if attacks:
        found.append("Robust accuracies are upper bounds: no stronger attack than PGD was run on these models.")
    if any(isinstance(benchmark, Information) for benchmark in matrix.benchmarks):
        found.append("rate, residual information and H(Y|Z) in nats, over sampled z; accuracies over the mean of z.")
    return found


def _gradients(results: Iterable[ResultRow]) -> str:
    shares: list[Any] = [row.value for row in results if row.name == "zero_gradient_share" and row.value]
    if not shares:
        return ""
    return (
        f"PGD met images whose gradient is all zero (up to {max(shares):.1%} of one model's): it may overstate those."
    )
