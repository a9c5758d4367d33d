"""A real Slurm on one machine, private and thrown away after use; for tests, and for trying the tool out.

    python tests/slurm/lab.py up --dir /tmp/lab [--accounting]      prints: export SLURM_CONF=/tmp/lab/etc/slurm.conf
    python tests/slurm/lab.py down --dir /tmp/lab

Needs Debian's or Ubuntu's packages (INSTALL below) and nothing of this project; works as root or wholly as one plain
user. Several virtual nodes with countable GPUs (links to /dev/null), a partition `gpu`, a preemptible one `scavenge`.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from keeper import descendants
from lab_files import PORTS, Layout, Settings, daemons, database_user, write

INSTALL = "apt-get install slurmctld slurmd slurm-client munge slurmdbd slurm-wlm-mysql-plugin mariadb-server"
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
_ACCOUNTING_PROGRAMS = ("slurmdbd", "sacctmgr", "mariadbd", "mariadb-install-db")
_LEAKING = ("SLURM_", "SBATCH_", "SRUN_", "SALLOC_", "SQUEUE_", "SINFO_", "SCANCEL_", "SACCT_")
_SBIN = "/usr/sbin:/sbin"
_LONGEST_FOLDER = 80  # characters: a unix socket's path has 108, and Slurm adds to it
_PORTS_FROM, _PORTS_TO = 20_000, 32_000  # below those that outgoing connections get
_DATABASE = """
create database slurm_acct_db;
create user slurm@'127.0.0.1' identified by 'slurm';
grant all on slurm_acct_db.* to slurm@'127.0.0.1';
"""

IMPATIENT = {"SlurmdTimeout": 3, "MessageTimeout": 2, "TCPTimeout": 1}
"""Keys of slurm.conf under which a lost node is noticed in 10 s; on a busy machine, a sound one may be too."""

T = TypeVar("T")


class LabError(Exception):
    """A lab, or a command in it, did not do what it should."""


def missing(accounting: bool = False) -> list[str]:
    """The programs a lab needs that are not installed here."""
    programs = _PROGRAMS + (_ACCOUNTING_PROGRAMS if accounting else ())
    return [program for program in programs if not shutil.which(program, path=_path())]


def eventually(look: Callable[[], T], seconds: float = 30, every: float = 0.1) -> T:
    """The first true value of `look`. Raises LabError if there is none in time."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise LabError(f"not within {seconds} s: the last look showed {seen!r}")
        time.sleep(every)
    return seen


