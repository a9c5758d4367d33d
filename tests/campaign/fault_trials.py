"""Strike one fault into each of many submissions; afterwards nothing may be lost, doubled, different or misreported.

    python tests/campaign/fault_trials.py --seed 0 --faults 1000 [--jobs 2] [--out campaign.jsonl]

A trial submits two tiny runs on the local executor. One libc call that writes, of one of the processes that take part,
is struck: the process is killed there, the disk is full or broken, only a part is written, the clock jumps; or the
store is damaged afterwards. Then it submits again without a fault, and all that is left is compared with what an
undisturbed submission leaves. The outcome of each trial is a line of `--out`, from which a later call goes on.
"""

from __future__ import annotations

import argparse
import errno
import itertools
import json
import mmap
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from jobs.journal.files import read
from jobs.journal.records import Metrics, Result, Succeeded
from jobs.paths import STAGES, Home
from store.connect import Store, open_memory, open_store
from store.ingest import ingest
from store.tables import metadata

HERE = Path(__file__).parent
MATRIX = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 2, batch: 256}
grids:
  - objective: xent
  - {objective: ceb, rho: 3}
evaluate: [clean, pgd: {norm: linf, eps: 0.1, steps: 2, subset: 50}]
"""
SECONDS = 120
"""A command that takes longer hangs: undisturbed it takes three on an idle core."""

ROLES = ("cli", "launcher", "controller", "worker", "stage")
FAULTS = (
    "killed before",
    "killed after",
    "torn and killed",
    "short write",
    "call fails",
    "torn and fails",
    "Ctrl-C",
    "SIGTERM",
    "clock jumps",
)
"""By the numbers that strike.c gives them."""
DAMAGED = "store damaged"
WRITES = ("write", "pwrite")
GROWING = (*WRITES, "open", "mkdir", "link", "symlink", "rename", "fallocate")
"""The calls that a full disk fails."""
COUNTS = ("lost", "doubled", "different", "crashed", "wrong reason", "hung")
OF_A_FULL_DISK = ("No space left on device", "database or disk is full", "disk I/O error", "unable to open database")
OF_A_BROKEN_DISK = ("Input/output error", "disk I/O error", "unable to open database", "malformed", "not a database")
OF_A_KILL = ("SIGKILL", "lost", "the local executor", " new")
VOLATILE = ("images_per_second", "data_wait_share", "memory_mb")


@dataclass(frozen=True)
class Fault:
    """One fault, and the call that it strikes."""

    role: str
    call: int
    """The number of the call, counted over all processes of the role."""
    kind: str
    error: str = ""
    failures: int = 1
    """How many calls fail from then on, of all processes."""
    jump: int = 0
    workers: int = 1


@dataclass
class Trial:
    """The outcome of a trial."""

    number: int
    fault: Fault
    struck: str = ""
    """The call that was struck and its file; empty if there was none."""
    codes: list[int] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    """What is wrong, under one of COUNTS."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def is_crash(self) -> bool:
        return "Traceback" in self.err + self.out or "fault of cebctl" in self.err


class Page:
    """The page that strike.c reads; its layout is there."""

    LAYOUT = struct.Struct("=iiqiiqqqii512s512s1024s")

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(4096))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 4096)

    def arm(self, folder: Path, fault: Fault) -> None:
        role, kind = ROLES.index(fault.role), FAULTS.index(fault.kind)
        number = getattr(errno, fault.error) if fault.error else 0
        values = (fault.call, kind, number, fault.failures, fault.jump, 0, 0, 0)
        self._write(0, role, *values, os.fsencode(folder), b"", b"")
        self._memory[:4] = struct.pack("=i", 1)

    def take_census(self, folder: Path, path: Path) -> None:
        self._write(2, 0, 0, 0, 0, 0, 0, 0, 0, 0, os.fsencode(folder), os.fsencode(path), b"")

    def disarm(self, *, clock: bool = True) -> str:
        """Strike no more, and set the clock right; return the call that was struck."""
        values = self.LAYOUT.unpack_from(self._memory)
        self._memory[:4] = bytes(4)
        if clock:
            self.set_clock(0)
        return values[-1].rstrip(b"\0").decode(errors="replace") if values[8] else ""

    def set_clock(self, offset: int) -> None:
        at = struct.calcsize("=iiqiiqq")
        self._memory[at : at + 8] = struct.pack("=q", offset)

    def _write(self, *values: Any) -> None:
        self.LAYOUT.pack_into(self._memory, 0, *values)


