"""`cebctl submit`: submit the runs and evaluations that are missing."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from cebctl.commands.options import EXECUTION, Again, MatrixArgument, Only, RetryFailed
from cebctl.interrupts import interrupt_message

if TYPE_CHECKING:
    from cebctl.status.matrix_status import MatrixStatus
    from cebctl.status.rerun import Rerun
    from cebctl.submission.executors import Executor
    from cebctl.submission.submit import Submission
    from experiments.matrix.planned_run import Matrix
    from jobs.paths import Home
    from jobs.slurm.cluster_info import ClusterInfo
    from store.connect import Store


class ExecutorName(StrEnum):
    """The executors, as the user names them."""

    local = "local"
    slurm = "slurm"


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

    On a cluster it returns as soon as the jobs are queued, and evaluations wait there for their training. Attacks made
    on another run (transfer) and runs that extend it wait for it too; locally a later submit, or --wait, takes them.

    The work goes on when this command ends or is interrupted. Exit code 1: some runs failed.

    Example: `cebctl submit experiments/digits.yaml --on local --wait`

    Example: `cebctl submit experiments/imagenet.yaml --on slurm --max-parallel 16 --max-gpu-hours 500`

    Example: `cebctl submit experiments/digits.yaml --again 'pgd, norm = linf' --only 'rho <= 3'`
    """
    from contextlib import ExitStack

    from cebctl.status.collect import open_home
    from cebctl.status.matrix_status import collect_matrix_status
    from cebctl.status.rerun import parse_selections
    from cebctl.submission.submit import UNDER_WAY, blocked_runs
    from cebctl.submission.submit import submit as submit_to
    from experiments.matrix.load import load
    from jobs import file_ownership
    from jobs.paths import Home
    from store.read_only import read_only

    chosen = load(matrix).select(only)
    rerun = parse_selections(again or (), chosen)
    home = Home.from_environment()
    # A submission that is refused creates no home. Where there is one, a single store serves from here to the end.
    has_home = home.folder.exists()
    with ExitStack() as stores:
        if has_home:
            file_ownership.restrict_umask(home.folder)
        store = stores.enter_context(open_home(home, create=True) if has_home else read_only(home))
        before = collect_matrix_status(chosen, store, home, fresh=has_home, again=rerun)
        site = _check(
            chosen, before, store, home, on, max_gpu_hours, retry_failed=retry_failed, heed=not unchecked, again=rerun
        )
        if not has_home:
            stores.close()
            file_ownership.restrict_umask(home.folder)
            store = stores.enter_context(open_home(home, create=True))
        if site:
            _release_held(before)
        executor = _executor(store, site, workers, max_parallel)
        submission, status = submit_to(chosen, store, home, executor, retry_failed=retry_failed, again=rerun)
        with interrupt_message(UNDER_WAY.format(chosen.path)):
            if rerun and submission:
                _warn_of_runs_left(submission, chosen, status, store)
            _announce(submission, chosen, status, home)
            if wait:
                _stay(chosen, store, home, executor, blocked_runs(status.runs, submission))


def _check(
    matrix: Matrix,
    status: MatrixStatus,
    store: Store,
    home: Home,
    on: ExecutorName | None,
    max_gpu_hours: float | None,
    *,
    retry_failed: bool,
    heed: bool,
    again: Rerun | None,
) -> ClusterInfo | None:
    """Raise the first reason not to submit; return the cluster that it goes to, None if it stays on this machine."""
    import shutil

    from cebctl.diagnostics import slurm_checks
    from cebctl.planning import flop_counts, gpu_hour_limit
    from cebctl.planning.plan import plan_from_status
    from cebctl.submission import prerequisites

    flop_counts.count_own_networks(matrix)
    if max_gpu_hours is not None:
        plan = plan_from_status(matrix, status, store, home, retry_failed=retry_failed, again=again)
        gpu_hour_limit.check_gpu_hours(plan, max_gpu_hours)
    prerequisites.check_prerequisites(matrix, status.runs, store, home, retry_failed=retry_failed, again=again)
    if (on or (ExecutorName.slurm if shutil.which("sbatch") else ExecutorName.local)) == ExecutorName.local:
        return None
    return slurm_checks.check_cluster(matrix, status.runs, retry_failed=retry_failed, heed=heed, again=again)


