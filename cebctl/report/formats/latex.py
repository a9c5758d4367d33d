r"""A report in LaTeX: booktabs tables, each in parts that fit a page's width in \scriptsize.

Needs \usepackage{booktabs} and, as every LaTeX of today, UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from cebctl.report import number_format
from cebctl.report.cells import Report
from cebctl.report.claims.view import claims_grids, sentences
from cebctl.report.formats import text_grid
from cebctl.report.formats.text_grid import GridCell, GridColumn
from cebctl.text_output import write as write_line

WIDTH = 100
r"""Characters of \scriptsize that fit the text of an A4 page, nearly."""


def write(report: Report) -> None:
    """Print every table, then the footnotes and the missing numbers as comments."""
    write_line(f"% cebctl report {_comment(report.matrix)}   needs \\usepackage{{booktabs}}")
    grids = [text_grid.build_grid(report, table) for table in text_grid.printed_tables(report)]
    for grid in (*grids, *claims_grids(report.claims)):
        write_line(f"% {_comment(grid.title)}")
        for part in grid.parts(WIDTH):
            write_line("\n".join(_tabular([*grid.stub, *part], len(grid.stub))))
    for note in (
        *sentences(report.claims),
        *report.notes,
        text_grid.omission_note(report),
        *number_format.missing_lines(report),
    ):
        if note:
            write_line(f"% {_comment(note)}")


def _tabular(strips: Sequence[GridColumn], stub: int) -> Iterator[str]:
    columns = "".join("l" if index < stub else "r" for index in range(len(strips)))
    yield r"{\scriptsize\setlength{\tabcolsep}{3pt}"
    yield rf"\begin{{tabular}}{{{columns}}}"
    yield r"\toprule"
    for heads in zip(*(strip.heads for strip in strips), strict=True):
        if any(heads):
            yield _heads(heads, stub) + r" \\"
    yield r"\midrule"
    for cells in zip(*(strip.cells for strip in strips), strict=True):
        yield " & ".join(map(_cell, cells)) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}}\par\medskip"


def _heads(heads: Sequence[str], stub: int) -> str:
    """Return the line of heads, equal neighbours joined over their columns."""
    cells = [escape(head) for head in heads[:stub]]
    for head, neighbours in groupby(heads[stub:]):
        count = len(list(neighbours))
        text = escape(head)
        cells += [rf"\multicolumn{{{count}}}{{c}}{{{text}}}"] if count > 1 and head else [text] * count
    return " & ".join(cells)


def _cell(cell: GridCell) -> str:
    return rf"\textbf{{{escape(cell.text)}}}" if cell.bold else escape(cell.text)


def _comment(text: str) -> str:
    return text.replace("\n", " ")


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"$|$", "<": r"$<$", ">": r"$>$", "[": "{[}",
    "]": "{]}", "±": r"$\pm$", "–": "--", "†": r"$^\dagger$", "‡": r"$^\ddagger$", "§": r"$^\S$", "*": r"$^*$",
    "ρ": r"$\rho$", "∞": r"$\infty$", "≈": r"$\approx$", "…": r"\dots{}", "⇒": r"$\Rightarrow$", "\n": " ",
}  # fmt: skip


def escape(text: str) -> str:
    """Return the text as TeX prints it; a sign that no Latin font has becomes a question mark."""
    plain = re.sub(r"[^\x20-\x7e\xa0-\xff±–†‡ρ∞≈…⇒\n]", "?", text)
    return re.sub("|".join(re.escape(key) for key in _TEX), lambda match: _TEX[match[0]], plain)
