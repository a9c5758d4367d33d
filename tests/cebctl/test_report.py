"""`cebctl report`: what goes to stdout and what into files."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from experiments.benchmarks import Clean
from experiments.identity import evaluation_id
from experiments.matrix.load import load
from jobs.journal.files import Journal
from jobs.journal.records import Measure, Result, Started
from jobs.paths import Home


@pytest.mark.parametrize(("option", "path"), [("--html", "."), ("--html", "folder"), ("--figures", "tiny.yaml")])
def test_a_folder_is_no_page_and_a_file_no_folder(
    call, tiny: Path, option: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny.parent)
    Path("folder").mkdir()
    answer = call("report", tiny, option, path)
    assert (answer.code, answer.out, len(answer.err.splitlines())) == (2, "", 1)
    assert f"'{path}' is a {'file' if option == '--figures' else 'directory'}" in answer.err


@pytest.mark.parametrize("options", [("--json",), ("--format", "json")])
def test_a_format_that_is_asked_for_comes_beside_the_files(call, tiny: Path, options: tuple[str, ...]) -> None:
    page = tiny.with_name("page.html")
    answer = call("report", tiny, *options, "--html", page)
    assert json.loads(answer.out)["matrix"] == "tiny"
    assert page.read_text().startswith("<!DOCTYPE html>")
    page.unlink()
    assert call("report", tiny, "--html", page).out == ""
    assert page.exists()


@pytest.mark.parametrize(("options", "refused"), [
    (("--html", "page.html"), "--html"),
    (("--figures", "drawn", "--html", "page.html", "--json"), "--figures, --html"),
    (("--format", "md"), "--format md"),
])  # fmt: skip
def test_what_is_of_the_whole_report_is_refused_beside_compare(
    call, tiny: Path, options: tuple[str, ...], refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny.parent)
    before = sorted(Path().iterdir())
    answer = call("report", tiny, "--compare", "xent", "ceb rho=3", *options)
    allowed = "allowed: --only, --json, --format table, --format json"
    assert (answer.code, answer.out, answer.err) == (2, "", f"--compare: can't go with {refused}; {allowed}\n")
    assert sorted(Path().iterdir()) == before


def test_two_formats_are_one_too_many(call, tiny: Path) -> None:
    answer = call("report", tiny, "--json", "--format", "csv")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "--json: can't go with --format csv; leave one of them out\n"


def test_a_page_dates_its_newest_number(call, tiny: Path, home: Path) -> None:
    page = tiny.with_name("page.html")
    call("report", tiny, "--html", page)
    assert "newest number not there yet" in page.read_text()
    newest = datetime(2021, 3, 4, 5, 6)
    for run, day in zip(load(tiny).runs, (3, 4, 2), strict=True):
        with Journal(Home(home).run(run.run_id).journal("evaluate", 1)) as journal:
            result = Result(
                time=newest.replace(day=day).timestamp(),
                evaluation_id=evaluation_id(Clean(), "digits"),
                benchmark=Clean(),
                data_digest="d",
                checkpoint_step=1,
                engine="e",
                measures=[Measure(name="clean", unit="accuracy", total=360, correct=350)],
            )
            journal.write(Started(), result)
    call("report", tiny, "--html", page)
    assert "newest number of 2021-03-04 05:06" in page.read_text()
