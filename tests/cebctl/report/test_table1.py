"""Both Table 1s come back from a store that was fed their per-corruption errors as if they had been measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cebctl.report.cells import Cell, Missing, Report
from cebctl.report.formats import write
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix, PlannedRun
from jobs.journal.records import Measure

ROOT = Path(__file__).parents[3]
RHO_STAR = {  # as printed
    "v2": ["2", "2", "NA", "3", "NA", "3", "NA", "4", "3", "NA", "6", "NA", "4", "NA"],
    "v1": ["3", "NA", "7", "NA", "4", "NA"],
}


@pytest.fixture(scope="module", params=["v2", "v1"])
def paper(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def matrix(paper: str) -> Matrix:
    return load(ROOT / "experiments" / {"v2": "imagenet.yaml", "v1": "imagenet_v1.yaml"}[paper])


@pytest.fixture(scope="module")
def typed(paper: str, printed: Any) -> list[dict[str, Any]]:
    columns: list[dict[str, Any]] = printed.columns(paper)
    return columns


@pytest.fixture(scope="module")
def report(reported: Callable[..., Report], matrix: Matrix, paper: str, printed: Any) -> Report:
    return reported(matrix, printed.numbers(paper))


def test_the_printed_table_comes_back(report: Report, typed: list[dict[str, Any]], paper: str) -> None:
    table = report.tables[0]
    assert (len(table.rows), len(table.columns) + 1) == {"v2": (14, 22), "v1": (6, 19)}[paper]
    assert [row.heads[-1] for row in table.rows] == RHO_STAR[paper]
    assert report.selected and {choice.column for choice in report.selected.values()} == {
        "clean" if paper == "v2" else "mce"
    }
    for row, column in zip(table.rows, typed, strict=True):
        for name, printed in column["error_percent"].items():
            cell = row.cells[name]
            assert isinstance(cell, Cell)
            within = 0.1 if name in ("mce", "average_ce") else 0.001
            assert cell.value * 100 == pytest.approx(printed, abs=within), (row.heads, name)
            assert cell.low < cell.value < cell.high
            if paper == "v1" and name in ("frost", "mce", "average_ce"):  # frost is drawn there
                assert cell.published is cell.difference is None
                continue
            assert cell.published == pytest.approx(printed / 100)
            assert cell.difference == pytest.approx(cell.value - printed / 100)


def test_the_lowest_of_each_architecture_is_bold(report: Report, paper: str) -> None:
    """Typed from the print: the columns that are bold in a few rows that are easily read."""
    best = {
        name: [index for index, row in enumerate(report.tables[0].rows) if _best(row.cells[name])]
        for name in ("clean", "defocus_blur", "pgd_l2", "pixelate")
        if name in report.tables[0].columns
    }
    if paper == "v1":
        assert best == {"clean": [0, 2, 4], "defocus_blur": [0, 2, 5], "pixelate": [0, 2, 4]}
    else:
        assert best["clean"] == [0, 3, 5, 7, 10, 12]
        assert best["defocus_blur"] == [1, 4, 6, 7, 10, 12]
        assert best["pgd_l2"] == [0, 1, 3, 5, 7, 10, 12]
        assert best["pixelate"] == [1, 3, 4, 5, 7, 10, 12]


def _best(cell: Cell | Missing) -> bool:
    return isinstance(cell, Cell) and cell.best


def test_what_is_not_run_is_shown_as_missing_beside_the_print(
    reported: Callable[..., Report], matrix: Matrix, paper: str, printed: Any
) -> None:
    """Of a family with three rho, the best of those; of one with none, no rho*."""

    def some(run: PlannedRun) -> dict[Any, list[Measure]]:
        has_run = run.axes["objective"] != "xent" and run.axes.get("rho", 0) <= 3
        return printed.numbers(paper)(run) if has_run else {}

    report = reported(matrix, some)
    row = report.tables[0].rows[-1]
    assert isinstance(row.cells["clean"], Missing) and row.cells["clean"].published is not None
    assert not any(_best(cell) for row in report.tables[0].rows for cell in row.cells.values())
    chosen = report.selected[next(name for name in report.selected if name.startswith("ceb"))]
    assert chosen.among == (1.0, 2.0, 3.0) and len(chosen.without) == 7
    assert any("without a number of that rho yet: 7 more" in note for note in report.notes)


def test_the_terminal_and_latex_have_all_of_it(report: Report, paper: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In parts by architecture, none wider than 100 columns, no number cut."""
    write.write_report(report, "table")
    out = capsys.readouterr().out
    assert all(f"\n{note}\n" in out for note in report.notes)
    lines = out.partition(report.notes[0])[0].splitlines()
    assert max(map(len, lines)) <= 100 and not any("…" in line for line in lines if line.startswith("Clean"))
    clean = [line for line in lines if line.startswith("Clean")]
    assert len(clean) == {"v2": 6, "v1": 3}[paper]
    assert sum(line.count("[") for line in clean) == {"v2": 14, "v1": 6}[paper]
    write.write_report(report, "latex")
    latex = capsys.readouterr().out
    assert latex.count(r"\textbf{") == sum(_best(cell) for row in report.tables[0].rows for cell in row.cells.values())
