"""What a person reads: numbers that fit their column, numbers of images that are those of the rows, plain lists."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cebctl.report import number_format
from cebctl.report.cells import Report
from cebctl.report.formats import write
from cebctl.report.page.tables import page_tables
from experiments.benchmarks import CORRUPTIONS, Clean, Information, Pgd
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix, PlannedRun
from jobs.journal.records import Measure

Reported = Callable[..., Report]
HEAD = "base: {data: digits, network: small_cnn, optimiser: adam, epochs: 4, batch: 8}\n"


def _matrix(path: Path, grids: str) -> Matrix:
    path.write_text(
        f"{HEAD}grids: {grids}\nevaluate: [clean, information, pgd: {{norm: linf, eps: 0.1, steps: 2, subset: 1}}]"
    )
    return load(path)


def _printed(report: Report, capsys: pytest.CaptureFixture[str], kind: str) -> str:
    write.write_report(report, kind)
    return capsys.readouterr().out


@pytest.mark.parametrize("kind", ["table", "md", "latex"])
def test_an_exploded_rate_is_told_in_three_digits(
    tmp_path: Path, reported: Reported, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    def numbers(run: PlannedRun) -> dict[object, list[Measure]]:
        value = {0.0: 999_999.994, 1.0: 1.23456789e24, 2.0: -4e6}[run.axes["rho"]]
        return {Information(): [Measure(name="rate", unit="nats", total=10, value=value, std=abs(value) / 10)]}

    report = reported(_matrix(tmp_path / "m.yaml", "[{objective: ceb, rho: [0, 1, 2]}]"), numbers)
    text = _printed(report, capsys, kind)
    assert "999999.99" in text and "1.23e+24" in text and "-4e+06" in text
    assert not re.search(r"\d{10}", text)
    cells = [cell for table in page_tables(report) for row in table.rows for cell in row]
    assert {"999999.99", "1.23e+24", "-4e+06"} <= {cell.text for cell in cells}


def test_a_column_says_how_many_images_its_rows_have(
    tmp_path: Path, reported: Reported, capsys: pytest.CaptureFixture[str]
) -> None:
    def numbers(run: PlannedRun) -> dict[object, list[Measure]]:
        n = {"xent": 1_100, "ceb": 1_032}.get(str(run.axes["objective"]), 1_050)
        pgd = Pgd(norm="linf", eps=0.1, steps=2, subset=1)
        return {
            Clean(): [Measure(name="clean", unit="accuracy", total=n, correct=n // 2)],
            pgd: [Measure(name="pgd_linf", unit="accuracy", total=1, correct=1)],
        }

    grids = "[{objective: xent}, {objective: ceb, rho: 1}, {objective: vib, rho: 1}]"
    text = _printed(reported(_matrix(tmp_path / "m.yaml", grids), numbers), capsys, "md")
    assert "%, n=1,032–1,100" in text and "%, n=1 " in text
    assert ", 1 image." in text and "1 images" not in text


@pytest.mark.parametrize("kind", ["table", "md", "csv", "latex"])
def test_a_list_is_written_without_brackets(
    tmp_path: Path, reported: Reported, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    grids = "[{objective: ceb, rho: [1, 2], extends: [[1], [1, 2]]}]"
    matrix = _matrix(tmp_path / "m.yaml", grids)
    report = reported(matrix, lambda run: {Clean(): [Measure(name="clean", unit="accuracy", total=9, correct=8)]})
    text = _printed(report, capsys, kind)
    assert "(1" not in text and "1,2" in text
    assert set(report.selected) == {"ceb extends=1", "ceb extends=1,2"}


@pytest.mark.parametrize(
    ("n", "value", "printed"), [(2, 1.0, "[34.2, 100.0]"), (30, 1.0, "[88.6, 100.0]"), (30, 0.0, "[0.0, 11.4]")]
)
def test_an_error_that_is_the_same_for_every_image_is_not_certain(
    tmp_path: Path, reported: Reported, capsys: pytest.CaptureFixture[str], n: int, value: float, printed: str
) -> None:
    """Wilson's interval of 2 of 2, 30 of 30 and 0 of 30, from a table of it."""
    matrix = tmp_path / "m.yaml"
    matrix.write_text(
        f"{HEAD}grids: [{{objective: xent}}]\nevaluate: [common_corruptions: {{pipeline: ours, subset: {n}}}]\n"
    )
    measures = [Measure(name=name, unit="error", total=n, value=value, std=0.0) for name in CORRUPTIONS]
    report = reported(load(matrix), lambda run: {run.benchmarks[0]: measures})
    text = _printed(report, capsys, "md")
    assert printed in text and f"[{value * 100:.1f}, {value * 100:.1f}]" not in text


def test_of_many_names_the_first_two_and_the_last_are_told() -> None:
    assert number_format.join_or_count(list("abcdef"), "rows") == "a, b, c, d, e, f"
    assert number_format.join_or_count(list("abcdefg"), "rows") == "7 rows, a, b … g"