def _executor(store: Store, site: ClusterInfo | None, workers: int | None, max_parallel: int | None) -> Executor:
    from cebctl.render import status_view
    from cebctl.submission import executors, node_exclusion

    if site is None:
        return executors.Local(workers, max_parallel)
    excluded = node_exclusion.nodes_to_exclude(store, [node.name for node in site.nodes])
    status_view.print_warnings([f"no job goes to {node}: {reason}" for node, reason in excluded.items()])
    return executors.Slurm(site.max_array_size, max_parallel, tuple(excluded))


def _release_held(status: MatrixStatus) -> None:
    from itertools import chain

    from cebctl.render import status_view
    from cebctl.submission import release_held

    for job, error in release_held.release_launch_failed_jobs(chain(*status.observations.claims.values())).items():
        launch = f"{job}, which Slurm holds after a launch that failed"
        status_view.print_warnings([f"could not release {launch}: {error}" if error else f"released {launch}"])


def _warn_of_runs_left(submission: Submission, matrix: Matrix, status: MatrixStatus, store: Store) -> None:
    """Say which runs are left to the jobs under way, and which results stay as older trainings made them."""
    from cebctl.render import status_view
    from cebctl.status.rerun import describe_outdated_dependents, is_under_way
    from cebctl.status.run_names import join_truncated

    claims = [*submission.claims, *(claim for claim, _ in submission.returned)]
    claimed = {claim.run_id for claim in claims}
    busy = [run.planned.name for run in status.runs if is_under_way(run) and run.planned.run_id not in claimed]
    status_view.print_warnings([f"left to what is under way: {join_truncated(busy)}"] if busy else [])
    retrained = {claim.run_id for claim in claims if claim.stage == "train" and claim.generation > 1}
    status_view.print_warnings(describe_outdated_dependents(matrix, retrained, store))


def _announce(submission: Submission | None, matrix: Matrix, status: MatrixStatus, home: Home) -> None:
    """Print what was submitted, and which settings in it have no effect. Raises the first error in sending, if only a
    part was accepted."""
    from cebctl.render import plan_view, status_view
    from experiments import jump_start_checks

    if submission is None:
        status_view.print_nothing_submitted(matrix, status.current)
        return
    status_view.print_submission(submission, matrix, home)
    trained = {claim.run_id for claim in submission.claims if claim.stage == "train"}
    warnings = jump_start_checks.runs_by_ineffective_setting(matrix.runs)
    status_view.print_warnings(
        plan_view.describe_ineffective_settings(
            {
                text: affected
                for text, runs in warnings.items()
                if (affected := [run for run in runs if run.run_id in trained])
            }
        )
    )
    if submission.error:
        raise submission.error


def _stay(matrix: Matrix, store: Store, home: Home, executor: Executor, blocked: set[tuple[str, str]]) -> None:
    """Show progress until every run has ended; submit the `blocked` runs as soon as the runs they wait for are
    trained."""
    from cebctl.render import progress, status_view
    from cebctl.status.polling import poll
    from cebctl.submission.submit import blocked_runs
    from cebctl.submission.submit import submit as submit_to

    poll_matrix = partial(poll, matrix, store, home)
    runs = progress.watch(matrix, poll_matrix).runs
    # Each run is followed up once for each that it waited for, so that this ends whatever becomes of it.
    while freed := {run_id for run_id, _ in blocked - blocked_runs(runs)}:
        following, _ = submit_to(matrix, store, home, executor, only=freed)
        blocked = blocked_runs(runs, following)
        if following:
            status_view.print_submission(following, matrix, home)
            runs = progress.watch(matrix, poll_matrix).runs
    if any(run.state != "done" for run in runs):
        status_view.print_failures(runs, home)
        raise typer.Exit(1)