class Server:
    """The fork server, which all benches share."""

    def __init__(self, folder: Path, tools: Path) -> None:
        self.address = folder / "server"
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("CEBCTL_", "PYTHON"))}
        self.environment = inherited | {
            "CAMPAIGN_SERVER": str(self.address),
            "CAMPAIGN_INTERPRETER": str(tools / "interpreter"),
            "CEBCTL_ON": "local",
            "SLURM_CONF": "/dev/null",
            "COLUMNS": "500",
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, HERE / "fork_server.py", self.address],
            env=self.environment | {"LD_PRELOAD": str(tools / "strike.so")},
        )
        while not self.address.exists():
            if self.process.poll() is not None:
                raise SystemExit("the fork server did not start")
            time.sleep(0.1)

    def cpu_seconds(self) -> float:
        """Return what the processes of all trials have used, as far as they have ended."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


class Bench:
    """The page and the folder in which one trial after the other is made."""

    def __init__(self, folder: Path, server: Server) -> None:
        folder.mkdir()
        self.folder, self.server = folder, server
        (folder / "m.yaml").write_text(MATRIX)
        self.page = Page(folder / "page")
        self.environment = server.environment | {
            "CAMPAIGN_PAGE": str(folder / "page"),
            "CEBCTL_CACHE": str(folder / "cache"),
            "CEBCTL_DATA": str(folder / "data"),
        }

    def home(self, name: str) -> Path:
        """Return an empty folder for a home and the temporary files beside it."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "tmp").mkdir(parents=True)
        return folder / "home"

    def cebctl(self, home: Path, *arguments: str) -> Answer:
        """Run `cebctl` in the home. Raises TimeoutError if it hangs."""
        environment = self.environment | {"CEBCTL_HOME": str(home), "TMPDIR": str(home.parent / "tmp")}
        command = [self.environment["CAMPAIGN_INTERPRETER"], "-m", "cebctl.app", *arguments]
        out, err = self.folder / "out", self.folder / "err"  # elsewhere than what is struck
        with out.open("wb") as out_file, err.open("wb") as err_file:
            try:
                code = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out_file,
                    stderr=err_file,
                    env=environment,
                    cwd=self.folder,
                    timeout=SECONDS,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                self.end_trial()
                raise TimeoutError(f"cebctl {' '.join(arguments)}: {err.read_text()[-300:]}") from None
        return Answer(code, out.read_text(errors="replace"), err.read_text(errors="replace"))

    def submit(self, home: Path, *options: str) -> Answer:
        return self.cebctl(home, "submit", "m.yaml", "--wait", *options)

    def end_trial(self) -> None:
        """Kill what is left of a trial: workers of a command that was killed, for example."""
        for _ in range(3):  # one may have started another meanwhile
            for pid in list(descendants(self.server.process.pid)):
                with suppress(OSError):
                    if str(self.folder / "page") in Path(f"/proc/{pid}/maps").read_text():
                        os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, task.read_text().split()):
                yield from descendants(child)
                yield child


# --- what a home holds ---


@dataclass(frozen=True)
class Remains:
    """What a finished home holds, as far as it must not depend on what happened on the way."""

    metrics: dict[str, Any]
    results: dict[str, Any]
    checkpoints: dict[str, Any]
    report: str
    successes: dict[str, int]
    """How often each stage of each run succeeded."""
    repetitions: dict[str, int]
    """How often each result was measured."""


