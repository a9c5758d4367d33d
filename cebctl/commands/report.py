"""`cebctl report`: print the table of results beside the published numbers."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cebctl.commands.completion import run_names
from cebctl.commands.options import OUTPUT, AsJson, MatrixArgument, Only, output_path
from cebctl.interrupts import interrupt_message

if TYPE_CHECKING:
    from cebctl.report.collect import CollectedReport
    from cebctl.status.run_details import RunDetails
    from experiments.matrix.planned_run import Matrix
    from jobs.paths import Home
    from store.connect import Store


FILES = "Files instead; with --format or --json as well"


class Format(StrEnum):
    """The formats of a report."""

    table = "table"
    md = "md"
    csv = "csv"
    json = "json"
    latex = "latex"


How = Annotated[
    Format | None,
    typer.Option("--format", help="How to write it.", show_default="table", rich_help_panel=OUTPUT),
]
Figures = Annotated[
    Path | None,
    typer.Option(
        "--figures",
        metavar="DIR",
        file_okay=False,
        callback=output_path,
        help="Write every figure here: PNG, SVG, PDF.",
        rich_help_panel=FILES,
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        dir_okay=False,
        callback=output_path,
        help="Write one page of everything, for a browser.",
        rich_help_panel=FILES,
    ),
]
Compare = Annotated[
    tuple[str, str] | None,
    typer.Option(
        "--compare",
        metavar="A B",
        help="Two runs, or the seeds of two (name, id or selection), on the same images instead.",
        autocompletion=run_names,
        rich_help_panel=OUTPUT,
    ),
]
Detect = Annotated[
    float | None,
    typer.Option(
        "--detect",
        metavar="POINTS",
        help="With --compare: how many seeds a difference of so many points would need.",
        rich_help_panel=OUTPUT,
    ),
]
Claims = Annotated[
    bool,
    typer.Option("--claims", help="Only the verdicts on the claims that the matrix states.", rich_help_panel=OUTPUT),
]


@interrupt_message("interrupted: what was being written is not there")
def report(
    matrix: MatrixArgument,
    only: Only = None,
    format: How = None,
    figures: Figures = None,
    html: Html = None,
    compare: Compare = None,
    detect: Detect = None,
    claims: Claims = False,
    json: AsJson = False,
) -> None:
    """Print the results of a matrix: mean over seeds, intervals, the published numbers, and what is missing and why.

    Example: `cebctl report experiments/digits.yaml --format md`

    Example: `cebctl report experiments/digits.yaml --html report.html --figures figures`

    Example: `cebctl report experiments/digits.yaml --compare 'objective=xent' 'objective=ceb, rho=0'`

    Example: `cebctl report experiments/digits.yaml --compare xent 'ceb rho=0' --detect 1.0`

    Example: `cebctl report experiments/claims/digits_robustness.yaml --claims`
    """
    from cebctl.report.collect import collect_report
    from cebctl.report.figures.runs import PANEL_METRICS
    from cebctl.report.formats import write
    from cebctl.status.collect import open_home
    from cebctl.status.home_matrix import load
    from cebctl.status.run_details import collect_run_details
    from experiments.errors import InputError
    from experiments.user_paths import check_folder
    from jobs.paths import Home

    if json and format not in (None, Format.json):
        raise InputError("--json", f"can't go with --format {format}", "leave one of them out")
    if json:
        format = Format.json
    if figures is not None:
        check_folder(figures, "--figures")
    if compare is not None:
        _check_compare_options(format, figures, html)
    if detect is not None:
        _check_detect(detect, compare)
    chosen = load(matrix).select(only)
    if claims:
        _check_claims(chosen, only, compare)
    home = Home.from_environment()
    with open_home(home) as store:
        if compare is not None:
            _compare(chosen, store, home, compare, detect, format == Format.json)
            return
        collected = collect_report(chosen, store, home)
        # Only figures and the page show single runs; reading their curves takes long.
        run_details = collect_run_details(collected.runs, store, home, PANEL_METRICS) if figures or html else []
    if figures or html:
        _write_files(chosen, collected, run_details, figures, html)
    if format or not (figures or html):
        writer = write.write_claims if claims else write.write_report
        writer(collected.report, (format or Format.table).value)


def _check_compare_options(format: Format | None, figures: Path | None, html: Path | None) -> None:
    """Raise InputError for options of the whole report beside --compare, which is printed instead of it."""
    from experiments.errors import InputError

    is_report_format = format not in (None, Format.table, Format.json)
    options = {f"--format {format}": is_report_format, "--figures": figures, "--html": html}
    if refused := [option for option, value in options.items() if value]:
        allowed = "allowed: --only, --json, --format table, --format json"
        raise InputError("--compare", f"can't go with {', '.join(refused)}", allowed)


def _check_claims(matrix: Matrix, only: str | None, compare: tuple[str, str] | None) -> None:
    """Raise InputError for --claims where there are none, or beside an option that leaves runs out."""
    from experiments.errors import InputError

    if compare is not None or only is not None:
        other = "--compare" if compare is not None else "--only"
        raise InputError("--claims", f"can't go with {other}", "claims are judged on all runs of a matrix")
    if not matrix.claims:
        raise InputError(matrix.path, "the matrix has no claims", "experiments/CLAIMS.md shows how to state them")


def _check_detect(points: float, compare: tuple[str, str] | None) -> None:
    """Raise InputError for --detect without --compare, or with no possible difference in accuracy."""
    from experiments.errors import InputError

    if compare is None:
        raise InputError("--detect", "needs the variances of a comparison", "name two runs or families: --compare A B")
    if not 0 < points <= 100:
        raise InputError(f"--detect {points:g}", "expected points of accuracy", "above 0, at most 100")


def _write_files(
    matrix: Matrix,
    collected: CollectedReport,
    run_details: list[RunDetails],
    figures: Path | None,
    html: Path | None,
) -> None:
    from cebctl.render.console import pluralize, progress_console
    from cebctl.report.figures import build, draw
    from experiments.atomic_files import replacing
    from experiments.errors import InputError

    curves = {details.status.planned.run_id: details.curves for details in run_details}
    table, rows = collected.report, collected.rows
    drawn = build.build_figures(matrix, table, rows, curves)
    try:
        if figures is not None:
            files = draw.save(drawn, figures)
            progress_console().print(
                f"{figures}: {pluralize(len(files), 'file')} of {pluralize(len(drawn), 'figure')}", markup=False
            )
        if html is not None:
            from cebctl.report.page import build as page

            html.parent.mkdir(parents=True, exist_ok=True)
            with replacing(html) as temporary:
                temporary.write_text(page.render_page(table, drawn, run_details, rows, collected.versions), "utf-8")
            progress_console().print(f"a page of it all, for a browser: {html}", markup=False)
    except OSError as error:
        raise InputError(error.filename or html or figures or "", error.strerror or str(error)) from None


def _compare(
    matrix: Matrix, store: Store, home: Home, names: tuple[str, str], detect: float | None, json: bool
) -> None:
    from cebctl.render.console import print_json
    from cebctl.report.comparison import view
    from cebctl.report.comparison.paired_runs import (
        compare_groups,
        group_name,
        resolve_group,
        skipped_benchmarks,
    )
    from cebctl.report.notes.footnotes import off_target_note
    from cebctl.report.notes.versions import version_notes
    from cebctl.status.collect import collect_statuses
    from cebctl.status.off_target import last_rho
    from cebctl.status.staleness import Versions, training_dependencies
    from jobs import provenance
    from store import queries

    a, b = (resolve_group(matrix, text) for text in names)
    specs = {run.run_id: run.run for run in (*a, *b)}
    statuses = [run for run in collect_statuses(matrix, store, home) if run.planned.run_id in specs]
    comparisons = compare_groups(matrix, store, a, b)
    # Only counts are compared: the marks of means are the whole report's.
    measured = [row for row in queries.results(store, specs) if row.correct is not None]
    versions = Versions(
        specs, queries.attempts(store, training_dependencies(specs, matrix.benchmarks)), provenance.engine_digest()
    )
    notes = [
        off_target_note((*a, *b), last_rho(statuses, store)),
        *version_notes(matrix, measured, versions),
        *skipped_benchmarks(matrix, store, a, b),
    ]
    notes = [note for note in notes if note]
    if json:
        print_json(view.comparison_json(group_name(a[0]), group_name(b[0]), comparisons, detect, notes))
    else:
        view.print_comparison(group_name(a[0]), group_name(b[0]), comparisons, detect, notes)
