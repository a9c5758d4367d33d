"""The steps of a submission: what is checked, sent and said, and the waiting for its end."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from cebctl.diagnostics import slurm_checks
from cebctl.planning import gpu_hour_limit, matrix_code, part_trials, weights_fit
from cebctl.planning.plan import plan_from_status
from cebctl.render import plan_view
from cebctl.status.collect import open_home
from cebctl.status.home_matrix import keep_descriptions
from cebctl.status.matrix_status import MatrixStatus, collect_matrix_status
from cebctl.status.polling import Snapshot
from cebctl.status.rerun import Rerun, describe_outdated_dependents, is_under_way
from cebctl.status.run_names import join_truncated
from cebctl.status.states import RunStatus
from cebctl.submission import executors, node_exclusion, prerequisites, release_held
from cebctl.submission.executors import Executor
from cebctl.submission.submit import Submission, blocked_runs, pending_stages
from cebctl.submission.submit import submit as submit_to
from experiments import jump_start_checks
from experiments.matrix.planned_run import Matrix
from jobs import file_ownership
from jobs.paths import Home
from jobs.slurm.cluster_info import ClusterInfo
from store.connect import Store
from store.read_only import read_only

ExecutorName = Literal["local", "slurm"]
Warn = Callable[[Sequence[str]], None]
"""Is told what the user may not expect."""


@dataclass(frozen=True)
class Request:
    """The user's wishes for a submission."""

    on: ExecutorName | None = None
    """None: slurm where there is an sbatch, else local."""
    retry_failed: bool = False
    again: Rerun | None = None
    max_gpu_hours: float | None = None
    workers: int | None = None
    max_parallel: int | None = None
    heed: bool = True
    """Refuse what the cluster would never start."""

    @property
    def executor_name(self) -> ExecutorName:
        """Return the executor that `on` stands for."""
        return self.on or ("slurm" if shutil.which("sbatch") else "local")


@dataclass(frozen=True)
class Outcome:
    """A submission, None if nothing was missing, and what it was decided on."""

    submission: Submission | None
    status: MatrixStatus
    store: Store
    executor: Executor


@contextmanager
def submit_missing(
    matrix: Matrix, home: Home, request: Request, warn: Warn, introduce: Callable[[str], None]
) -> Iterator[Outcome]:
    """Submit the stages that are missing, or to be done again; the store stays open in the block.

    `introduce` is told first, in a line, what a matrix brings that was never submitted from this home.
    Raises the first reason not to submit before anything is written. The umask stays that of the home.
    """
    # A submission that is refused creates no home. Where there is one, a single store serves from here to the end.
    has_home = home.folder.exists()
    with ExitStack() as stores:
        if has_home:
            file_ownership.restrict_umask(home.folder)
        store = stores.enter_context(open_home(home, create=True) if has_home else read_only(home))
        before = collect_matrix_status(matrix, store, home, fresh=has_home, again=request.again)
        pending = pending_stages(before.runs, retry_failed=request.retry_failed, again=request.again)
        first = matrix_code.describe_first_submission(matrix, store, home) if pending else ""
        tries_parts = bool(list(matrix.parts))
        if first and tries_parts:  # they run among the checks, nothing else does
            introduce(first)
        site = _check(matrix, before, store, home, request)
        if first and not tries_parts:
            introduce(first)
        if not has_home:
            stores.close()
            file_ownership.restrict_umask(home.folder)
            store = stores.enter_context(open_home(home, create=True))
        if site:
            _release_held(before, warn)
        keep_descriptions(matrix, home)
        executor = _executor(store, site, request, warn)
        submission, status = submit_to(
            matrix, store, home, executor, retry_failed=request.retry_failed, again=request.again
        )
        yield Outcome(submission, status, store, executor)


def _check(matrix: Matrix, status: MatrixStatus, store: Store, home: Home, request: Request) -> ClusterInfo | None:
    """Raise the first reason not to submit; return the cluster that it goes to, None if it stays on this machine."""
    retry_failed, again = request.retry_failed, request.again
    part_trials.try_own_parts(matrix)
    if request.max_gpu_hours is not None:
        plan = plan_from_status(matrix, status, store, home, retry_failed=retry_failed, again=again)
        gpu_hour_limit.check_gpu_hours(plan, request.max_gpu_hours)
    prerequisites.check_prerequisites(matrix, status.runs, store, home, retry_failed=retry_failed, again=again)
    stages = pending_stages(status.runs, retry_failed=retry_failed, again=again)
    weights_fit.check_fits([run.planned.run for run, stage in stages if stage.stage == "train"], home, matrix.parts)
    if request.executor_name == "local":
        return None
    return slurm_checks.check_cluster(matrix, status.runs, retry_failed=retry_failed, heed=request.heed, again=again)


