"""`cebctl submit`: submit the runs and evaluations that are missing."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from cebctl.commands.options import EXECUTION, SELECTION, Again, MatrixArgument, Only, RetryFailed
from cebctl.interrupts import interrupt_message

if TYPE_CHECKING:
    from cebctl.study.submitting import Outcome
    from experiments.matrix.planned_run import Matrix
    from jobs.paths import Home


class LeftOut(StrEnum):
    """What `--without` leaves out."""

    missing = "missing"


class ExecutorName(StrEnum):
    """The executors, as the user names them."""

    local = "local"
    slurm = "slurm"


Without = Annotated[
    LeftOut | None,
    typer.Option(
        "--without",
        help="`missing`: leave out the benchmarks whose images are not here; they stay new.",
        rich_help_panel=SELECTION,
    ),
]
MaxGpuHours = Annotated[
    float | None,
    typer.Option(
        "--max-gpu-hours",
        min=0,
        help="Submit nothing if it would take more, by the estimate of `plan`; jobs without a GPU cost none.",
        show_default="no limit",
        rich_help_panel=EXECUTION,
    ),
]
On = Annotated[
    ExecutorName | None,
    typer.Option(
        "--on",
        envvar="CEBCTL_ON",
        help="`slurm`: arrays on the cluster; `local`: worker processes on this machine.",
        show_default="slurm where there is an sbatch, else local",
        rich_help_panel=EXECUTION,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Local worker processes.", show_default="one per core", rich_help_panel=EXECUTION
    ),
]
MaxParallel = Annotated[
    int | None,
    typer.Option(
        "--max-parallel",
        min=1,
        help="At most so many jobs of this submission run at once, over all of its arrays. On a cluster arrays share "
        "the places or wait for each other, evaluations for the training of their group.",
        show_default="as many as the cluster allows",
        rich_help_panel=EXECUTION,
    ),
]
Unchecked = Annotated[
    bool,
    typer.Option(
        "--unchecked",
        help="Send it even if the cluster, by what `doctor` sees, would never start it.",
        rich_help_panel=EXECUTION,
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Stay and show progress until every run has ended.")]


@interrupt_message("interrupted: nothing was submitted")
def submit(
    matrix: MatrixArgument,
    only: Only = None,
    again: Again = None,
    retry_failed: RetryFailed = False,
    without: Without = None,
    max_gpu_hours: MaxGpuHours = None,
    on: On = None,
    workers: Workers = None,
    max_parallel: MaxParallel = None,
    unchecked: Unchecked = False,
    wait: Wait = False,
) -> None:
    """Submit the runs and evaluations that are missing; run twice, it submits nothing the second time.

    With --again it submits, instead, what is done: benchmarks are measured anew beside the old results, which count
    until the new ones are there; `train` trains the runs anew from nothing and measures them. Run twice, it submits
    nothing while that is under way; once it has ended, it does it a third time. Nothing is deleted.

    A benchmark whose images are not here is refused before anything is trained, unless --without missing leaves it out:
    it stays new, and is submitted once they are.

    On a cluster it returns as soon as the jobs are queued, and evaluations wait there for their training. Attacks made
    on another run (transfer) and runs that extend it wait for it too; locally a later submit, or --wait, takes them.

    The work goes on when this command ends or is interrupted. With --wait it stays until everything that it was asked
    for has ended, whoever submitted it; then exit code 1 says that some of it failed, was lost or was cancelled.

    Example: `cebctl submit experiments/digits.yaml --on local --wait`

    Example: `cebctl submit experiments/imagenet.yaml --on slurm --max-parallel 16 --max-gpu-hours 500`

    Example: `cebctl submit experiments/digits.yaml --again 'pgd, norm = linf' --only 'rho <= 3'`
    """
    from cebctl.commands.hook_question import ask_about_hook
    from cebctl.render import progress, status_view
    from cebctl.status.home_matrix import load
    from cebctl.status.polling import poll
    from cebctl.status.rerun import parse_selections
    from cebctl.study import submitting
    from cebctl.submission.needed_data import without_missing
    from cebctl.submission.submit import UNDER_WAY
    from jobs.paths import Home, data_folder

    chosen = load(matrix).select(only)
    home = Home.from_environment()
    warn = status_view.print_warnings
    if without:
        chosen, messages = without_missing(chosen, data_folder())
        warn(messages)
    rerun = parse_selections(again or (), chosen)
    request = submitting.Request(
        on.value if on else None, retry_failed, rerun, max_gpu_hours, workers, max_parallel, heed=not unchecked
    )
    ask_about_hook(home)
    with (
        submitting.submit_missing(chosen, home, request, warn, status_view.print_introduction) as outcome,
        interrupt_message(UNDER_WAY.format(chosen.path)),
    ):
        if rerun:
            warn(submitting.describe_runs_left(outcome, chosen))
        _announce(outcome, chosen, home)
        if wait:
            watch = partial(progress.watch, chosen, partial(poll, chosen, outcome.store, home))
            announce = partial(status_view.print_submission, matrix=chosen, home=home)
            runs = submitting.follow(chosen, home, outcome, watch, announce)
            if any(run.state != "done" for run in runs):
                status_view.print_failures(runs, home)
                warn([f"not run: {run.planned.name}, {run.current.stage}" for run in runs if run.state == "new"])
                raise typer.Exit(1)


def _announce(outcome: Outcome, matrix: Matrix, home: Home) -> None:
    """Print what was submitted, and which settings in it have no effect. Raises the first error in sending, if only a
    part was accepted."""
    from cebctl.render import status_view
    from cebctl.study import submitting

    if outcome.submission is None:
        status_view.print_nothing_submitted(matrix, outcome.status.current)
        status_view.print_warnings(submitting.describe_unclaimed(outcome, matrix))
        return
    status_view.print_submission(outcome.submission, matrix, home)
    status_view.print_warnings(submitting.describe_ineffective_settings(outcome.submission, matrix))
    status_view.print_warnings(submitting.describe_unclaimed(outcome, matrix))
    if outcome.submission.error:
        raise outcome.submission.error
