"""`cebctl submit`: submit what is missing, and only that."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cebctl.commands.options import MatrixArgument, Only


class Executor(StrEnum):
    """Where jobs run."""

    local = "local"


def submit(
    matrix: MatrixArgument,
    only: Only = None,
    on: Annotated[Executor, typer.Option("--on", help="Where: `local` is worker processes on this machine.")] = (
        Executor.local
    ),
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Local worker processes.", show_default="one per core")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Stay and show progress until every run has ended.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Submit failed runs again.")] = False,
) -> None:
    """Submit the runs and evaluations that are missing; run twice, it submits nothing the second time.

    Attacks made on another run (transfer) are submitted once that run is trained: by --wait, else by a later submit.

    The work goes on when this command ends or is interrupted. Exit code 1: some runs failed.

    Example: `cebctl submit experiments/digits.yaml --on local --wait`
    """
    from cebctl.control.submit import check_data, held_back, submit_local
    from cebctl.control.survey import open_home, survey
    from cebctl.render import progress, status_view
    from experiments.matrix import load
    from jobs.home import Home

    chosen = load(matrix).only(only)
    home = Home.from_environment()
    check_data(chosen, home, retry_failed=retry_failed)
    with open_home(home, create=True) as store:
        submission = submit_local(chosen, store, home, retry_failed=retry_failed, workers=workers)
        if submission is None:
            status_view.announce_nothing(chosen, survey(chosen, store, home))
        else:
            status_view.announce(submission, chosen, home)
        if wait:
            held = held_back(survey(chosen, store, home))
            runs = progress.watch(chosen, lambda: survey(chosen, store, home))
            if held and (following := submit_local(chosen, store, home, workers=workers, held=held)):
                status_view.announce(following, chosen, home)
                runs = progress.watch(chosen, lambda: survey(chosen, store, home))
            if any(run.state != "done" for run in runs):
                status_view.failures(runs, home)
                raise typer.Exit(1)
