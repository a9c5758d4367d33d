"""The job: one attempt of one stage of one run, from its lease to its terminal record.

Torch and the engine are imported inside, so that what surrounds them can be tested without.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from experiments import numerics
from experiments.errors import CebctlError
from experiments.lineage import parent_id
from experiments.spec import Run
from jobs import checkpoint_files, provenance, spec_file
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
    """Which start of which job of an executor an attempt is; by default a local worker's, which is the only one."""

    job: str = ""
    """The executor's id of the job; a worker's has none."""
    restart: int = 0
    stop_request: StopRequest = field(default_factory=StopRequest)

    def is_newer_than(self, submission: str, holder: lease.Holder) -> bool:
        """Whether the holder of the lease is an earlier start, whose node is cut off: a worker takes nobody's."""
        return bool(self.job) and (submission, self.restart) > holder.start_order


def run_attempt(
    home: Home,
    submission: Submitted,
    claim: Claim,
    stage: Stage,
    work: Work | None = None,
    start: JobStart | None = None,
) -> End | None:
    """Run one attempt of a stage and write how it ended, which is returned.

    Nothing happens, and None is returned, while another attempt holds the lease, or if this submission already
    tried this stage: a second try is for the next submission to decide, or for the executor that starts it again.
    """
    start = start or JobStart()
    paths = home.run(claim.run_id, claim.training)
    held = lease.acquire(paths.lease(stage), lambda holder: start.is_newer_than(submission.name, holder))
    if held is None:
        return None
    if not start.job and _tried(paths, stage, submission.name):
        held.release()
        return None
    attempt = paths.next_attempt(stage)  # under the lock: two attempts never get one number
    held.write_holder(attempt, submission.name, start.restart)
    with Journal(paths.journal(stage, attempt)) as journal:
        head = start_record(paths, stage, attempt, submission, claim)
        resumed = _goes_on_from(stage, claim, paths)
        journal.write(msgspec.structs.replace(head, job=start.job, restart=start.restart, resumed_step=resumed))
        end = _end(stage, submission, claim, paths, journal, held, start.stop_request, work)
        journal.write(end)
    held.release()
    return end


def join_attempt(submission: Submitted, claim: Claim, stage: Stage, paths: RunPaths, asked: StopRequest) -> bool:
    """The part of every process of a job but its first: the same work, without lease and journal; whether it went
    well. What went wrong is printed, and is for the first to tell."""
    try:
        provenance.verify(submission.code)
        _WORK[stage](claim, paths, None, asked)
    except Stopped:
        return True
    except Exception:
        traceback.print_exc()
        return False
    return True


def start_record(paths: RunPaths, stage: Stage, attempt: int, submission: Submitted, claim: Claim) -> Started:
    """The first record of an attempt, by this process."""
    process = Process.current()
    return Started(
        run_id=paths.run_id,
        stage=stage,
        attempt=attempt,
        home=ensure_home_id(paths.home),
        submission=submission.name,
        host=os.environ.get("SLURMD_NODENAME") or process.host,  # as the cluster calls it
        pid=process.pid,
        code=submission.code,
        engine=provenance.engine_digest(),
        numerics=_numerics(claim),
        libraries=provenance.library_versions(),
        generation=claim.generation,
    )


def _numerics(claim: Claim) -> dict[str, int]:
    """Return the versions of the parts that the claimed stage makes its numbers with; none for a spec that makes no
    sense, of which the stage itself will complain."""
    try:
        run = _spec(claim)
    except msgspec.ValidationError:
        return {}
    if claim.stage == "train":
        return numerics.training_versions(run)
    made_with = [numerics.evaluation_versions(run, benchmark) for benchmark in claim.benchmarks]
    return {part: version for versions in made_with for part, version in versions.items()}


