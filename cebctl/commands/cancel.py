"""`cebctl cancel`: stop what waits or runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cebctl.commands.options import MatrixArgument, Only

ASKED_FROM = 11
"""Runs from which on a question is asked."""


def cancel(
    matrix: MatrixArgument,
    only: Only = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Cancel the runs of a matrix that are queued or running, here and on the cluster; more than 10 after a question.

    What runs is asked to write a checkpoint first. `submit` offers all of it again, from there.

    Example: `cebctl cancel experiments/digits.yaml --only 'objective=vib'`
    """
    from cebctl.control import cancel as cancelling
    from cebctl.control.survey import open_home
    from cebctl.render import cancel_view
    from experiments.errors import InputError
    from experiments.matrix import load
    from jobs.home import Home

    chosen = load(matrix).only(only)
    home = Home.from_environment()
    with open_home(home) as store:
        if not yes:
            runs = {target.claim.run_id for target in cancelling.find(chosen, store, home)}
            if len(runs) >= ASKED_FROM:
                if not sys.stdin.isatty():
                    raise InputError("cebctl cancel", f"asks before it cancels {len(runs)} runs, and nobody is there "
                                     "to answer", "pass --yes")  # fmt: skip
                typer.confirm(f"Cancel {len(runs)} runs?", abort=True, err=True)
        cancel_view.show(chosen, cancelling.cancel(chosen, store, home))
