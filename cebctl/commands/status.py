"""`cebctl status`: show the state of every run of a matrix, or of all submitted matrices."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cebctl.commands.completion import matrices
from cebctl.commands.options import OUTPUT, AsJson, Only
from cebctl.interrupts import interrupt_message


@interrupt_message("interrupted; the runs are as they were")
def status(
    matrix: Annotated[
        Path | None,
        typer.Argument(
            metavar="MATRIX", help="A matrix; without one, a line for each one submitted.", autocompletion=matrices
        ),
    ] = None,
    only: Only = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Stay and show progress until every run has ended.", rich_help_panel=OUTPUT),
    ] = False,
    json: AsJson = False,
) -> None:
    """Show the state of every run: new, queued, running, done, failed or lost. Exit code 1: some runs failed.

    Runs under way that were submitted from an earlier text of a matrix, or from one that is gone, are listed too.

    Example: `cebctl status`

    Example: `cebctl status experiments/digits.yaml --only 'objective=ceb' --watch`
    """
    from cebctl.commands.hook_question import ask_about_hook
    from cebctl.render import console, progress, status_view
    from cebctl.status.collect import open_home, submitted_matrices
    from cebctl.status.earlier_texts import earlier_runs
    from cebctl.status.home_matrix import load
    from cebctl.status.off_target import last_rho
    from cebctl.status.polling import poll
    from jobs.paths import Home
    from store import queries

    home = Home.from_environment()
    if matrix is not None:
        whole = load(matrix)
        chosen = whole.select(only)
        ask_about_hook(home)
        with open_home(home) as store:
            poll_matrix = partial(poll, chosen, store, home)
            snapshot = progress.watch(chosen, poll_matrix) if watch else poll_matrix()
            damaged = queries.damaged_journals(store)
            off_target = last_rho(snapshot.runs, store)
            earlier = earlier_runs({str(whole.path.absolute()): whole}, store, home)
        runs = snapshot.runs
        # stdout holds the result only; failures and warnings follow on stderr in every format.
        if json:
            console.print_json(status_view.status_json(chosen, runs, earlier))
        elif not watch:
            status_view.print_status(chosen, runs)
        if not json:
            status_view.print_earlier(earlier)
        status_view.print_failures(runs, home)
        status_view.print_warnings(snapshot.warnings)
        status_view.print_off_target(runs, off_target)
        status_view.print_damaged(damaged)
        if any(run.state == "failed" for run in runs):
            raise typer.Exit(1)
        return
    with open_home(home) as store:
        rows = submitted_matrices(store, home)
        earlier = earlier_runs({row.path: row.loaded for row in rows}, store, home)
    status_view.print_matrices(rows, earlier, as_json=json)
