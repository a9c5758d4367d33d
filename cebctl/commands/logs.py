"""`cebctl logs`: the journals and the printed lines of a run's jobs."""

from __future__ import annotations

from typing import Annotated

import typer

from cebctl.commands.options import RunArgument
from cebctl.interrupts import interrupt_message


@interrupt_message("stopped reading; the run goes on as it did")
def logs(
    run: RunArgument,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Stay and print what comes, across attempts, until the run has ended."),
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, help="Lines of each attempt's journal and output at first.")
    ] = 20,
) -> None:
    """Print what a run's attempts journalled and what they wrote to stdout and stderr, oldest attempt first, and
    where the run stands.

    Example: `cebctl logs r758dcf --follow`

    Example: `cebctl logs 'ceb rho=3' --lines 100`
    """
    from cebctl.render import log_view
    from cebctl.status.collect import open_home
    from cebctl.status.find_run import resolve_run
    from cebctl.status.log_sources import find_log_sources
    from jobs.paths import Home

    home = Home.from_environment()
    with open_home(home) as store:
        stored = resolve_run(run, store, home)
        run_id = stored.run.run_id
        log_view.print_logs(stored.paths, lambda: find_log_sources(run_id, store, home), lines=lines, follow=follow)
