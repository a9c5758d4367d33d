"""`cebctl report`: the table, beside the published numbers."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cebctl.commands.options import AsJson, MatrixArgument, Only

if TYPE_CHECKING:
    from experiments.matrix import Matrix
    from jobs.home import Home
    from store.opening import Store


class Format(StrEnum):
    """How a report is written."""

    table = "table"
    md = "md"
    csv = "csv"
    json = "json"
    latex = "latex"


def report(
    matrix: MatrixArgument,
    only: Only = None,
    format: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.table,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option("--compare", metavar="A B", help="Two runs (name, id or selection) on the same images instead."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Print the results of a matrix: mean over seeds, intervals, the published numbers, and what is missing and why.

    Example: `cebctl report experiments/digits.yaml --format md`
    """
    from cebctl.control.survey import open_home, survey
    from cebctl.report import formats
    from cebctl.report.table import build
    from experiments.matrix import load
    from jobs import provenance
    from jobs.home import Home
    from store import queries

    chosen = load(matrix).only(only)
    home = Home.from_environment()
    with open_home(home) as store:
        if compare is not None:
            _compare(chosen, store, home, compare, json)
            return
        runs = survey(chosen, store, home)
        rows = queries.results(store, [run.run_id for run in chosen.runs])
    built = build(chosen, {run.planned.run_id: run for run in runs}, rows, provenance.engine_digest())
    formats.write(built, "json" if json else format.value)


def _compare(matrix: Matrix, store: Store, home: Home, names: tuple[str, str], json: bool) -> None:
    from cebctl.control.pairing import comparisons, one_run
    from cebctl.render import compare_view
    from cebctl.render.console import print_json

    a, b = (one_run(matrix, name) for name in names)
    found = comparisons(matrix, store, home, a, b)
    if json:
        print_json(compare_view.to_json(a.name, b.name, found))
    else:
        compare_view.show(a.name, b.name, found)
