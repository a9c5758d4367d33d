"""`cebctl rehearse`: make a whole matrix at a small size, and list what a full run would meet."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from cebctl.commands.options import EXECUTION, AsJson, MatrixArgument, Only
from cebctl.commands.submit import On, Unchecked, Workers
from cebctl.interrupts import interrupt_message

Images = Annotated[
    int,
    typer.Option(
        "--images", min=1, help="Test images of each benchmark, of each set of a corruption.", rich_help_panel=EXECUTION
    ),
]


@interrupt_message("interrupted: nothing was submitted")
def rehearse(
    matrix: MatrixArgument,
    only: Only = None,
    on: On = None,
    images: Images = 4,
    workers: Workers = None,
    unchecked: Unchecked = False,
    json: AsJson = False,
) -> None:
    """Make the whole matrix at a small size, on your data and your cluster, before a full run spends days on it.

    It trains a few runs for a few steps, so that every network, objective, augmentation, optimiser and request to the
    cluster of the matrix has its turn, and takes a few images of each benchmark. Then come the report, the figures and
    the page, all of them marked REHEARSAL. All of it lies in a folder of its own, `rehearsals` in CEBCTL_HOME, and no
    other command counts it. On Slurm a training on GPUs keeps its batch, so that its memory is that of the full run.

    It ends in a list: what ran and what failed, why and in which log; time and memory beside the estimates of `plan`;
    test sets that are missing; cells and figures that stay empty. Exit code 1: some of it failed, or asks for too
    little memory. Ctrl-C cancels it.

    Example: `cebctl rehearse experiments/digits.yaml --on local`

    Example: `cebctl rehearse experiments/imagenet.yaml --on slurm --images 8`
    """
    from cebctl.rehearsal import rehearse as rehearsing
    from cebctl.rehearsal import view
    from cebctl.render import progress, status_view
    from cebctl.status.home_matrix import load
    from cebctl.study.submitting import Request
    from jobs.paths import Home

    chosen = load(matrix).select(only)
    home = Home.from_environment()
    request = Request(on.value if on else None, workers=workers, heed=not unchecked)
    rehearsal = rehearsing.prepare(chosen, home, request, images)
    view.print_prepared(rehearsal)
    outcome = rehearsing.run(
        rehearsal,
        home,
        request,
        warn=status_view.print_warnings,
        introduce=status_view.print_introduction,
        announce=partial(status_view.print_submission, matrix=rehearsal.matrix, home=rehearsal.home),
        watch=partial(progress.watch, rehearsal.matrix),
    )
    if json:
        view.print_document(outcome)
    else:
        view.print_outcome(outcome)
    if outcome.failed or any(cost.faults for cost in outcome.costs):
        raise typer.Exit(1)
