"""Trials in which the SQLite store is damaged at one place, and the commands meet it.

    python -m tests.cebctl.damage_trials --positions 500 [--seed 0] [--commands 1]

A position is a byte of the store, of its write-ahead log or of its rollback journal, and what is written there. Each of
`COMMANDS` meets the same damaged files. It gives the answer of the undamaged store or one line with exit code 3; only
`doctor` may find something wrong. The journals stay as they are, and `doctor --rebuild` always heals. Each command runs
in a forked process.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from cebctl import app
from experiments.matrix.load import load
from jobs.journal.files import Journal
from jobs.journal.records import Metrics, Released
from jobs.paths import STAGES, Home
from store.connect import open_store
from store.ingest import ingest
from tests.cebctl.conftest import Answer, claim, evaluate, submitted, train

MATRIX = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 4, batch: 256}
grids:
  - {objective: ceb, rho: [3, 0]}
evaluate: [clean]
"""
COMMANDS = ("status", "submit", "doctor", "rebuild")
SUBMISSIONS = 4
PAGE = 4096
FRAME = 24 + PAGE
DEADLINE_SECONDS = 120
OUTCOMES = ("unharmed", "healed", "one line, exit 3", "named by doctor", "unnoticed", "fault")


@dataclass(frozen=True)
class Damage:
    """One place of one file, and what is done to it."""

    state: str
    """The state of the store: see `STATES`."""
    file: str
    place: str
    offset: int
    kind: str
    content: bytes | None
    """Written over what is there; None: the file ends here."""

    def apply(self, folder: Path) -> None:
        path = folder / self.file
        if self.content is None:
            os.truncate(path, self.offset)
            return
        with path.open("r+b") as file:
            file.seek(self.offset)
            file.write(self.content)

    def __str__(self) -> str:
        return f"{self.state}: {self.file} at {self.offset} ({self.place}): {self.kind}"