class Lab:
    """A running lab. Its daemons are `slurmctld`, `munged`, the nodes by name, and with accounting `slurmdbd` and
    `mariadbd`; a keeper process ends them all when this process ends, `kill -9` included.
    """

    def __init__(self, settings: Settings, folder: Path | None = None, outlive: bool = False) -> None:
        """Start it; returns when every node is idle. `outlive`: it stays after this process, until `end_lab(folder)`.

        Raises LabError, with what the daemons logged, if it does not come up.
        """
        if absent := missing(settings.accounting):
            raise LabError(f"{', '.join(absent)} not installed: {INSTALL}")
        self.settings = settings
        self.folder = _new_folder(folder)
        with _claim_ports() as claim:
            self._layout = Layout(self.folder, claim.getsockname()[1])
            write(settings, self._layout)
            (self.folder / "daemons.json").write_text(json.dumps(daemons(settings, self._layout)))
            os.mkfifo(self.folder / "requests", 0o600)
            self._keeper = self._start_keeper(claim, outlive)
        try:
            self._start_all()
        except LabError as error:
            logs = self._logs()
            self.end()
            raise LabError(f"{error}\n{logs}") from error

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.end()

    def end(self) -> None:
        """End every process and remove the folder."""
        end_lab(self.folder)
        self._keeper.wait(timeout=30)

    @property
    def nodes(self) -> list[str]:
        return self.settings.node_names

    @property
    def user(self) -> str:
        """Who runs it, and whose account accounting knows."""
        return getpass.getuser()

    @property
    def conf(self) -> Path:
        """What SLURM_CONF is to name."""
        return self._layout.conf

    @property
    def env(self) -> dict[str, str]:
        """This process's environment, cleaned, with SLURM_CONF."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_LEAKING)}
        return kept | {"SLURM_CONF": str(self.conf), "PATH": _path(), "LC_ALL": "C"}

    def run(self, *command: object, timeout: float = 60) -> str:
        """What a command in the lab prints. Raises LabError with its stderr if it fails."""
        done = subprocess.run(list(map(str, command)), env=self.env, capture_output=True, text=True, timeout=timeout)
        if done.returncode:
            raise LabError(f"{command}: exit code {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip()

    def sbatch(self, script: str, *options: str) -> str:
        """Submit a shell script; the id of its job."""
        return self.run("sbatch", "--parsable", "--output=/dev/null", *options, "--wrap", script)

    def squeue(self) -> list[dict[str, str]]:
        """A row per job or array element, finished ones that slurmctld remembers included."""
        fields = ("JobArrayID", "Name", "Partition", "State", "Reason", "RestartCnt", "NodeList")
        wanted = ",".join(f"{field}:|" for field in fields)
        lines = self.run("squeue", "--noheader", "--array", "--states=all", "-O", wanted).splitlines()
        return [dict(zip(fields, line.split("|"), strict=False)) for line in lines]

    def states(self) -> dict[str, str]:
        """The state of each job or array element by its id (`12` or `12_3`)."""
        return {row["JobArrayID"]: row["State"] for row in self.squeue()}

    def becomes(self, job: str, state: str, seconds: float = 30) -> None:
        """Wait until a job or array element is in this state. Raises LabError if it is not in time."""
        eventually(lambda: self.states().get(job) == state, seconds)

    def sacct(self, *options: str) -> list[dict[str, str]]:
        """A row per attempt of a job, as accounting has it."""
        fields = ("JobID", "JobName", "Partition", "State", "ExitCode", "NodeList", "Submit", "Start", "End")
        command = ("sacct", "-X", "-D", "-P", "--noheader", f"--format={','.join(fields)}", *options)
        return [dict(zip(fields, line.split("|"), strict=True)) for line in self.run(*command).splitlines()]

    def cancel_all(self) -> None:
        """Have no job left that is not finished."""
        unfinished = "--states=PENDING,RUNNING,SUSPENDED,COMPLETING,CONFIGURING"
        if ids := set(self.run("squeue", "--noheader", "--format=%A", unfinished).split()):
            for how in (["--full", "--signal=KILL"], []):
                with contextlib.suppress(LabError):  # some may have ended meanwhile
                    self.run("scancel", *how, *ids)
            eventually(lambda: not self.run("squeue", "--noheader", unfinished))

    # Faults.

    def start(self, daemon: str) -> None:
        """Start a daemon that does not run; returns when it does its work."""
        self._request(daemon)
        if daemon == "slurmctld":
            eventually(lambda: self.pid(daemon) and self._controller_answers())
        elif daemon in self.nodes:
            eventually(lambda: self.pid(daemon) and daemon in self._ready_nodes())

    def stop(self, daemon: str, signum: signal.Signals = signal.SIGTERM) -> None:
        """Have a daemon end (SIGKILL: without its saying goodbye); a node's jobs live on."""
        os.kill(self.pid(daemon), signum)
        eventually(lambda: self._state(daemon) == "ended")

    def freeze(self, daemon: str) -> None:
        """Have a daemon hang until `thaw`: its port still takes connections, nobody answers. A node is cut off then:
        taken for dead after SlurmdTimeout, though its jobs live."""
        os.kill(self.pid(daemon), signal.SIGSTOP)

    def thaw(self, daemon: str) -> None:
        os.kill(self.pid(daemon), signal.SIGCONT)

    def saved(self, job: str) -> None:
        """Return once the controller has saved what it knows now of a job, which it does every few seconds: killed
        before, it has forgotten that the job was started."""
        state = self.folder / "state" / "job_state"
        for number in range(2):  # the first save may have begun before
            before = time.time_ns()
            self.run("scontrol", "update", f"JobId={job}", f"Comment=save {number}")
            eventually(lambda since=before: state.exists() and state.stat().st_mtime_ns > since)  # type: ignore[misc]

    def restart_controller(self) -> None:
        self.stop("slurmctld")
        self.start("slurmctld")

    def kill_node(self, name: str) -> None:
        """Have a node lose power: its slurmd and its jobs end at once, and say nothing."""
        steps = self._steps(name)
        self.freeze(name)  # it must not report what happens next
        for step in steps:
            for pid in (step, *descendants(step)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.stop(name, signal.SIGKILL)

    def pid(self, daemon: str) -> int:
        """Raises LabError if it does not run."""
        if not (state := self._state(daemon)).isdecimal():
            raise LabError(f"{daemon} does not run" + f": it has {state}" * bool(state))
        return int(state)

    def pids(self) -> list[int]:
        """Every process of this lab: the keeper's, the daemons', the jobs'."""
        return [self._keeper.pid, *descendants(self._keeper.pid)]

    # What starting takes.

    def _start_keeper(self, claim: socket.socket, outlive: bool) -> subprocess.Popen[bytes]:
        owner = [] if outlive else ["--owner", str(os.getpid())]
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("keeper.py")), str(self.folder), *owner],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "log" / "keeper.out").open("ab"),
            start_new_session=True,
            cwd="/",
            pass_fds=[claim.fileno()],
        )

    def _start_all(self) -> None:
        self.start("munged")
        eventually(lambda: _connects(self._layout.munge_socket))
        if self.settings.accounting:
            self._start_accounting()
        for name in [*self.nodes, "slurmctld"]:
            self._request(name)
        eventually(lambda: self.pid("slurmctld") and len(self._ready_nodes()) == len(self.nodes), every=0.05)

    def _request(self, daemon: str) -> None:
        """Have the keeper start a daemon; returns when it has a number."""
        (self.folder / "pids" / daemon).unlink(missing_ok=True)
        eventually(lambda: _ask_keeper(self.folder, f"start {daemon}"), every=0.02)
        eventually(lambda: self._state(daemon), every=0.02)

    def _state(self, daemon: str) -> str:
        """Its number, `ended`, or nothing if it was never started."""
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "pids" / daemon).read_text()
        return ""

    def _start_accounting(self) -> None:
        self.run(
            *("mariadb-install-db", "--no-defaults", *database_user(), f"--datadir={self.folder / 'mysql'}"),
            *("--auth-root-authentication-method=normal", "--force", "--skip-test-db"),
        )
        self.start("mariadbd")
        eventually(lambda: _connects(self._layout.mysql_socket))
        client = ("mariadb", "--no-defaults", "-uroot", "--socket", self._layout.mysql_socket)
        self.run(*client, "--execute", _DATABASE)
        self.start("slurmdbd")
        eventually(lambda: self._succeeds("sacctmgr", "-n", "show", "cluster"), seconds=60)
        self.run("sacctmgr", "-i", "add", "cluster", "lab")
        self.run("sacctmgr", "-i", "add", "account", "lab", "Description=lab", "Organization=lab")
        self.run("sacctmgr", "-i", "add", "user", getpass.getuser(), "DefaultAccount=lab")

    def _ready_nodes(self) -> set[str]:
        with contextlib.suppress(LabError, subprocess.TimeoutExpired):
            ready = "--states=idle,mixed,allocated,completing"
            return set(self.run("sinfo", "--noheader", "--Node", ready, "--format=%N", timeout=5).split())
        return set()

    def _controller_answers(self) -> bool:
        return self._succeeds("scontrol", "ping")

    def _succeeds(self, *command: str) -> bool:
        try:
            self.run(*command, timeout=5)
        except (LabError, subprocess.TimeoutExpired):
            return False
        return True

    def _steps(self, node: str) -> list[int]:
        """The slurmstepds of a node, known by its log, which each has open."""
        log = str(self._layout.slurmd_log(node))
        return [pid for pid in descendants(self._keeper.pid) if _command(pid) == "slurmstepd" and log in _files(pid)]

    def _logs(self) -> str:
        """The last lines of every log that has any."""
        tails = {path.name: path.read_text(errors="replace").splitlines()[-15:] for path in self.folder.glob("log/*")}
        return "\n".join(f"--- {name}\n" + "\n".join(tail) for name, tail in sorted(tails.items()) if tail)


