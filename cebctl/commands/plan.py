"""`cebctl plan`: what would happen; submits nothing, creates nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from cebctl.commands.options import AsJson, MatrixArgument, Only


def plan(
    matrix: MatrixArgument,
    only: Only = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Count failed runs as missing.")] = False,
    json: AsJson = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 4 if something would be submitted.")
    ] = False,
) -> None:
    """Show what `submit` would do: runs by group, their states, what is missing. Submits and creates nothing.

    Example: `cebctl plan experiments/digits.yaml --only 'objective=ceb, rho<=3'`
    """
    from cebctl.control.planning import make_plan
    from cebctl.render import console, plan_view
    from experiments.matrix import load
    from jobs.home import Home

    chosen = load(matrix).only(only)
    home = Home.from_environment()
    planned = make_plan(chosen, home, retry_failed=retry_failed)
    if json:
        console.print_json(planned.to_json())
    else:
        plan_view.show(planned)
    if detailed_exitcode and planned.claims:
        raise typer.Exit(4)