@dataclass
class Campaign:
    """The outcomes of the trials so far."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: {command: Counter() for command in COMMANDS})
    faults: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        for command, counts in self.counts.items():
            yield f"{command:<8}" + ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])


# --- the home and the states of its store ---


def make_home(folder: Path) -> tuple[Home, Path]:
    """Write the journals of a finished matrix, large enough that tables and indexes have several levels of pages."""
    matrix = folder / "m.yaml"
    matrix.write_text(MATRIX)
    home = Home(folder / "home")
    runs = load(matrix).runs
    for number in range(SUBMISSIONS):
        name = f"s{number:02}"
        with Journal(home.submission(name)) as journal:
            journal.write(submitted(name, matrix), *[claim(run, stage) for run in runs for stage in STAGES])
            if number + 1 < SUBMISSIONS:
                stages = [(run.run_id, stage) for run in runs for stage in STAGES]
                journal.write(*[Released(submission=name, run_id=i, stage=s, reason="") for i, s in stages])
    for planned in runs:
        train(home, planned)
        evaluate(home, planned)
    with home.run(runs[0].run_id).journal("train", 2).open("wb") as file:
        first = home.run(runs[0].run_id).journal("train", 1).read_bytes().splitlines(keepends=True)
        points = [Metrics(step=n, epoch=n / 9, values={"loss": 1 / n, "rate": n / 7}) for n in range(1, 300)]
        head = first[0].replace(b'"pid":1', b'"pid":2')
        file.writelines([head, *(msgspec.json.encode(point) + b"\n" for point in points), *first[-2:]])
    return home, matrix


def at_rest(home: Home) -> None:
    with open_store(home.store_url, home) as store:
        ingest(store, home)


def log_of_a_killed_process(home: Home) -> None:
    """Leave a write-ahead log with content."""
    late = home.run(next(home.runs.iterdir()).name).journal("train", 1)
    hidden = late.rename(late.with_suffix(".hidden"))
    at_rest(home)
    hidden.rename(late)

    def read_and_die() -> int:
        store = open_store(home.store_url, home)
        ingest(store, home)
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    in_child(read_and_die)


def hot_rollback_journal(home: Home) -> None:
    """Leave a half-written file, and the rollback journal that undoes it."""
    at_rest(home)

    def write_and_die() -> int:
        driver = sqlite3.connect(home.folder / "store.sqlite", isolation_level=None)
        driver.execute("PRAGMA journal_mode=DELETE")
        driver.execute("PRAGMA cache_size=5")
        driver.execute("BEGIN IMMEDIATE")
        driver.execute("UPDATE metrics SET value = value + 1")
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    in_child(write_and_die)


STATES: dict[str, Callable[[Home], None]] = {
    "at rest": at_rest,
    "log": log_of_a_killed_process,
    "rollback journal": hot_rollback_journal,
}


def in_child(work: Callable[[], int], output: Path | None = None) -> int:
    """Run `work` in a forked process; return its exit code, or less than 0 for a signal."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        signal.alarm(DEADLINE_SECONDS)
        if output:
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(output / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        code = 70
        try:
            code = work()
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# --- places and kinds ---


def places(folder: Path, name: str, chance: random.Random) -> dict[str, int]:
    """Return one offset for each kind of place in a file."""
    size = (folder / name).stat().st_size
    anywhere = {"anywhere": chance.randrange(size)}
    if name.endswith("-wal"):
        frame = 32 + FRAME * chance.randrange((size - 32) // FRAME)
        return anywhere | {"log header": chance.randrange(32), "frame header": frame + chance.randrange(24)}
    if name.endswith("-journal"):
        return anywhere | {"journal header": chance.randrange(28), "first record": 512 + chance.randrange(8)}
    if name.endswith("-shm"):
        return anywhere
    page = chance.randrange(size // PAGE)
    return anywhere | {
        "header": chance.randrange(100),
        "page head": page * PAGE + 100 * (page == 0) + chance.randrange(12),
        "cell pointers": page * PAGE + 100 * (page == 0) + 8 + chance.randrange(40),
        "page": page * PAGE,
        "index root": PAGE * (chance.choice(index_roots(folder / name)) - 1),
    }


def index_roots(path: Path) -> list[int]:
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy(path, folder)
        with closing(sqlite3.connect(copy)) as driver:
            return [n for (n,) in driver.execute("SELECT rootpage FROM sqlite_schema WHERE type = 'index'")]


def draw(number: int, pristine: dict[str, Path], chance: random.Random) -> Damage:
    """Draw a position; the states, files and places take turns, so that a small campaign has some of each."""
    turns = [
        (state, name)
        for state, folder in pristine.items()
        for name in sorted(path.name for path in folder.glob("store.sqlite*") if not path.name.endswith(".lock"))
    ]
    state, name = turns[number % len(turns)]
    folder = pristine[state]
    offsets = places(folder, name, chance)
    place = list(offsets)[number // len(turns) % len(offsets)]
    offset = offsets[place]
    content = (folder / name).read_bytes()
    page = content[chance.randrange(len(content) // PAGE) * PAGE :][:PAGE]
    kinds: dict[str, bytes | None] = {
        "four bytes of ones": b"\xff" * 4,
        "a bit flipped": bytes([content[offset] ^ 1 << chance.randrange(8)]),
        "noise": chance.randbytes(chance.randint(1, 16)),
        "a page of zeros": bytes(PAGE),
        "zeros": bytes(chance.randint(1, 100)),
        "a page of noise": chance.randbytes(PAGE),
        "another page": page,
        "cut": None,
    }
    kind = chance.choice(list(kinds))
    return Damage(state, name, place, offset, kind, kinds[kind])


# --- trials ---


def listing(home: Home) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in home.journals()}


class Bench:
    """A home whose store is put back before each command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home, self.matrix = make_home(folder)
        os.environ |= {"CEBCTL_HOME": str(self.home.folder), "COLUMNS": "200", "CEBCTL_DATA": str(folder / "data")}
        self.arguments = {
            "status": ["status", str(self.matrix), "--json"],
            "submit": ["submit", str(self.matrix), "--on", "local"],
            "doctor": ["doctor", "--json"],
            "rebuild": ["doctor", "--rebuild", "--json"],
        }
        self.pristine: dict[str, Path] = {}
        for state, make in STATES.items():
            self.clear()
            make(self.home)
            kept = folder / "pristine" / state
            kept.mkdir(parents=True)
            for path in self.home.folder.glob("store.sqlite*"):
                shutil.copy(path, kept)
            self.pristine[state] = kept
        self.journals = listing(self.home)
        self.restore("at rest")
        with (folder / "warm-up").open("w") as file, redirect_stdout(file), redirect_stderr(file):
            for arguments in self.arguments.values():  # imports for all the forked children
                app.run(arguments)
        self.right = {command: self.run(command) for command in COMMANDS}

    def clear(self) -> None:
        for path in self.home.folder.glob("store.sqlite*"):
            path.unlink()

    def restore(self, state: str) -> None:
        self.clear()
        for path in self.pristine[state].iterdir():
            shutil.copy(path, self.home.folder)

    def run(self, command: str) -> Answer:
        code = in_child(lambda: app.run(self.arguments[command]), self.folder)
        out, err = ((self.folder / name).read_text() for name in ("out", "err"))
        if command in ("doctor", "rebuild") and out.startswith("{"):
            findings = json.loads(out)["findings"]
            out = "".join(f"{f['level']}: {f['text']}\n" for f in findings if f["area"] in ("store", "work"))
        return Answer(code, out, err)

    def trial(self, damage: Damage, command: str) -> tuple[str, str]:
        """Damage the store, run the command; return the outcome, and what is wrong with it."""
        self.restore(damage.state)
        damage.apply(self.home.folder)
        answer = self.run(command)
        outcome, wrong = self.judge(command, answer)
        if listing(self.home) != self.journals:
            return "fault", "the journals changed"
        if outcome == "one line, exit 3":
            again = self.run("rebuild")
            if again.code or self.run("status").out != self.right["status"].out:
                return "fault", f"{answer.err.strip()}; not healed by a rebuild: {again}"
        return outcome, wrong

    def judge(self, command: str, answer: Answer) -> tuple[str, str]:
        right = self.right[command]
        was_replaced = any(self.home.folder.glob("store.sqlite.*-[0-9]"))
        if "Traceback" in answer.err or "a fault of" in answer.err or "Error:" in answer.out + answer.err:
            return "fault", answer.err or answer.out
        if answer.code == 3 and len(answer.err.splitlines()) == 1:
            return "one line, exit 3", answer.err.strip()
        if command == "doctor" and answer.code == 1 and not answer.err:
            return "named by doctor", ""
        if answer.code != 0:
            return "fault", str(answer)
        if command == "doctor" or answer.out == right.out:
            return "healed" if was_replaced and command != "rebuild" else "unharmed", ""
        return "unnoticed", ""


def campaign(numbers: range, seed: int, folder: Path, per_position: int = len(COMMANDS)) -> Campaign:
    """Damage the store at each position; `per_position` of the commands, drawn, meet it."""
    bench = Bench(folder)
    result = Campaign()
    for number in numbers:
        chance = random.Random(f"{seed} {number}")
        damage = draw(number, bench.pristine, chance)
        outcomes = {}
        for command in chance.sample(COMMANDS, per_position):
            outcome, wrong = bench.trial(damage, command)
            outcomes[command] = outcome
            result.counts[command][outcome] += 1
            if outcome == "fault":
                result.faults.append(f"position {number}, {damage}; {command}: {wrong.strip()[:600]}")
        print(number, damage, outcomes, file=sys.stderr, flush=True)
    return result


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--positions", type=int, default=500)
    arguments.add_argument("--first", type=int, default=0, help="the number of the first position")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--commands", type=int, default=len(COMMANDS), help="how many of them meet each position")
    options = arguments.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cebctl-damage-") as folder:
        numbers = range(options.first, options.first + options.positions)
        result = campaign(numbers, options.seed, Path(folder), options.commands)
    print(*result.faults, *result.lines(), sep="\n")
    print(f"{options.positions} positions, seed {options.seed}, {time.monotonic() - began:.0f} s")
    sys.exit(bool(result.faults))


if __name__ == "__main__":
    main()