def _executor(store: Store, site: ClusterInfo | None, request: Request, warn: Warn) -> Executor:
    if site is None:
        return executors.Local(request.workers, request.max_parallel)
    excluded = node_exclusion.nodes_to_exclude(store, [node.name for node in site.nodes])
    warn([f"no job goes to {node}: {reason}" for node, reason in excluded.items()])
    return executors.Slurm(site.max_array_size, request.max_parallel, tuple(excluded))


def _release_held(status: MatrixStatus, warn: Warn) -> None:
    for job, error in release_held.release_launch_failed_jobs(chain(*status.observations.claims.values())).items():
        launch = f"{job}, which Slurm holds after a launch that failed"
        warn([f"could not release {launch}: {error}" if error else f"released {launch}"])


def describe_runs_left(outcome: Outcome, matrix: Matrix) -> list[str]:
    """Return which runs of a submission `again` are left to the jobs under way, and which results stay as older
    trainings made them."""
    submission = outcome.submission
    if submission is None:
        return []
    claims = [*submission.claims, *(claim for claim, _ in submission.returned)]
    claimed = {claim.run_id for claim in claims}
    runs = outcome.status.runs
    busy = [run.planned.name for run in runs if is_under_way(run) and run.planned.run_id not in claimed]
    retrained = {claim.run_id for claim in claims if claim.stage == "train" and claim.generation > 1}
    left = [f"left to what is under way: {join_truncated(busy)}"] if busy else []
    return left + describe_outdated_dependents(matrix, retrained, outcome.store)


def describe_ineffective_settings(submission: Submission, matrix: Matrix) -> list[str]:
    """Return which settings have no effect in the runs that a submission trains."""
    trained = {claim.run_id for claim in submission.claims if claim.stage == "train"}
    settings = {
        text: affected
        for text, runs in jump_start_checks.runs_by_ineffective_setting(matrix.runs).items()
        if (affected := [run for run in runs if run.run_id in trained])
    }
    return plan_view.describe_ineffective_settings(settings)


def follow(
    matrix: Matrix,
    home: Home,
    outcome: Outcome,
    watch: Callable[[], Snapshot],
    announce: Callable[[Submission], None],
) -> Sequence[RunStatus]:
    """Return the runs at their end, which `watch` waits for. Submits what waits for a training as soon as that is done,
    whoever does it, and announces it."""
    blocked = blocked_runs(outcome.status.runs, outcome.submission)
    while True:
        runs = watch().runs
        # Each run is followed up once for each that it waited for, so that this ends whatever becomes of it.
        freed = {run_id for run_id, blocker in blocked - blocked_runs(runs)} - _untrained(blocked, runs)
        if not freed:
            return runs
        following, _ = submit_to(matrix, outcome.store, home, outcome.executor, only=freed)
        blocked = blocked_runs(runs, following)
        if following:
            announce(following)


def _untrained(blocked: Collection[tuple[str, str]], runs: Iterable[RunStatus]) -> set[str]:
    """Return the runs that waited for their own training and are not trained: it was lost, or cancelled, and this
    submission has no claim on it."""
    waiting = {run_id for run_id, blocker in blocked if run_id == blocker}
    return {run.planned.run_id for run in runs if run.stages[0].state != "done"} & waiting


def describe_unclaimed(outcome: Outcome, matrix: Matrix) -> list[str]:
    """Return a message on the benchmarks that nobody has claimed, because another submission trains their runs."""
    pairs = blocked_runs(outcome.status.runs, outcome.submission)
    runs = [run.planned.name for run in outcome.status.runs if (run.planned.run_id, run.planned.run_id) in pairs]
    if not runs:
        return []
    then = f"`cebctl submit {matrix.path}` takes them once these are trained, `--wait` stays for that"
    return [f"benchmarks of runs that another submission trains are in nobody's claim: {join_truncated(runs)}; {then}"]