def end_lab(folder: Path) -> None:
    """End the lab in this folder; nothing happens where there is none. Raises LabError if it goes on."""
    if _ask_keeper(folder, "end"):
        eventually(lambda: not folder.exists())
    elif (folder / "requests").exists():  # the machine was started again, or the keeper was killed
        shutil.rmtree(folder)


def _ask_keeper(folder: Path, request: str) -> bool:
    """Whether there was a keeper to ask."""
    try:
        requests = os.open(folder / "requests", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    os.write(requests, f"{request}\n".encode())
    os.close(requests)
    return True


def _new_folder(folder: Path | None) -> Path:
    """An empty folder with a path that is short enough for sockets."""
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))
    elif folder.exists():
        raise LabError(f"{folder} exists: name a folder that does not, or end the lab that is in it")
    elif len(str(folder)) > _LONGEST_FOLDER:
        raise LabError(f"{folder} is too long a path for sockets: at most {_LONGEST_FOLDER} characters")
    else:
        folder.mkdir(parents=True)
    folder.chmod(0o755)
    return folder


def _claim_ports() -> socket.socket:
    """A bound socket whose port is the first of a free block: whoever holds it open holds the block."""
    blocks = list(range(_PORTS_FROM, _PORTS_TO, PORTS))
    random.SystemRandom().shuffle(blocks)
    for port in blocks:
        claim = socket.socket()
        try:
            claim.bind(("127.0.0.1", port))
            for other in range(port + 1, port + PORTS):
                with socket.socket() as probe:
                    probe.bind(("", other))
        except OSError:
            claim.close()
        else:
            return claim
    raise LabError(f"no {PORTS} ports in a row are free between {_PORTS_FROM} and {_PORTS_TO}")


