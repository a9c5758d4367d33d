"""One attempt of one stage of one run, from its lease to its terminal record.

Torch and the engine are imported inside the functions, so that tests of the rest need no torch.
"""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from experiments import numerics
from experiments.errors import CebctlError
from experiments.lineage import parent_id
from experiments.spec import Run
from jobs import own_parts, processes, provenance, spec_file
from jobs.attempt import lease
from jobs.errors import PeerLostError, Stopped
from jobs.journal.files import Journal
from jobs.journal.history import newest_complete
from jobs.journal.ownership import ensure_home_id, read_head
from jobs.journal.records import Claim, Died, Failed, Preempted, Started, Submitted, Succeeded
from jobs.paths import Home, RunPaths, Stage, data_folder
from jobs.processes import Process, keep_memory
from jobs.signals import StopRequest

Work = Callable[[Claim, RunPaths, Journal | None, Callable[[], bool]], None]
"""The journal is None in every process of a job but its first."""
End = Succeeded | Failed | Preempted | Died


@dataclass(frozen=True)
class JobStart:
    """The start of an executor's job that makes an attempt; by default the only start of a local worker."""

    job: str = ""
    """The executor's id of the job; empty for a local worker's."""
    restart: int = 0
    stop_request: StopRequest = field(default_factory=StopRequest)
    owns_output: bool = False
    """Whether the output of this process belongs to the attempt, and goes into its log once there is one."""

    def is_newer_than(self, submission: str, holder: lease.Holder) -> bool:
        """Whether the lease's holder is an earlier start, whose node is cut off. A local worker replaces nobody."""
        return bool(self.job) and (submission, self.restart) > holder.start_order


def run_attempt(
    home: Home,
    submission: Submitted,
    claim: Claim,
    stage: Stage,
    work: Work | None = None,
    start: JobStart | None = None,
) -> End | None:
    """Run one attempt of a stage; write and return its end.

    Returns None, and does nothing, while another attempt holds the lease, or if a local worker of this submission
    already tried the stage: the next submission decides on a second try.
    """
    start = start or JobStart()
    paths = home.run(claim.run_id, claim.training)
    stage_lease = lease.acquire(paths.lease(stage), lambda holder: start.is_newer_than(submission.name, holder))
    if stage_lease is None:
        return None
    heads = (read_head(paths, stage, attempt) for attempt in paths.attempts(stage))
    if not start.job and any(head is not None and head.submission == submission.name for head in heads):
        stage_lease.release()
        return None
    attempt = paths.next_attempt(stage)  # under the lock: two attempts never get one number
    stage_lease.write_holder(attempt, submission.name, start.restart)
    if start.owns_output:
        processes.redirect_output(paths.log(stage, attempt))
    with Journal(paths.journal(stage, attempt)) as journal:
        head = start_record(paths, stage, attempt, submission, claim)
        journal.write(msgspec.structs.replace(head, job=start.job, restart=start.restart))
        end = _run_work(stage, submission, claim, paths, journal, stage_lease, start.stop_request, work)
        journal.write(end)
    stage_lease.release()
    return end


def join_attempt(submission: Submitted, claim: Claim, stage: Stage, paths: RunPaths, stop_request: StopRequest) -> bool:
    """Do the work of an attempt in another process of its job, without lease and journal; return whether it succeeded.

    Errors are printed. The job's first process alone records how the attempt ended.
    """
    try:
        provenance.verify(submission.code)
        _WORK[stage](claim, paths, None, stop_request)
    except Stopped:
        return True
    except Exception:
        traceback.print_exc()
        return False
    return True


