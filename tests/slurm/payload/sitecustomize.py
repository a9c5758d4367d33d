"""In place of training, for jobs whose PYTHONPATH begins here: the same journal, lease and checkpoints without torch.

Python imports this by itself. The work is a chain of hashes, a link a step, so that its last one tells whether every
step was done once and in order. PAYLOAD_STEPS and PAYLOAD_SECONDS (of a step; PAYLOAD_FIRST: in the first attempt) set
its length, and PAYLOAD_UNTIL a file without which it does not do the last; PAYLOAD_FAULT names what goes wrong at step
7 of the first attempt, or of every one with PAYLOAD_ALWAYS=1.
"""

from __future__ import annotations

import os
import signal
import sys
import time

if (
    "SLURM_ARRAY_TASK_ID" in os.environ
    and os.environ.get("PAYLOAD_FAULT") == "import"
    and "SLURM_STEP_ID" in os.environ
):
    sys.exit("this node has no such library")  # as an import that fails on one machine only


def work(claim, paths, journal, should_stop):  # type: ignore[no-untyped-def]
    import hashlib

    from jobs import checkpoint_files
    from jobs.errors import Stopped
    from jobs.journal.records import Checkpointed, Heartbeat, Metrics

    if journal is None:  # not the first task of its job
        return
    newest = next(checkpoint_files.newest_first(paths.checkpoints), None)
    link, first = (newest.read(), newest.step) if newest else (b"", 0)
    steps = int(os.environ.get("PAYLOAD_STEPS", "20"))
    first_attempt = len(paths.attempts("train")) == 1
    seconds = float(os.environ.get("PAYLOAD_FIRST" if first_attempt else "", os.environ.get("PAYLOAD_SECONDS", "0.1")))
    for step in range(first + 1, steps + 1):
        time.sleep(seconds)
        while step == steps and (file := os.environ.get("PAYLOAD_UNTIL")) and not os.path.exists(file):  # noqa: PTH110
            time.sleep(0.1)
        link = hashlib.sha256(link + step.to_bytes(4, "little")).digest()
        if step == 7 and (first_attempt or os.environ.get("PAYLOAD_ALWAYS")):
            fail(os.environ.get("PAYLOAD_FAULT", ""))
        journal.write(Heartbeat(step=step, steps=steps))
        stop = should_stop()
        if stop or step % 5 == 0 or step == steps:
            file = checkpoint_files.write(paths.checkpoints, step, lambda file, link=link: file.write(link))
            journal.write(Checkpointed(step=step, file=file.name, seconds=0.0))
        if stop and step < steps:
            raise Stopped
    journal.write(Metrics(step=steps, epoch=1.0, values={"link": float(int.from_bytes(link[:4], "little"))}))


def fail(fault: str) -> None:
    match fault:
        case "raise":
            raise ZeroDivisionError("division by zero")
        case "nan":
            from experiments.errors import CebctlError

            error = CebctlError("the loss is nan at step 7")
            error.kind = "nan"  # type: ignore[attr-defined]
            raise error
        case "cuda memory":
            raise type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(0)
        case "memory":
            hoard = [bytearray(os.urandom(1 << 20)) for _ in range(400)]
            time.sleep(60)
            del hoard
        case "deaf":
            for one in (signal.SIGTERM, signal.SIGUSR2):
                signal.signal(one, signal.SIG_IGN)
        case "cancel":
            import subprocess

            subprocess.run(["scancel", os.environ["SLURM_JOB_ID"]], check=True)
        case "requeue":
            import subprocess

            subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=True)
        case "hang":
            time.sleep(3600)


if "SLURM_ARRAY_TASK_ID" in os.environ:
    from jobs.attempt import runner

    runner._WORK = {"train": work, "evaluate": work}
