"""A local worker: imports torch once, then runs the claims of a submission in forked children, one by one.

Several workers of a submission go through the same list, and the leases divide it among them. If a child dies, the
worker records the death in the child's journal and continues with the next run.
"""

from __future__ import annotations

import os
import sys
import traceback
from functools import partial
from pathlib import Path

from experiments.errors import InputError
from jobs import file_ownership, processes
from jobs.attempt import runner
from jobs.attempt.lease import read_holder
from jobs.journal.files import Journal
from jobs.journal.history import is_claim_released, is_trained
from jobs.journal.ownership import read_head, submission_records
from jobs.journal.records import Claim, Died, Submitted
from jobs.paths import STAGES, Home, Stage
from jobs.processes import Process
from jobs.signals import StopRequest

RunClaims = dict[Stage, Claim]
"""The claims of one run, by stage."""


def work(home_folder: str, submission_name: str) -> None:
    """Run every claim of the submission that no other worker has taken; submitit calls this."""
    home = Home(Path(home_folder))
    file_ownership.restrict_umask(home.folder)
    submission, runs = _claims(home, submission_name)
    import jobs.engine.evaluation.evaluate
    import jobs.engine.training.loop  # noqa: F401  imported here so that every forked child has it

    for run_id, claims in runs.items():
        if not home.submission(submission_name).exists():
            return  # the home was removed: a further run would begin it anew
        child = os.fork()
        if child == 0:
            _child(home, submission, claims)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and (path := _newest_journal(home, run_id, submission, child)):
            with Journal(path) as journal:
                journal.write(Died(reason=processes.describe_signal(os.WTERMSIG(status))))


def _claims(home: Home, name: str) -> tuple[Submitted, dict[str, RunClaims]]:
    """Return the first record of a submission, and its claims by run in the order of the submission."""
    records = list(submission_records(home, name))
    submission = next((record for record in records if isinstance(record, Submitted)), None)
    if submission is None:
        raise InputError(home.submission(name), f"does not begin submission {name}", "`cebctl submit` begins another")
    runs: dict[str, RunClaims] = {}
    for record in records:
        if isinstance(record, Claim):
            runs.setdefault(record.run_id, {})[record.stage] = record
    return submission, runs


def _child(home: Home, submission: Submitted, claims: RunClaims) -> None:
    """Run the claimed stages of one run in the forked child, and exit: this function never returns."""
    status = 1
    try:
        processes.die_with_parent()
        _run(home, submission, claims)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _run(home: Home, submission: Submitted, claims: RunClaims) -> None:
    """Run the stages in order, as far as they succeed."""
    for stage in STAGES:
        if stage not in claims:
            continue
        paths = home.run(claims[stage].run_id, claims[stage].training)
        if stage == "evaluate" and not is_trained(paths):
            return
        if _find_stop_reason(home, submission, paths.run_id, stage):
            return
        find_reason = partial(_find_stop_reason, home, submission, paths.run_id, stage)
        start = runner.JobStart(stop_request=StopRequest(find_reason=find_reason), owns_output=True)
        runner.run_attempt(home, submission, claims[stage], stage, start=start)


def _find_stop_reason(home: Home, submission: Submitted, run_id: str, stage: Stage, *_: StopRequest) -> str:
    return "cancelled" if is_claim_released(home, submission.name, run_id, stage) else ""


def _newest_journal(home: Home, run_id: str, submission: Submitted, pid: int) -> Path | None:
    """Return the journal of the last attempt that a child of this worker began at a run; other workers may have begun
    attempts at it meanwhile, which live."""
    paths = home.run(run_id)
    for stage in reversed(STAGES):
        for attempt in reversed(paths.attempts(stage)):
            head = read_head(paths, stage, attempt)
            if head and (head.submission, head.host, head.pid) == (submission.name, runner.host_name(), pid):
                return paths.journal(stage, attempt)
        # Killed before its first record: the lease alone knows of it.
        holder = read_holder(paths.lease(stage))
        process = Process.parse(holder.process) if holder and holder.submission == submission.name else None
        if holder and process and process.pid == pid and not read_head(paths, stage, holder.attempt):
            return paths.journal(stage, holder.attempt)
    return None
