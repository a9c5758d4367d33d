"""`cebctl show`: print everything that is known about one run."""

from __future__ import annotations

from cebctl.commands.options import AsJson, RunArgument
from cebctl.interrupts import interrupt_message


@interrupt_message("interrupted; the run is as it was")
def show(run: RunArgument, json: AsJson = False) -> None:
    """Show a run: its spec, attempts, results and where its files are.

    Example: `cebctl show r758dcf`

    Example: `cebctl show 'ceb rho=3' --json`
    """
    from cebctl.render import console, run_view
    from cebctl.status.collect import open_home
    from cebctl.status.find_run import resolve_run
    from jobs.paths import Home

    home = Home.from_environment()
    with open_home(home) as store:
        stored = resolve_run(run, store, home)
    if json:
        console.print_json(stored.to_json())
    else:
        run_view.print_run(stored)