def remains(bench: Bench, home: Path) -> Remains:
    metrics: dict[str, Any] = {}
    results: dict[str, Any] = {}
    checkpoints: dict[str, Any] = {}
    successes: Counter[str] = Counter()
    repetitions: Counter[str] = Counter()
    paths = Home(home)
    for run in (paths.run(folder.name) for folder in sorted(paths.runs.iterdir())):
        checkpoints[run.run_id] = sorted(path.name for path in run.checkpoints.glob("*.pt"))[-1:]
        for stage in STAGES:
            for attempt in run.attempts(stage):
                for record in read(run.journal(stage, attempt)).records:
                    match record:
                        case Metrics():
                            values = {name: v for name, v in record.values.items() if name not in VOLATILE}
                            metrics[f"{run.run_id} step {record.step}"] = values
                        case Result():
                            key = f"{run.run_id} {record.evaluation_id}"
                            measures = [repr(measure) for measure in record.measures]
                            results[key] = (measures, record.per_sample, record.checkpoint_step, record.data_digest)
                            repetitions[key] += 1
                        case Succeeded():
                            successes[f"{run.run_id} {stage}"] += 1
    report = bench.cebctl(home, "report", "m.yaml", "--format", "csv")
    return Remains(metrics, results, checkpoints, report.out or report.err, dict(successes), dict(repetitions))


def compare(expected: Remains, left: Remains) -> Iterator[tuple[str, str]]:
    """Yield what is wrong in what is left, under one of COUNTS."""
    for name in ("metrics", "results", "checkpoints"):
        values, expected_values = getattr(left, name), getattr(expected, name)
        if missing := sorted(expected_values.keys() - values.keys()):
            yield "lost", f"{name} of {missing}"
        if differing := sorted(key for key in values if values[key] != expected_values.get(key)):
            yield "different", f"{name}: {[(key, values[key], expected_values.get(key)) for key in differing]}"
    if left.report != expected.report:
        yield "different", f"report: {left.report}"
    for counts in (left.successes, left.repetitions):
        if doubled := {key: count for key, count in counts.items() if count > 1}:
            yield "doubled", str(doubled)
    # An evaluation that was killed behind its last result is complete all the same.
    if missing := sorted(key for key in expected.successes.keys() - left.successes.keys() if key.endswith("train")):
        yield "lost", f"the end of {missing}"


def compare_store(home: Path) -> Iterator[tuple[str, str]]:
    """Yield the tables of the store that differ from a rebuild."""
    with open_store(f"sqlite:///{home}/store.sqlite") as store, open_memory() as fresh:
        ingest(store, Home(home))
        ingest(fresh, Home(home))
        for table in metadata.tables:
            if rows(store, table) != rows(fresh, table):
                yield "different", f"table {table} differs from a rebuild"


def rows(store: Store, table: str) -> list[tuple[Any, ...]]:
    columns = [column for column in metadata.tables[table].c if column.name != "mtime_ns"]
    with store.reading() as connection:
        return sorted(map(tuple, connection.execute(sa.select(*columns))), key=repr)


# --- faults ---


def choose(census: dict[str, dict[str, list[int]]], chance: random.Random) -> Fault:
    """Draw a fault: first the role, then the kind of call and of file, then one of these calls."""
    role = chance.choices(ROLES, (5, 2, 1, 2, 5))[0]
    kind = chance.choices((*FAULTS, DAMAGED), (4, 4, 4, 2, 6, 2, 1, 1, 2, 1))[0]
    error = chance.choice(("ENOSPC", "EIO")) if "fails" in kind else ""
    names = WRITES if "torn" in kind or kind == "short write" else GROWING if error == "ENOSPC" else ()
    calls = {name: calls for name, calls in census[role].items() if not names or name.split("\t")[0] in names}
    calls = calls or census[role]  # submitit's controller, for example, writes nothing itself
    call = chance.choice(calls[chance.choice(sorted(calls))])
    fault = Fault(role, call, kind, error, workers=chance.choice((1, 2)))
    if kind == "call fails":
        return replace(fault, failures=chance.choice((1, 3, 40)))
    if kind == "clock jumps":
        jump = chance.choice((-1, 1)) * chance.choice((30, 7200, 86400 * 40))
        return replace(fault, jump=jump)
    return fault


def take_census(bench: Bench) -> tuple[Remains, dict[str, dict[str, list[int]]]]:
    """Submit undisturbed; return what is left, and the numbers of the calls of each role by kind of call and file."""
    home, path = bench.home("undisturbed"), bench.folder / "census"
    bench.page.take_census(home.parent, path)
    answer = bench.submit(home, "--workers", "1")
    bench.page.disarm()
    if answer.code:
        raise SystemExit(f"undisturbed it ends with {answer.code}:\n{answer.err}")
    census: dict[str, dict[str, list[int]]] = {role: {} for role in ROLES}
    counts: Counter[str] = Counter()
    for line in path.read_text().splitlines():
        number, call, file = line.split("\t")
        role = ROLES[int(number)]
        counts[role] += 1
        kind = re.sub(r"[0-9a-f]{4,}|\d+", "#", file.removeprefix(str(home.parent)))
        kind = re.sub(r"(/code/[^/]*)/.*", r"\1/…", kind)
        census[role].setdefault(f"{call}\t{kind}", []).append(counts[role])
    return remains(bench, home), census