def _connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:{_SBIN}"


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _files(pid: int) -> set[str]:
    """The files a process has open."""
    found = set()
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(link.readlink()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    up = actions.add_parser("up", help="start a lab and print how to use it")
    up.add_argument("--nodes", type=int, default=Settings.nodes)
    up.add_argument("--gpus", type=int, default=Settings.gpus, help="per node")
    up.add_argument("--gpu-type", default=Settings.gpu_type, help="as in a100")
    up.add_argument("--cpus", type=int, default=Settings.cpus, help="per node")
    up.add_argument("--mem", type=int, default=Settings.mem, help="megabytes per node")
    up.add_argument("--accounting", action="store_true", help="with MariaDB and slurmdbd: some seconds more")
    up.add_argument("--ip-names", action="store_true", help="nodes called 127.0.0.11, …: for jobs that span nodes")
    down = actions.add_parser("down", help="end it and remove its folder")
    for command in (up, down):
        command.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()) / "slurm-lab")
    arguments = vars(parser.parse_args())
    action, folder = arguments.pop("action"), arguments.pop("dir").absolute()
    try:
        if action == "up":
            print(f"export SLURM_CONF={Lab(Settings(**arguments), folder, outlive=True).conf}")
        else:
            end_lab(folder)
    except LabError as error:
        sys.exit(f"lab.py: {error}")


if __name__ == "__main__":
    main()