def host_name() -> str:
    """Return the name of this machine, as sbatch's --exclude takes it where it is a node."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def start_record(paths: RunPaths, stage: Stage, attempt: int, submission: Submitted, claim: Claim) -> Started:
    """Return the first record of an attempt, made by this process."""
    process = Process.current()
    return Started(
        run_id=paths.run_id,
        stage=stage,
        attempt=attempt,
        home=ensure_home_id(paths.home),
        submission=submission.name,
        host=host_name(),
        pid=process.pid,
        code=submission.code,
        engine=provenance.engine_digest(),
        numerics=_numerics(claim),
        libraries=provenance.library_versions(),
        generation=claim.generation,
    )


def _numerics(claim: Claim) -> dict[str, int]:
    """Return the versions of the engine's parts that the claimed stage computes with.

    An invalid spec has none: the stage itself will fail with the message.
    """
    try:
        run = _spec(claim)
    except msgspec.ValidationError:
        return {}
    if claim.stage == "train":
        return numerics.training_versions(run)
    made_with = [numerics.evaluation_versions(run, benchmark) for benchmark in claim.benchmarks]
    return {part: version for versions in made_with for part, version in versions.items()}


def _run_work(
    stage: Stage,
    submission: Submitted,
    claim: Claim,
    paths: RunPaths,
    journal: Journal,
    stage_lease: lease.Lease,
    stop_request: StopRequest,
    work: Work | None,
) -> End:
    """Do the work and return how it ended."""
    superseded = False

    def should_stop() -> bool:
        nonlocal superseded
        superseded = superseded or stage_lease.is_superseded()
        return stop_request() or superseded

    try:
        provenance.verify(submission.code)
        (work or _WORK[stage])(claim, paths, journal, should_stop)
    except Stopped:
        return Preempted(reason="superseded" if superseded and not stop_request() else stop_request.reason())
    except Exception as error:
        if stage_lease.is_taken_over():  # an error of an attempt whose node was cut off says nothing about the run
            return Preempted(reason="superseded")
        if stop_request() and not isinstance(error, CebctlError):  # the signals also reach this process's children
            return Preempted(reason=stop_request.reason())
        return _failure(error)
    return Succeeded()


def _failure(error: Exception) -> Failed | Died:
    """Return the end of an attempt whose work raised this error."""
    if isinstance(error, PeerLostError):
        return Died(reason=str(error))
    if isinstance(error, CebctlError):
        kind = getattr(error, "kind", "input" if error.exit_code == 2 else "error")
        # Of an evaluation, whose benchmarks raised errors of all kinds.
        benchmarks, text = getattr(error, "benchmarks", {}), getattr(error, "traceback", "")
        return Failed(error=str(error), kind=kind, traceback=text, benchmarks=benchmarks)
    # Python's MemoryError, and torch's OutOfMemoryError by its name, since torch may not be imported.
    kind = "memory" if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ else "error"
    return Failed(error=own_parts.describe(error), traceback=_traceback(error), kind=kind)


def _traceback(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


def _train(claim: Claim, paths: RunPaths, journal: Journal | None, should_stop: Callable[[], bool]) -> None:
    from jobs.engine import distributed
    from jobs.engine.training import loop

    run = spec_file.check_run_id(_spec(claim), paths)
    if journal is not None:
        import torch

        # A measured speed is of this device.
        gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
        made_on = {"gpu": gpu, "execution": claim.execution}
        provenance.write(paths, provenance.environment() | made_on | provenance.origin(run, paths))
    with distributed.process_group():
        loop.train(run, paths, journal, data_folder(), _prepare_device(), should_stop, execution=claim.execution)


def _evaluate(claim: Claim, paths: RunPaths, journal: Journal | None, should_stop: Callable[[], bool]) -> None:
    from jobs.engine import distributed
    from jobs.engine.evaluation import evaluate

    with distributed.process_group():
        evaluate.evaluate(
            spec_file.check_run_id(_spec(claim), paths),
            claim.benchmarks,
            paths,
            journal,
            data_folder(),
            _prepare_device(),
            should_stop,
            provenance.engine_digest(),
            generation=claim.generation,
        )


_WORK: dict[Stage, Work] = {"train": _train, "evaluate": _evaluate}


def extended_run(claim: Claim, paths: RunPaths) -> RunPaths | None:
    """Return the run that this one extends, in the same home; None if it extends none."""
    parent = parent_id(_spec(claim)) if "extends" in claim.spec else None
    return newest_complete(paths.beside(parent)) if parent else None


def _spec(claim: Claim) -> Run:
    return msgspec.convert(claim.spec, Run)


def _prepare_device() -> str:
    """Prepare this process for its device and return the device's name."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    keep_memory()
    return "cpu"