def damage(path: Path, chance: random.Random) -> str:
    """Damage a SQLite file as a disk or a careless hand might; return how. A flipped bit in a number goes unnoticed, as
    `store/README.md` says, so that none is flipped here."""
    if not path.exists():
        return ""
    data = bytearray(path.read_bytes())
    way = chance.choice(("cut", "emptied", "a page zeroed", "head overwritten", "log removed"))
    if way == "log removed":
        for beside in (path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
            beside.unlink(missing_ok=True)
        return way
    match way:
        case "cut":
            del data[chance.randrange(len(data)) :]
        case "emptied":
            data.clear()
        case "a page zeroed":
            at = chance.randrange(len(data) // 4096) * 4096
            data[at : at + 4096] = bytes(4096)
        case "head overwritten":
            data[: chance.randrange(1, 100)] = chance.randbytes(chance.randrange(1, 100))
    path.write_bytes(data)
    return way


# --- a trial ---


def make_trial(bench: Bench, expected: Remains, fault: Fault, number: int, chance: random.Random) -> Trial:
    trial = Trial(number, fault)
    began = time.monotonic()
    home = bench.home(f"trial-{number}")
    try:
        problems = list(_disturb(bench, expected, trial, home, chance))
    except TimeoutError as error:
        problems = [("hung", str(error))]
    finally:
        bench.page.disarm()
        bench.end_trial()
    for count, text in problems:
        trial.problems[count] = "; ".join(filter(None, (trial.problems.get(count), text)))
    if not problems:
        shutil.rmtree(home.parent, ignore_errors=True)
    trial.seconds = round(time.monotonic() - began, 1)
    return trial


def _disturb(
    bench: Bench, expected: Remains, trial: Trial, home: Path, chance: random.Random
) -> Iterator[tuple[str, str]]:
    fault = trial.fault
    workers = ("--workers", str(fault.workers))
    keeps_clock = chance.random() < 0.5
    if fault.kind != DAMAGED:
        bench.page.arm(home.parent, fault)
    try:
        first = bench.submit(home, *workers)
    finally:
        trial.struck = bench.page.disarm(clock=not keeps_clock).replace(str(home.parent), "")
    if fault.kind == DAMAGED:
        trial.struck = damage(home / "store.sqlite", chance)
    if not trial.struck:
        return
    trial.codes.append(first.code)
    yield from judge_first(fault, first)
    answer = bench.submit(home, *workers)
    trial.codes.append(answer.code)
    # What failed for want of room is not tried again by itself.
    if answer.code == 1 and fault.error:
        answer = bench.submit(home, *workers, "--retry-failed")
        trial.codes.append(answer.code)
    if answer.is_crash:
        yield "crashed", answer.err
    if answer.code:
        yield "lost", f"exit {answer.code}: {answer.err}"
        return
    yield from compare(expected, remains(bench, home))
    yield from compare_store(home)


def judge_first(fault: Fault, answer: Answer) -> Iterator[tuple[str, str]]:
    """Yield what is wrong in the answer of the command that was struck."""
    if answer.is_crash:
        yield "crashed", answer.err
    codes, words = expectation(fault)
    if answer.code not in codes:
        yield "wrong reason", f"exit {answer.code}, not {codes}: {answer.err}"
    elif answer.code > 0 and words and not any(word in answer.err for word in words):
        yield "wrong reason", f"says none of {words}: {answer.err}"


def expectation(fault: Fault) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the exit codes that may follow a fault, and the words of which one has to be in the message.

    0 may follow each but a kill of the command itself: a call may not matter, or come after all is done.
    """
    if "killed" in fault.kind:
        codes = {"cli": (-signal.SIGKILL,), "launcher": (3, 0)}
        return codes.get(fault.role, (1, 0)), OF_A_KILL
    if fault.error:
        words = OF_A_FULL_DISK if fault.error == "ENOSPC" else OF_A_BROKEN_DISK
        return ((3, 1, 0) if fault.failures > 1 or fault.role in ("cli", "launcher") else (1, 0)), (
            *words,
            *OF_A_KILL[1:],
        )
    if fault.kind == "Ctrl-C":
        return {"cli": (130, 0), "launcher": (3, 0)}.get(fault.role, (1, 0)), ("interrupted", "runs go on", *OF_A_KILL)
    if fault.kind == "SIGTERM":
        return {"cli": (-signal.SIGTERM,), "launcher": (3, 0)}.get(fault.role, (1, 0)), ("SIGTERM", *OF_A_KILL)
    return (0,), ()


# --- the campaign ---


@contextmanager
def workplace() -> Iterator[tuple[Path, Server]]:
    """Yield a temporary folder and a server. The folder stays if it has the home of a trial that shows a problem."""
    folder = Path(tempfile.mkdtemp(prefix="cebctl-campaign-"))
    compile_tools(folder)
    server = Server(folder, folder)
    try:
        yield folder, server
    finally:
        for pid in (*descendants(server.process.pid), server.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        server.process.wait()
        if not any(folder.glob("*/trial-*")):
            shutil.rmtree(folder, ignore_errors=True)


def compile_tools(folder: Path) -> None:
    library = ["-shared", "-fPIC", "-o", folder / "strike.so", HERE / "strike.c", "-ldl", "-lpthread"]
    for arguments in (library, ["-o", folder / "interpreter", HERE / "interpreter.c"]):
        subprocess.run(["cc", "-O1", *arguments], check=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--faults", type=int, default=1000)
    arguments.add_argument("--jobs", type=int, default=1, help="trials at once")
    arguments.add_argument("--out", type=Path, help="a file of outcomes, from which an interrupted campaign goes on")
    arguments.add_argument("--only", type=int, nargs="*", help="make these trials alone")
    options = arguments.parse_args()
    outcomes = read_outcomes(options.out, options.seed)
    done = {outcome["number"] for outcome in outcomes}
    numbers = iter(options.only or (number for number in itertools.count() if number not in done))
    lock = threading.Lock()
    began = time.monotonic()
    with workplace() as (folder, server), ThreadPoolExecutor(options.jobs) as pool:
        benches = [Bench(folder / f"bench-{number}", server) for number in range(options.jobs)]
        expected, census = take_census(benches[0])
        cpu_before, trials_before = server.cpu_seconds(), len(outcomes)

        def next_number() -> int | None:
            with lock:
                is_enough = sum(bool(outcome["struck"]) for outcome in outcomes) >= options.faults
                return None if is_enough and not options.only else next(numbers, None)

        def work(bench: Bench) -> None:
            while (number := next_number()) is not None:
                chance = random.Random(f"{options.seed} {number}")
                trial = make_trial(bench, expected, choose(census, chance), number, chance)
                outcome = {"seed": options.seed} | asdict(trial)
                with lock:
                    outcomes.append(outcome)
                    if options.out:
                        with options.out.open("a") as file:
                            file.write(json.dumps(outcome) + "\n")
                    if trial.problems:
                        print(json.dumps(outcome, indent=1), flush=True)

        for worker in [pool.submit(work, bench) for bench in benches]:
            worker.result()
        cpu = (server.cpu_seconds() - cpu_before) / max(len(outcomes) - trials_before, 1)
    counts = Counter(count for outcome in outcomes for count in outcome["problems"])
    struck = [outcome for outcome in outcomes if outcome["struck"]]
    minutes = (time.monotonic() - began) / 60
    print(f"{len(struck)} faults (seed {options.seed}), {minutes:.0f} min, {cpu:.1f} s of CPU each: ", end="")
    print(", ".join(f"{counts[count]} {count}" for count in COUNTS))
    sys.exit(1 if counts else 0)


def read_outcomes(path: Path | None, seed: int) -> list[dict[str, Any]]:
    if path is None or not path.exists():
        return []
    return [outcome for outcome in map(json.loads, path.read_text().splitlines()) if outcome["seed"] == seed]


if __name__ == "__main__":
    main()
