"""`cebctl doctor`: is everything in order, and what is to be done?"""

from __future__ import annotations

from typing import Annotated

import typer

from cebctl.commands.options import AsJson


def doctor(
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="First set the store aside and rebuild it from the journals.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Examine the home, the store, work whose workers died, data sets, packages and GPUs. Exit code 1: something is
    wrong.

    Every row of the store is compared with its journal: seconds for each million of metrics.

    Example: `cebctl doctor --rebuild`
    """
    from cebctl.control import doctor as examining
    from cebctl.control import findings
    from cebctl.render import console, doctor_view
    from jobs.home import Home

    home = Home.from_environment()
    if rebuild:
        doctor_view.rebuilt(examining.rebuild(home))
    found = examining.examine(home)
    if json:
        console.print_json(findings.to_json(found))
    else:
        doctor_view.show(found)
    if any(finding.level == "wrong" for finding in found):
        raise typer.Exit(1)
