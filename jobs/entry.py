"""The job: one attempt of one stage of one run, from its lease to its terminal record.

Torch and the engine are imported inside, so that what surrounds them can be tested without.
"""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable
from types import FrameType

import msgspec

from experiments.errors import CebctlError
from experiments.spec import Run
from jobs import lease, provenance
from jobs.errors import Stopped
from jobs.home import Home, RunPaths, Stage, data_folder
from jobs.journal import Claim, Failed, Journal, Preempted, Started, Submitted, Succeeded, read
from jobs.processes import Process

Work = Callable[[Claim, RunPaths, Journal, Callable[[], bool]], None]


def run_stage(home: Home, submission: Submitted, claim: Claim, stage: Stage, work: Work | None = None) -> bool:
    """Run one attempt of a stage and write its terminal record; True if it succeeded.

    Nothing happens, and False is returned, while another attempt holds the lease, or if this submission
    already tried this stage: a second try is for the next submission to decide.
    """
    paths = home.run(claim.run_id)
    held = lease.acquire(paths.lease(stage))
    if held is None:
        return False
    if _tried(paths, stage, submission.name):
        held.release()
        return False
    attempt = paths.next_attempt(stage)  # under the lock: two attempts never get one number
    held.enter(attempt)
    asked = _StopRequest()
    with Journal(paths.journal(stage, attempt)) as journal:
        process = Process.current()
        journal.write(
            Started(
                submission=submission.name,
                host=process.host,
                pid=process.pid,
                code=submission.code,
                engine=provenance.engine_digest(),
            )
        )
        succeeded = _attempt(stage, submission, claim, paths, journal, lambda: asked() or held.superseded(), work)
    held.release()
    return succeeded


def _attempt(
    stage: Stage,
    submission: Submitted,
    claim: Claim,
    paths: RunPaths,
    journal: Journal,
    should_stop: Callable[[], bool],
    work: Work | None,
) -> bool:
    try:
        provenance.verify(submission.code)
        (work or _WORK[stage])(claim, paths, journal, should_stop)
    except Stopped:
        journal.write(Preempted())
        return False
    except CebctlError as error:
        journal.write(
            Failed(error=str(error), kind=getattr(error, "kind", "input" if error.exit_code == 2 else "error"))
        )
        return False
    except Exception as error:
        first = str(error).strip().splitlines()
        text = f"{type(error).__name__}: {first[0]}" if first else type(error).__name__
        # Python's own, and torch's OutOfMemoryError, which is known here by name only.
        kind = "memory" if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ else "error"
        journal.write(Failed(error=text, traceback=traceback.format_exc(), kind=kind))
        return False
    journal.write(Succeeded())
    return True


def _train(claim: Claim, paths: RunPaths, journal: Journal, should_stop: Callable[[], bool]) -> None:
    from jobs.engine import train

    origin = provenance.environment() | {"gpu": _gpu()}
    paths.provenance.write_bytes(msgspec.json.format(msgspec.json.encode(origin)))
    train.train(_spec(claim), paths, journal, data_folder(), _device(), should_stop)


def _evaluate(claim: Claim, paths: RunPaths, journal: Journal, should_stop: Callable[[], bool]) -> None:
    from jobs.engine import evaluate

    evaluate.evaluate(
        _spec(claim),
        claim.benchmarks,
        paths,
        journal,
        data_folder(),
        _device(),
        should_stop,
        provenance.engine_digest(),
    )


_WORK: dict[Stage, Work] = {"train": _train, "evaluate": _evaluate}


def _spec(claim: Claim) -> Run:
    return msgspec.convert(claim.spec, Run)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _gpu() -> str | None:
    """The name of the device that trains, by which a measured speed is known to be a GPU's."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _tried(paths: RunPaths, stage: Stage, submission: str) -> bool:
    return any(
        isinstance(record, Started) and record.submission == submission
        for attempt in paths.attempts(stage)
        for record in read(paths.journal(stage, attempt), limit=4096).records
    )


class _StopRequest:
    """Turns true when the scheduler asks the job to stop."""

    def __init__(self) -> None:
        self._asked = False
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, _signum: int, _frame: FrameType | None) -> None:
        self._asked = True

    def __call__(self) -> bool:
        return self._asked