def _end(
    stage: Stage,
    submission: Submitted,
    claim: Claim,
    paths: RunPaths,
    journal: Journal,
    held: lease.Lease,
    asked: StopRequest,
    work: Work | None,
) -> End:
    """Do the work; how it ended."""
    superseded = False

    def should_stop() -> bool:
        nonlocal superseded
        superseded = superseded or held.is_superseded()
        return asked() or superseded

    try:
        provenance.verify(submission.code)
        (work or _WORK[stage])(claim, paths, journal, should_stop)
    except Stopped:
        return Preempted(reason="superseded" if superseded and not asked() else asked.reason())
    except Exception as error:
        if held.is_taken_over():  # what goes wrong for an attempt whose node was cut off says nothing of the run
            return Preempted(reason="superseded")
        if asked() and not isinstance(error, CebctlError):  # the signals reach the processes that it had started, too
            return Preempted(reason=asked.reason())
        return _failure(error)
    return Succeeded()


def _failure(error: Exception) -> Failed | Died:
    """How an attempt ended whose work raised this."""
    if isinstance(error, PeerLostError):
        return Died(reason=str(error))
    if isinstance(error, CebctlError):
        kind = getattr(error, "kind", "input" if error.exit_code == 2 else "error")
        cause = isinstance(error.__cause__, ExceptionGroup)  # of an evaluation: errors that nobody foresaw
        return Failed(error=str(error), kind=kind, traceback=_traceback(error) if cause else "")
    first = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {first[0]}" if first else type(error).__name__
    # Python's own, and torch's OutOfMemoryError, which is known here by name only.
    kind = "memory" if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ else "error"
    return Failed(error=text, traceback=_traceback(error), kind=kind)


def _traceback(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


def _train(claim: Claim, paths: RunPaths, journal: Journal | None, should_stop: Callable[[], bool]) -> None:
    from jobs.engine import distributed
    from jobs.engine.training import loop

    run = spec_file.check_run_id(_spec(claim), paths)
    if journal is not None:
        found = provenance.environment() | {"gpu": _gpu(), "execution": claim.execution} | provenance.origin(run, paths)
        provenance.write(paths, found)
    with distributed.joined():
        loop.train(run, paths, journal, data_folder(), _ready(), should_stop, execution=claim.execution)


def _evaluate(claim: Claim, paths: RunPaths, journal: Journal | None, should_stop: Callable[[], bool]) -> None:
    from jobs.engine import distributed
    from jobs.engine.evaluation import evaluate

    with distributed.joined():
        evaluate.evaluate(
            spec_file.check_run_id(_spec(claim), paths),
            claim.benchmarks,
            paths,
            journal,
            data_folder(),
            _ready(),
            should_stop,
            provenance.engine_digest(),
            generation=claim.generation,
        )


_WORK: dict[Stage, Work] = {"train": _train, "evaluate": _evaluate}


def _goes_on_from(stage: Stage, claim: Claim, paths: RunPaths) -> int | None:
    """The step of the checkpoint that training begins with, by its name; None if there is none."""
    if stage != "train":
        return None
    before = extended_run(claim, paths)
    folders = [paths.checkpoints, *([before.checkpoints] if before else [])]
    return next((file.step for folder in folders for file in checkpoint_files.newest_first(folder)), None)


def extended_run(claim: Claim, paths: RunPaths) -> RunPaths | None:
    """The run that this one extends, beside it."""
    before = parent_id(_spec(claim)) if "extends" in claim.spec else None
    return newest_complete(paths.beside(before)) if before else None


def _spec(claim: Claim) -> Run:
    return msgspec.convert(claim.spec, Run)


def _ready() -> str:
    """The device to compute on, and this process made ready for it."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    keep_memory()
    return "cpu"


def _gpu() -> str | None:
    """The name of the device that trains, by which a measured speed is known to be a GPU's."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _tried(paths: RunPaths, stage: Stage, submission: str) -> bool:
    heads = (read_head(paths, stage, attempt) for attempt in paths.attempts(stage))
    return any(head is not None and head.submission == submission for head in heads)
