"""The footnotes about the papers' numbers: on what footing they stand, and where a paper contradicts itself."""

from __future__ import annotations

from collections.abc import Iterator

from experiments import published
from experiments.benchmarks import CommonCorruptions, column, corruption_note, measures
from experiments.matrix import Matrix


def notes(matrix: Matrix) -> Iterator[str]:
    """Those that concern the columns of this matrix, in a fixed order."""
    corrupted = [benchmark for benchmark in matrix.benchmarks if isinstance(benchmark, CommonCorruptions)]
    data = {run.run.data.name.removesuffix("-jpeg") for run in matrix.runs}
    if corrupted and published.normaliser(matrix.report.mce_baseline).data in data:
        yield _baseline(matrix)
    if corrupted and matrix.report.table == "table1":
        yield _footing(matrix, corrupted)
    yield from dict.fromkeys(note for benchmark in corrupted if (note := corruption_note(benchmark)))
    yield from _disputes(matrix)


def _baseline(matrix: Matrix) -> str:
    found = published.normaliser(matrix.report.mce_baseline)
    stand_in = ", a stand-in: the papers' could not be found, so the published mCE is on another scale" * found.stand_in
    return (
        f"mCE: the mean of the 15 ratios of errors to {found.name}'s{stand_in}. Corruption errors are means over five "
        "severities; the intervals of mCE and of average CE take the 15 errors to go up and down together."
    )


def _footing(matrix: Matrix, corrupted: list[CommonCorruptions]) -> str:
    paper = published.table(matrix.report.published)
    ours = ", ".join(dict.fromkeys(benchmark.pipeline for benchmark in corrupted))
    return f"Corrupted images: ours {ours}; the paper's {paper.pipeline} ({paper.pipeline_note})."


def _disputes(matrix: Matrix) -> Iterator[str]:
    """The contradictions about a published number that stands beside one of this matrix's runs."""
    columns = {column(benchmark, measure) for benchmark in matrix.benchmarks for measure in measures(benchmark)}
    subjects = {
        found.subject
        for run in matrix.runs
        for name in columns
        if (found := published.lookup(matrix.report.published, published.axes_of(run.run), name)) and found.disputed
    }
    for dispute in published.disputes(matrix.report.published):
        if any(subject in subjects and name in columns for subject, name in dispute.cells):
            yield f"Disputed in {matrix.report.published}: {dispute.name}. {dispute.says.rstrip('.')}."
