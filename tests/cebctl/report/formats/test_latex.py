"""The LaTeX of a report, read by a real TeX."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cebctl.report.cells import Cell, Missing, Report, Row, Table
from cebctl.report.formats import latex

UGLY = r"50% of a_b & #1 {x} \ ~ ^ | <script> $y$ [z] ± – † * ρ ∞ ≈ … Ж"
ENGINE = next((name for name in ("pdflatex", "tectonic") if shutil.which(name)), None)


CELL = Cell(0.191, 0.188, 0.194, 50_000, 1, 0.0, "error", 0.193, "19.3%", best=True)


def report_of(name: str) -> Report:
    """Both layouts, with the name in every place a text can come from."""
    cells = {name: CELL, "b": Missing(name)}
    across = [
        Row((), {"architecture": architecture, "objective": "ceb"}, cells, heads=(architecture, name, "3 (paper 4)"))
        for architecture in ("[1]", "A", "A", "B")
    ]
    down = [Row(("r1",), {"objective": "ceb", name: 1.0}, cells)] * 2
    heads, labels = ("Architecture", "Objective", "ρ*"), {name: f"[{name}]"}
    tables = (Table(name, (name, "b"), tuple(across), heads, labels), Table(name, (name, "b"), tuple(down)))
    return Report(name, name, tables, {}, notes=(name,))


@pytest.mark.skipif(ENGINE is None, reason="no pdflatex or tectonic: install texlive-latex-recommended")
def test_it_compiles_whatever_the_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    latex.write(report_of(UGLY))
    written = capsys.readouterr().out
    document = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + written + "\\end{document}\n"
    (tmp_path / "report.tex").write_text(document)
    stop = ["-interaction=nonstopmode", "-halt-on-error"] if ENGINE == "pdflatex" else []
    done = subprocess.run([ENGINE, *stop, "report.tex"], cwd=tmp_path, capture_output=True, text=True, timeout=120)  # type: ignore[list-item]
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "report.pdf").stat().st_size > 5_000


def test_equal_heads_are_one_over_their_columns(capsys: pytest.CaptureFixture[str]) -> None:
    latex.write(report_of("x"))
    assert r"\multicolumn{2}{c}{A}" in capsys.readouterr().out
