"""`cebctl cancel`: stop queued and running runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cebctl.commands.options import SELECTION, MatrixArgument, Only
from cebctl.interrupts import defer_interrupts, interrupt_message

CONFIRM_FROM = 11
"""The number of runs from which on the command asks for confirmation."""


@interrupt_message("interrupted: nothing was cancelled")
def cancel(
    matrix: MatrixArgument,
    only: Only = None,
    others: Annotated[
        bool, typer.Option("--others", help="What others submitted from this home too.", rich_help_panel=SELECTION)
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Cancel the runs of a matrix that are queued or running, here and on the cluster; more than 10 after a question.

    What runs is asked to write a checkpoint first. `submit` offers all of it again, from there.

    Example: `cebctl cancel experiments/digits.yaml --only 'objective=vib'`

    Example: `cebctl cancel experiments/imagenet.yaml --yes`
    """
    from cebctl.render import cancel_view
    from cebctl.render.console import confirm
    from cebctl.status.collect import open_home
    from cebctl.status.home_matrix import load
    from cebctl.submission import cancel as cancelling
    from experiments.errors import InputError
    from jobs.paths import Home

    chosen = load(matrix).select(only)
    home = Home.from_environment()
    with open_home(home) as store:
        if not yes:
            targets = cancelling.find_targets(chosen, store, home)
            runs = {target.claim.run_id for target in targets if target.is_own or others}
            if len(runs) >= CONFIRM_FROM:
                if not sys.stdin.isatty():
                    raise InputError("cebctl cancel", f"asks before it cancels {len(runs)} runs, and nobody is there "
                                     "to answer", "pass --yes")  # fmt: skip
                confirm(f"Cancel {len(runs)} runs?", abort=True)
        # Claims are released before jobs are stopped: an interrupt in between would leave jobs that no claim names.
        with defer_interrupts("interrupted, but first everything was cancelled"):
            cancel_view.print_cancellation(chosen, cancelling.cancel(chosen, store, home, others=others))
