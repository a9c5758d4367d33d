"""`cebctl report`: what goes to stdout and what into files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.mark.parametrize(("option", "there"), [("--html", "."), ("--html", "folder"), ("--figures", "tiny.yaml")])
def test_a_folder_is_no_page_and_a_file_no_folder(
    call, tiny: Path, option: str, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny.parent)
    Path("folder").mkdir()
    answer = call("report", tiny, option, there)
    assert (answer.code, answer.out, len(answer.err.splitlines())) == (2, "", 1)
    assert f"'{there}' is a {'file' if option == '--figures' else 'directory'}" in answer.err


@pytest.mark.parametrize("given", [("--json",), ("--format", "json")])
def test_a_format_that_is_asked_for_comes_beside_the_files(call, tiny: Path, given: tuple[str, ...]) -> None:
    page = tiny.with_name("page.html")
    answer = call("report", tiny, *given, "--html", page)
    assert json.loads(answer.out)["matrix"] == "tiny"
    assert page.read_text().startswith("<!DOCTYPE html>")
    page.unlink()
    assert call("report", tiny, "--html", page).out == ""
    assert page.exists()


@pytest.mark.parametrize(("given", "refused"), [
    (("--html", "page.html"), "--html"),
    (("--figures", "drawn", "--html", "page.html", "--json"), "--figures, --html"),
    (("--format", "md"), "--format md"),
])  # fmt: skip
def test_what_is_of_the_whole_report_is_refused_beside_compare(
    call, tiny: Path, given: tuple[str, ...], refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny.parent)
    before = sorted(Path().iterdir())
    answer = call("report", tiny, "--compare", "xent", "ceb rho=3", *given)
    allowed = "allowed: --only, --json, --format table, --format json"
    assert (answer.code, answer.out, answer.err) == (2, "", f"--compare: can't go with {refused}; {allowed}\n")
    assert sorted(Path().iterdir()) == before


def test_two_formats_are_one_too_many(call, tiny: Path) -> None:
    answer = call("report", tiny, "--json", "--format", "csv")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "--json: can't go with --format csv; leave one of them out\n"
