"""Fork a process for each `interpreter -m module …` of a trial, from one that has imported all it needs.

    LD_PRELOAD=strike.so python fork_server.py SOCKET

The child goes on as `python -m module …` would. Its standard streams, folder and environment are the caller's; torch
and the engine are imported once for all trials.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import os
import runpy
import select
import signal
import socket
import struct
import sys
import threading
import traceback
import warnings
from pathlib import Path

ROLES = {"cebctl.app": 0, "jobs.local.launch": 1, "submitit.local._local": 2, "submitit.core._submit": 3}
MODULES = (
    "cebctl.app",
    "cebctl.render.progress",
    "cebctl.render.status_view",
    "cebctl.report.collect",
    "cebctl.report.formats.write",
    "cebctl.study.submitting",
    "jobs.engine.evaluation.evaluate",
    "jobs.engine.training.loop",
    "jobs.local.worker",
    "sqlalchemy.dialects.sqlite",
    "submitit.core.submission",
    "submitit.local.local",
)
"""What the processes of a trial import."""


def serve(listener: socket.socket) -> list[str]:
    """Fork for each request, and return in the children alone: what `interpreter` was called with."""
    bell, ringer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ringer, warn_on_full_buffer=False)
    callers: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([listener, bell], [], [])
        if bell in ready:
            os.read(bell, 4096)
        if listener in ready:
            caller, _ = listener.accept()
            child = os.fork()
            if not child:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for other in (listener, *callers.values()):
                    other.close()
                os.close(bell), os.close(ringer)
                return become(caller)
            tell(caller, child)
            callers[child] = caller
        while callers:
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                break
            if child in callers:
                tell(callers[child], status)
                callers.pop(child).close()


def tell(caller: socket.socket, number: int) -> None:
    try:
        caller.sendall(struct.pack("=i", number))
    except OSError:  # it was killed
        return


def become(caller: socket.socket) -> list[str]:
    """Take over the caller's streams, folder and environment; return its arguments."""
    header, streams, _, _ = socket.recv_fds(caller, 4, 3)
    (size,) = struct.unpack("=I", header)
    text = b""
    while len(text) < size:
        text += caller.recv(size - len(text))
    arguments, surroundings = text.split(b"\0\0", 1)
    folder, *variables = surroundings.rstrip(b"\0").split(b"\0")
    (interpreter,) = struct.unpack("=i8x", caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if b"submitit.local._local" in arguments:
        os.getpid = lambda: interpreter  # the number that its parent, which started the interpreter, knows it by
    os.setsid()
    for target, fd in enumerate(streams):
        os.dup2(fd, target)
    for fd in streams:
        os.close(fd)
    caller.close()
    os.chdir(folder)
    os.environb.clear()
    os.environb.update(dict(variable.split(b"=", 1) for variable in variables))  # type: ignore[arg-type]
    return [os.fsdecode(word) for word in arguments.split(b"\0")]


def run(module: str) -> int:
    """Run a module as `python -m` does, to its end; return the exit code."""
    code: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    return int(code or 0)  # type: ignore[call-overload]


if __name__ == "__main__":
    ROOT = Path(__file__).parents[2]
    sys.path[0] = str(ROOT)
    warnings.simplefilter("ignore")
    for name in MODULES:
        importlib.import_module(name)
    from jobs import processes, provenance

    processes.die_with_parent()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored
    sys.executable = os.environ["CAMPAIGN_INTERPRETER"]
    gc.collect()
    gc.freeze()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(sys.argv[1])
    listening.listen(64)
    words = serve(listening)
    first = words.index("-m") + 1
    sys.argv = words[first:]
    # A job imports the snapshot: this process has imported the same code, and looks at the snapshot before it works.
    provenance.ROOT = Path(os.environ.get("PYTHONPATH") or ROOT)
    ctypes.CDLL(None).campaign_begin(ROLES.get(words[first], -1))
    os._exit(run(words[first]))  # what torch has at its end takes seconds
