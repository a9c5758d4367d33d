"""Text that is not ours steers no terminal and hides nothing, in whatever command, format or file it is shown."""

from __future__ import annotations

import ast
import csv
import io
import json
import shlex
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from cebctl import text_output
from cebctl.render.console import print_table, result_console
from cebctl.report.figures import draw, vega
from cebctl.report.figures.marks import Figure, Mark, Panel, Series
from experiments.matrix.load import load
from jobs.journal.files import Journal
from jobs.journal.records import Failed, Started
from jobs.paths import Home

PACKAGE = Path(text_output.__file__).parent
STEERING = "\x1b[2J\x1b]0;title\x07\x9b31m\u202egnp.exe\u2066\u200f\u2028\x7f"
"""Erase the screen, name its window, colour by an 8-bit control, reverse the text."""


def is_harmless(text: str) -> bool:
    kinds = {unicodedata.category(sign) for sign in text.replace("\n", "").replace("\t", "")}
    return not kinds & {"Cc", "Cs", "Zl", "Zp"} and not set(text) & set("\u202e\u2066\u200f\u061c\ufeff")


@given(st.text(st.characters(categories=("Cc", "Cf", "Cs", "Lu", "Zl", "Zp", "Zs"))))
def test_each_sign_is_a_column(text: str) -> None:
    shown = text_output.visible(text)
    assert is_harmless(shown) and len(shown) == len(text)
    assert [b for a, b in zip(text, shown, strict=True) if a.isupper()] == [a for a in text if a.isupper()]
    assert not any(
        unicodedata.bidirectional(sign) in ("RLO", "LRO", "RLE", "PDF", "RLI", "LRI", "FSI") for sign in shown
    )
    shown.encode()
    text = text.encode("utf-8", "replace").decode()
    document = text_output.visible_json(json.dumps(text, ensure_ascii=False))
    assert is_harmless(document) and json.loads(document) == text


def test_what_is_shown_for_it() -> None:
    assert text_output.visible("a\x1b[31mb\r\x7f\u202ec\td\n\u0644\u200d") == "a␛[31mb␍␡\ufffdc\td\n\u0644\u200d"


def test_there_is_one_way_out() -> None:
    """Everything that writes to a stream goes through `text_output`, or a console that does."""
    ways = {
        "traceback.print_exc",
        "print",
        "typer.echo",
        "typer.confirm",
        "typer.prompt",
        "typer.secho",
        "Console",
        "rich.print",
    }
    ways |= {"sys.stdout.write", "sys.stderr.write", "sys.stdout.buffer.write", "sys.stdout.writelines"}
    allowed = {("text_output.py", "print"), ("render/console.py", "typer.confirm")}
    calls = {
        (path.relative_to(PACKAGE).as_posix(), ast.unparse(node.func))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    }
    assert {call for call in calls if call[1] in ways} == allowed
    assert {file for file, call in calls if call == "VisibleConsole"} == {"render/console.py"}


@pytest.fixture
def foreign(finished: Home, small: Path) -> Path:
    """A finished matrix whose title, name, log and one error somebody else has chosen."""
    path = small.with_name("a [") / f"red] small {STEERING} [link=x{STEERING}]y.yaml"
    path.parent.mkdir()
    title = json.dumps(f"a title {STEERING}")  # YAML takes a JSON string
    path.write_text(f"title: {title}\n{small.read_text()}")
    run = load(path).runs[0]
    with Journal(finished.run(run.run_id).journal("train", 2)) as journal:
        journal.write(Started(submission=f"s1{STEERING}", host=f"node{STEERING}"))
        journal.write(Failed(error=f"an error {STEERING}", kind="nan", traceback=f"deep {STEERING}\n{STEERING}"))
    log = finished.run(run.run_id).log("train", 2)
    log.parent.mkdir()
    log.write_text(f"a line {STEERING}\n")
    return path


@pytest.mark.parametrize(
    "command",
    ["plan", "plan --full", "plan --json", "plan --diff", "plan --plain", "status", "status --plain", "status --json",
     *(f"report --format {format}" for format in ("table", "md", "csv", "json", "latex")), "report --plain",
     "report --compare 'objective = ceb' 'objective = xent'", "cancel", "gc --dry-run", "plan --only 'depth = 4'",
     "status --only 'a\x1b[2J'", "doctor", "submit --max-gpu-hours 0 --again \x1b[2Jx"],
)  # fmt: skip
def test_no_command_prints_it(call, foreign: Path, command: str) -> None:
    name, *options = shlex.split(command)
    answer = call(name, foreign, *options)
    text = answer.out + answer.err
    assert is_harmless(text), ascii(text)
    assert "a fault of cebctl" not in text and text
    if "json" in command:
        json.loads(answer.out)
    if "csv" in command:
        assert len(list(csv.DictReader(io.StringIO(answer.out)))) > 3


def test_no_command_about_a_run_prints_it(call, foreign: Path) -> None:
    run_id = load(foreign).runs[0].run_id
    for command in ("logs", "show", "show --plain"):
        name, *options = command.split()
        answer = call(name, run_id, *options)
        assert is_harmless(answer.out + answer.err), ascii(answer.out)
        assert "an error ␛[2J" in answer.out
    assert "a line ␛[2J" in call("logs", run_id).out


def test_no_file_holds_it(call, foreign: Path, tmp_path: Path) -> None:
    assert call("report", foreign, "--html", tmp_path / "page.html").code == 0
    page = (tmp_path / "page.html").read_text()
    body = page[page.index("<body") : page.index("<script")]
    assert is_harmless(body) and "a title ␛[2J" in body and "deep ␛[2J" in body
    assert call("export", foreign, "--to", "csv", "--out", tmp_path / "csv").code == 0
    for path in (tmp_path / "csv").glob("*.csv"):
        assert is_harmless(path.read_text())


def test_no_figure_holds_it(tmp_path: Path) -> None:
    mark = Mark(1.0, 50.0, label=STEERING)
    panel = Panel(STEERING, "x", "y", (Series(STEERING, "line", 0, (mark, mark)),))
    figure = Figure("f", STEERING, STEERING, (panel,))
    draw.save([figure], tmp_path)
    assert is_harmless((tmp_path / "f.svg").read_text())
    assert is_harmless(json.dumps(text_output.visible_strings(vega.chart(figure, for_page=True)), ensure_ascii=False))


def test_columns_stay_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("a", "b"):
        table.add_column(name)
    table.add_row("\x1b\x1b\x1b", "one")
    table.add_row("x", "two")
    print_table(result_console(), table)
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.index("one") == second.index("two")
