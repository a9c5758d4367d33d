"""A report from rows: what stands in a cell, what is missing and why, which rho is selected."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from cebctl.report.cells import Cell, Missing, Report
from cebctl.report.formats import write
from cebctl.report.intervals import wilson
from cebctl.report.measurements import clip_to_range
from cebctl.report.page.tables import page_tables
from cebctl.report.table import build_report
from cebctl.status.states import RunStatus, StageStatus
from experiments.errors import InputError
from experiments.identity import evaluation_id
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix, PlannedRun
from jobs.journal.records import Measure
from store.row_types import AttemptRow, ResultRow

MATRIX = """
title: A title_with & signs
base: {data: digits, network: small_cnn, optimiser: adam, epochs: 1, batch: 8}
grids:
  - objective: xent
  - {objective: ceb, rho: [1, 2, 3]}
seeds: [0, 1]
evaluate: [clean, information, pgd: {norm: linf, eps: [0.1, 8/255], steps: 20}]
"""

Clean = dict[tuple[str, float | None, int], int]
"""Correct images of 1,000 by (objective, rho, seed)."""

SWEEP: Clean = {
    ("xent", None, 0): 980, ("xent", None, 1): 990, ("ceb", 1.0, 0): 950, ("ceb", 1.0, 1): 950,
    ("ceb", 2.0, 0): 989, ("ceb", 2.0, 1): 989, ("ceb", 3.0, 0): 990, ("ceb", 3.0, 1): 990,
}  # fmt: skip


def _null(kind: Any, **values: Any) -> Any:
    return kind(**{field.name: values.get(field.name) for field in fields(kind)})


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    path = tmp_path / "m.yaml"
    path.write_text(MATRIX)
    return load(path)


def _report(
    matrix: Matrix,
    clean: Clean,
    state: str = "new",
    error: str | None = None,
    engine: str = "e1",
    libraries: Sequence[dict[str, str]] = ({},),
) -> Report:
    rows = [
        _null(
            ResultRow,
            run_id=run.run_id,
            evaluation_id=evaluation_id(matrix.benchmarks[0], "digits"),
            name="clean",
            unit="accuracy",
            total=1000,
            correct=clean[key],
            benchmark=matrix.benchmarks[0],
            engine=engine,
            generation=1,
            libraries=libraries[number % len(libraries)],
        )
        for number, run in enumerate(matrix.runs)
        if (key := (run.axes["objective"], run.axes.get("rho"), run.axes["seed"])) in clean
    ]
    job = _null(AttemptRow, error=error) if error else None
    status = {run.run_id: RunStatus(run, (StageStatus("train", state, job),)) for run in matrix.runs}  # type: ignore[arg-type]
    return build_report(matrix, status, rows, "e1")


def _cell(report: Report, row: int, column: str) -> Cell | Missing:
    return report.tables[0].rows[row].cells[column]


def test_seeds_are_one_row_with_mean_spread_and_students_interval(matrix: Matrix) -> None:
    report = _report(matrix, SWEEP)
    assert [row.axes for row in report.tables[0].rows][:2] == [{"objective": "xent"}, {"objective": "ceb", "rho": 1.0}]
    cell = _cell(report, 0, "clean")
    assert isinstance(cell, Cell)
    assert (cell.value, cell.seeds, cell.n) == (pytest.approx(0.985), 2, 1000)
    assert cell.std == pytest.approx(0.00707, abs=1e-5)
    assert cell.value - cell.low == pytest.approx(12.706 * cell.std / 2**0.5, rel=1e-3)


def test_what_two_far_apart_seeds_say_of_an_accuracy_is_still_possible(
    matrix: Matrix, capsys: pytest.CaptureFixture[str]
) -> None:
    report = _report(matrix, {("xent", None, 0): 350, ("xent", None, 1): 450})
    cell = _cell(report, 0, "clean")
    assert isinstance(cell, Cell) and (cell.low, cell.high) == (0.0, 1.0)
    assert (cell.as_error().low, cell.as_error().high) == (0.0, 1.0)
    assert "cut at 0 and 100%" in report.notes[0]
    for format, interval in (("table", "[0.0, 100.0]"), ("md", "[0.0, 100.0]"), ("csv", ",0.0,1.0,")):
        write.write_report(report, format)
        assert interval in capsys.readouterr().out


def test_only_shares_have_bounds() -> None:
    assert clip_to_range(-0.2, 1.3, "success") == clip_to_range(-0.2, 1.3, "share") == (0.0, 1.0)
    assert clip_to_range(-0.2, 1.3, "nats") == clip_to_range(-0.2, 1.3, "relative_error") == (-0.2, 1.3)


def test_one_seed_has_wilsons_interval(matrix: Matrix) -> None:
    cell = _cell(_report(matrix.select("seed = 1"), SWEEP), 0, "clean")
    assert isinstance(cell, Cell)
    assert (cell.value, cell.seeds, cell.std) == (0.99, 1, 0.0)
    assert (cell.low, cell.high) == wilson(990, 1000)


@pytest.mark.parametrize(
    ("state", "error", "reason"),
    [("new", None, "not run"), ("running", None, "running"), ("lost", None, "lost"), ("failed", "nan", "failed: nan")],
)  # fmt: skip
def test_missing_says_why(matrix: Matrix, state: str, error: str | None, reason: str) -> None:
    assert _cell(_report(matrix, {}, state, error), 0, "clean") == Missing(reason)


def test_each_benchmark_that_failed_says_why_itself(matrix: Matrix) -> None:
    failed = {evaluation_id(matrix.benchmarks[0], "digits"): "clean: ZeroDivisionError: division by zero"}
    job = _null(AttemptRow, error="evaluate: clean: ZeroDivisionError: division by zero", failed_benchmarks=failed)
    status = {run.run_id: RunStatus(run, (StageStatus("evaluate", "failed", job),)) for run in matrix.runs}
    report = build_report(matrix, status, [], "e1")
    assert _cell(report, 0, "clean") == Missing("failed: clean: ZeroDivisionError: division by zero")
    assert _cell(report, 0, "pgd_linf@eps=0.1,n=20") == Missing(
        "failed: not measured in the newest attempt, evaluate: clean: ZeroDivisionError: division by zero"
    )


def test_a_number_that_is_not_finite_is_missing(matrix: Matrix) -> None:
    """Earlier versions wrote null for it."""
    row = _null(
        ResultRow,
        run_id=matrix.runs[0].run_id,
        evaluation_id=evaluation_id(matrix.benchmarks[0], "digits"),
        name="clean",
        unit="score",
        total=360,
        benchmark=matrix.benchmarks[0],
        generation=1,
    )
    status = {run.run_id: RunStatus(run, (StageStatus("evaluate", "done", None),)) for run in matrix.runs}
    report = build_report(matrix.select("objective = xent, seed = 0"), status, [row], "e1")
    assert _cell(report, 0, "clean") == Missing("not a finite number")


def test_threat_models_are_spelt_out_where_there_are_several(matrix: Matrix) -> None:
    columns = _report(matrix, SWEEP).tables[0].columns
    assert columns[-2:] == ("pgd_linf@eps=0.1,n=20", "pgd_linf@eps=8/255,n=20")


def test_rho_star_is_the_lowest_within_a_tenth_of_a_point(matrix: Matrix) -> None:
    """As the paper decides its one tie: 98.9 and 99.0 are equal, 95.0 is not."""
    assert _report(matrix, SWEEP).selected["ceb"].rho == 2.0
    above = SWEEP | {("ceb", 3.0, 0): 992, ("ceb", 3.0, 1): 992}
    assert _report(matrix, above).selected["ceb"].rho == 3.0
    assert _report(matrix, {}).selected == {}


def test_results_of_other_code_are_marked(matrix: Matrix, capsys: pytest.CaptureFixture[str]) -> None:
    write.write_report(_report(matrix, SWEEP, engine="older"), "md")
    out = capsys.readouterr().out
    assert "†" in out and "made by an earlier cebctl, which recorded no versions" in out


def test_several_versions_of_a_library_are_noted_and_mark_nothing(matrix: Matrix) -> None:
    report = _report(
        matrix, SWEEP, libraries=({"torch": "2.11.0", "submitit": "1"}, {"torch": "2.15.0", "submitit": "2"})
    )
    assert "Made with several versions of libraries: torch 2.11.0 and 2.15.0." in report.notes
    cells = [row.cells["clean"] for row in report.tables[0].rows]
    assert not any(cell.stale for cell in cells if isinstance(cell, Cell))


ONE_OF_TWO = {key: correct for key, correct in SWEEP.items() if key != ("ceb", 2.0, 1)}
"""Without the second seed of rho 2, which would be rho*."""


@pytest.mark.parametrize("format", ["table", "md", "latex"])
def test_a_row_that_lacks_a_seed_says_so(matrix: Matrix, capsys: pytest.CaptureFixture[str], format: str) -> None:
    """How many of how many, what the other does, and whose interval is over images alone."""
    write.write_report(_report(matrix, ONE_OF_TWO, "running"), format)
    text = " ".join(capsys.readouterr().out.split())
    for tex, plain in (("{[}", "["), ("{]}", "]"), (r"$\pm$", "±")):
        text = text.replace(tex, plain)
    assert "1 of 2 seeds, seed 1 running: ceb rho=2" in text
    assert "98.9 [98.0, 99.4]i" in text and "[…]i of one seed: 95% intervals over the test images" in text
    assert "99.0 ±0.0 [99.0, 99.0] " in text and "over 2 seeds" in text
    assert "left out, because seeds are missing: 2." in text


def test_the_page_says_so_too(matrix: Matrix) -> None:
    table, *_ = page_tables(_report(matrix, ONE_OF_TWO, "running"))
    column = [head.lines[0] for head in table.heads].index("clean")
    incomplete, full = table.rows[2], table.rows[3]
    assert "1 of 2 seeds" in [cell.text for cell in incomplete] and "2 seeds" in [cell.text for cell in full]
    assert incomplete[column].interval == " [98.0, 99.4]i" and full[column].interval == " [99.0, 99.0]"
    assert incomplete[column].why == "1 of 2 seeds, 95% interval over images: seed 1 running"


def test_no_note_counts_seeds_that_a_row_does_not_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "three.yaml"
    path.write_text(MATRIX.replace("[0, 1]", "[0, 1, 2]"))
    write.write_report(_report(load(path), SWEEP), "md")
    text = capsys.readouterr().out
    assert "over 2 seeds" in text and "over 3 seeds" not in text and "2 of 3 seeds" in text


def test_a_cell_names_the_runs_that_made_it(matrix: Matrix, capsys: pytest.CaptureFixture[str]) -> None:
    report = _report(matrix, ONE_OF_TWO)
    write.write_report(report, "csv")
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    clean = [line for line in lines if line["column"] == "clean"]
    by_seed = {(run.axes.get("rho"), run.axes["seed"]): run.run_id for run in matrix.runs}
    assert [len(line["run_ids"].split()) for line in clean] == [int(line["seeds"]) for line in clean] == [2, 2, 1, 2]
    assert clean[2]["run_ids"] == by_seed[2.0, 0]
    assert [line["interval"] for line in clean] == ["student_t", "student_t", "wilson", "student_t"]
    assert (clean[2]["interval_over"], clean[2]["absent"]) == ("images", "seed 1 not run")
    row = write.report_json(report)["tables"][0]["rows"][2]
    assert row["run_ids"] == (by_seed[2.0, 0], by_seed[2.0, 1])
    cell = row["cells"]["clean"]
    assert (cell["run_ids"], cell["seeds"], cell["seeds_asked"]) == ((by_seed[2.0, 0],), 1, 2)
    assert cell["absent"] == ({"run_id": by_seed[2.0, 1], "seed": 1, "reason": "not run"},)


def test_rho_star_is_chosen_among_complete_rows(matrix: Matrix) -> None:
    """One lucky seed of rho 2 is above all means."""
    report = _report(matrix, ONE_OF_TWO | {("ceb", 2.0, 0): 1000})
    chosen = report.selected["ceb"]
    assert chosen.rho == 3.0
    assert (chosen.among, chosen.incomplete, chosen.complete) == ((1.0, 3.0), (2.0,), True)
    assert any("left out, because seeds are missing: 2." in note for note in report.notes)


def test_rho_star_among_rows_that_lack_seeds_says_so(matrix: Matrix) -> None:
    first = {key: correct for key, correct in SWEEP.items() if key[2] == 0}
    report = _report(matrix, first | {("ceb", 1.0, 1): 950})
    chosen = report.selected["ceb"]
    assert (chosen.rho, chosen.among, chosen.incomplete, chosen.complete) == (2.0, (1.0, 2.0, 3.0), (2.0, 3.0), False)
    assert any("chosen among rows that lack seeds (2, 3)" in note for note in report.notes)


def test_a_benchmark_of_some_seeds_is_not_missing_for_the_others(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(MATRIX.replace("evaluate: [clean,", 'evaluate: [clean: {only: "seed = 0"},'))
    report = _report(load(path), {key: correct for key, correct in SWEEP.items() if key[2] == 0})
    cell = _cell(report, 0, "clean")
    assert isinstance(cell, Cell) and (cell.seeds, cell.seeds_asked, cell.absent) == (1, 1, ())
    assert report.selected["ceb"].complete


def test_seeds_that_lack_a_number_for_different_reasons_name_each(matrix: Matrix) -> None:
    states = {0: "running", 1: "new"}
    status = {
        run.run_id: RunStatus(run, (StageStatus("train", states[run.axes["seed"]], None),)) for run in matrix.runs
    }  # type: ignore[arg-type]
    assert _cell(build_report(matrix, status, [], "e1"), 0, "clean") == Missing("running (seed 0); not run (seed 1)")


@pytest.fixture
def written(matrix: Matrix, capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    def written(format: str) -> str:
        write.write_report(_report(matrix, SWEEP), format)
        return capsys.readouterr().out

    return written


def test_formats_agree_and_people_read_percent(written: Callable[[str], str]) -> None:
    table = json.loads(written("json"))["tables"][0]
    value = table["rows"][1]["cells"]["clean"]["value"]
    rows = [row for row in csv.DictReader(io.StringIO(written("csv"))) if row["column"] == "clean"]
    assert float(rows[1]["value"]) == value == 0.95
    assert "95.0 ±0.0 [95.0, 95.0]" in written("md")
    assert "95.0 ±0.0 [95.0, 95.0]" in written("table")
    assert "no stronger attack than PGD" in written("table").replace("\n", " ")


def test_every_line_of_the_terminal_table_fits(written: Callable[[str], str]) -> None:
    text, _, notes = written("table").partition("\nMean ±")
    assert max(len(line) for line in text.splitlines()) <= 100
    assert notes.startswith(" standard deviation") and "possible].\n" in notes  # a footnote a line
    assert "…" not in text
    assert text.count("ceb") >= 2 * 3  # the axes stand before each part of the columns


def test_latex_escapes_what_tex_would_read(written: Callable[[str], str]) -> None:
    body = [line for line in written("latex").splitlines() if not line.startswith("%")]
    assert r"\toprule" in body and r"\bottomrule" in body
    assert r"pgd\_linf@eps=0.1,n=20" in "\n".join(body)
    rows = [line for line in body if line.endswith(r" \\")]
    assert [line for line in body if "begin{tabular}" in line] == [
        r"\begin{tabular}{lllrrrrr}",
        r"\begin{tabular}{lllr}",  # all six columns are too wide for a page
    ]
    assert {line.count(" & ") for line in rows} == {7, 3}


HELD_OUT = """
base: {data: {name: digits, holdout: 100}, network: small_cnn, optimiser: adam, epochs: 1, batch: 8}
grids: [{objective: ceb, rho: [1, 2, 3]}]
evaluate: [clean, clean_holdout]
report: {rho_star: clean_holdout}
"""


def test_rho_star_can_be_chosen_on_held_out_images(tmp_path: Path, reported: Callable[..., Report]) -> None:
    """The test images would have it at 3; the report says what it was chosen on."""
    path = tmp_path / "h.yaml"
    path.write_text(HELD_OUT)
    right = {"clean": {1: 300, 2: 310, 3: 350}, "clean_holdout": {1: 90, 2: 97, 3: 95}}

    def measured(run: PlannedRun) -> dict[Any, list[Measure]]:
        return {
            benchmark: [Measure(name=name, unit="accuracy", total=400, correct=right[name][run.axes["rho"]])]
            for benchmark, name in zip(run.benchmarks, right, strict=True)
        }

    report = reported(load(path), measured)
    assert (report.selected["ceb"].rho, report.selected["ceb"].column) == (2.0, "clean_holdout")
    assert any("held-out" in note for note in report.notes)


def test_a_column_that_no_benchmark_has_is_refused(matrix: Matrix) -> None:
    requested = replace(matrix, report=structs.replace(matrix.report, columns=("clean", "pgd_l3")))
    with pytest.raises(InputError, match=r"no column 'pgd_l3'.*pgd_linf"):
        _report(requested, {})


def test_the_printed_columns_and_the_rest(matrix: Matrix, capsys: pytest.CaptureFixture[str]) -> None:
    """A short name stands for all its threat models; what is not printed is in CSV and JSON."""
    requested = replace(matrix, report=structs.replace(matrix.report, columns=("pgd_linf",)))
    report = _report(requested, SWEEP)
    assert report.tables[0].columns == ("pgd_linf@eps=0.1,n=20", "pgd_linf@eps=8/255,n=20")
    write.write_report(report, "table")
    printed = capsys.readouterr().out
    assert "Rex" not in printed and "--format csv" in printed
    write.write_report(report, "csv")
    assert "conditional_entropy" in capsys.readouterr().out
