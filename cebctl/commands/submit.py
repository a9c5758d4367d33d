"""`cebctl submit`: submit what is missing, and only that."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cebctl.commands.options import MatrixArgument, Only


class Executor(StrEnum):
    """Where jobs run."""

    local = "local"
    slurm = "slurm"


def submit(
    matrix: MatrixArgument,
    only: Only = None,
    on: Annotated[
        Executor | None,
        typer.Option(
            "--on",
            envvar="CEBCTL_ON",
            help="`slurm`: arrays on the cluster; `local`: worker processes on this machine.",
            show_default="slurm where there is an sbatch, else local",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Local worker processes.", show_default="one per core")
    ] = None,
    max_parallel: Annotated[
        int | None,
        typer.Option(
            "--max-parallel",
            min=1,
            help="How many jobs of this submission may run on the cluster at once; each array gets its share.",
            show_default="as many as the cluster allows",
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Stay and show progress until every run has ended.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Submit failed runs again.")] = False,
    unchecked: Annotated[
        bool,
        typer.Option("--unchecked", help="Send it even if the cluster, by what `doctor` sees, would never start it."),
    ] = False,
) -> None:
    """Submit the runs and evaluations that are missing; run twice, it submits nothing the second time.

    On a cluster it returns as soon as the jobs are queued, and evaluations wait there for their training. Attacks made
    on another run (transfer) wait for it too; locally a later submit, or --wait, takes them.

    The work goes on when this command ends or is interrupted. Exit code 1: some runs failed.

    Example: `cebctl submit experiments/digits.yaml --on local --wait`
    Example: `cebctl submit experiments/imagenet.yaml --on slurm --max-parallel 16`
    """
    import shutil

    from cebctl.control import cluster_checks, held, nodes, senders
    from cebctl.control.lookout import lookout
    from cebctl.control.submit import check_data, held_back
    from cebctl.control.submit import submit as submit_to
    from cebctl.control.survey import open_home, survey
    from cebctl.render import progress, status_view
    from experiments.matrix import load
    from jobs import trust
    from jobs.home import Home

    chosen = load(matrix).only(only)
    home = Home.from_environment()
    where = on or (Executor.slurm if shutil.which("sbatch") else Executor.local)
    check_data(chosen, home, retry_failed=retry_failed)
    site = (
        cluster_checks.check(chosen, home, retry_failed=retry_failed, heed=not unchecked)
        if where == Executor.slurm
        else None
    )
    trust.keep_private(home.folder)
    with open_home(home, create=True) as store:
        sender: senders.Sender = senders.Local(workers)
        if site:
            avoided = nodes.suspects(store, [node.name for node in site.nodes])
            status_view.warn([f"no job goes to {node}: {why}" for node, why in avoided.items()])
            if released := held.release(chosen, store, home):
                status_view.warn([f"released {', '.join(released)}: Slurm held them after a launch that failed"])
            sender = senders.Slurm(site.max_array_size, max_parallel, tuple(avoided))
        submission = submit_to(chosen, store, home, sender, retry_failed=retry_failed)
        if submission is None:
            status_view.announce_nothing(chosen, survey(chosen, store, home))
        else:
            status_view.announce(submission, chosen, home)
            if submission.error:
                raise submission.error
        if wait:
            behind = held_back(survey(chosen, store, home))
            look = lookout(chosen, store, home)
            runs = progress.watch(chosen, look).runs
            if behind and (following := submit_to(chosen, store, home, sender, held=behind)):
                status_view.announce(following, chosen, home)
                runs = progress.watch(chosen, look).runs
            if any(run.state != "done" for run in runs):
                status_view.failures(runs, home)
                raise typer.Exit(1)
