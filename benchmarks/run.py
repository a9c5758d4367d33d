"""Every benchmark with a goal, each a ratio of one run: measures, says what holds, and keeps the history.

    python benchmarks/run.py [--only TEXT]    `make bench`: lines of history.jsonl, the table of README.md
    python benchmarks/run.py --smoke          `make bench-smoke`: tiny, in one process; does each print a ratio?

A benchmark is a script that prints Markdown tables; a goal names a column of them. Beside a ratio stands what it was
the time before, so that a regression shows.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import runpy
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measure import ROOT, Ratio, head, machine, row, rows, versions

HERE = Path(__file__).parent
README, HISTORY = HERE / "README.md", HERE / "history.jsonl"
BEGIN, END = "<!-- written by `make bench` -->\n", "<!-- end -->\n"
PACKAGES = (
    *(
        "dora-search",
        "foolbox",
        "hydra-core",
        "mlflow",
        "pyautoattack",
        "sacred",
        "seml",
        "sqlite-utils",
        "torchattacks",
        "wandb",
    ),
    *("msgspec", "sqlalchemy", "submitit", "torch", "torchvision", "typer"),
)


Entry = dict[str, Any]
"""A line of the history."""


@dataclass(frozen=True)
class Goal:
    """What a column of a table should say in some of its rows."""

    column: str
    rows: str = ""
    """A regular expression for a row's words, all of which stand before its figures."""
    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        if self.at_least is None and self.at_most is None:
            return ""
        return f"at most {self.at_most:g}" if self.at_least is None else f"at least {self.at_least:g}"

    def held(self, found: Ratio) -> str:
        """Whether it is met; `within the spread` where the rounds disagree."""
        if not str(self):
            return ""
        worst, best = (found.low, found.high) if self.at_most is None else (-found.high, -found.low)
        limit, middle = (self.at_least, found.median) if self.at_most is None else (-self.at_most, -found.median)
        assert limit is not None
        if middle >= limit:
            return "yes" if worst >= limit else "yes, within the spread"
        return "no, within the spread" if best >= limit else "no"


@dataclass(frozen=True)
class Benchmark:
    """A script, how to call it, and what is asked of its tables."""

    script: str
    arguments: Sequence[str]
    smoke: Sequence[str]
    """Arguments with which it takes seconds."""
    goals: Sequence[Goal] = ()


HELP = "`cebctl --help` over it, CPU"
COVERAGE = "coverage, %"
STEP, HEAD = "our throughput over the bare loop's", "ceb's step over xent's"
BENCHMARKS = [
    Benchmark(
        "start.py", ["--rounds", "5"], ["--rounds", "1"],
        [Goal(HELP, "sqlite-utils", at_most=1.1), Goal(HELP, "dora|seml|mlflow", at_most=1),
         Goal(HELP, "PLAIN|python"), Goal("wall, s", "plan", at_most=0.8), Goal("CPU, s", "plan")],
    ),
    Benchmark(
        "expand.py", [], ["--runs", "1000", "--rounds", "1"],
        [Goal("it over ours", "dora|seml|hydra", at_least=1), Goal("it over ours", "least")],
    ),
    Benchmark("plan.py", ["10000"], ["1000"], [Goal("of the yardstick")]),
    Benchmark(
        "scalars.py", ["--rounds", "3"], ["--scalars", "800", "--rounds", "1"],
        [Goal("it over ours, wall", "one by one$", at_least=50), Goal("it over ours, wall", "log_batch", at_least=1),
         Goal("it over ours, wall", "sacred|wandb|each value")],
    ),
    Benchmark(
        "step.py", ["--rounds", "15"], ["--rounds", "2", "--only", "digits"],
        [Goal(STEP, "xent$|ceb$", at_least=0.97), Goal(STEP, "without the marginal$"), Goal(HEAD, "10x1"),
         Goal(HEAD, "28x10", at_most=1.03)],
    ),
    Benchmark(
        "data.py", ["--repeats", "3"], ["--images", "500", "--repeats", "1"],
        [Goal("ratio, by the clock"), Goal("ratio, of CPU")],
    ),
    Benchmark(
        "pgd.py", ["--images", "64", "--repeats", "5"], ["--images", "4", "--repeats", "2", "--only", "digits"],
        [Goal("ours over the faster", "linf$|l2$", at_least=1)],
    ),
    Benchmark(
        "autoattack.py", ["--images", "100"],
        ["--images", "3", "--only", "small_cnn 8", "--norm", "linf", "--steps", "50"],
        [Goal("theirs over ours", "CIFAR", at_least=3), Goal("theirs over ours", at_least=1)],
    ),
    Benchmark(
        "seeds.py", [], ["--trials", "20", "--images", "100"],
        [Goal(COVERAGE, "least, all", at_least=94), Goal(COVERAGE, "greatest, with 3 seeds", at_most=99),
         Goal(COVERAGE, "greatest, all"), Goal("width over the oracle's")],
    ),
    Benchmark(
        "polling.py", ["--rounds", "3"], ["--runs", "10", "--rounds", "1"],
        [Goal("it over `cebctl status`, wall", "dora", at_least=10), Goal("it over `cebctl status`, wall", "squeue")],
    ),
    Benchmark(
        "corruptions.py", ["--images", "2", "--repeats", "3"],
        ["--images", "2", "--repeats", "1", "--only", "pixelate"],
        [Goal("ours over it", "all of those")],
    ),
]  # fmt: skip


@dataclass
class Found:
    """What a benchmark's goals came to."""

    ratios: dict[str, Ratio] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    """What could not be measured here."""


def main() -> None:
    """Measure what was asked for. Exit code 1 if a benchmark fails or, tiny, prints neither a ratio nor what it lacks;
    never because of a goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="scripts with this in their names")
    parser.add_argument("--smoke", action="store_true")
    asked = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is started must not be compiled every time
    chosen = [one for one in BENCHMARKS if asked.only in one.script]
    if asked.smoke:
        sys.exit(_smoke(chosen))
    for benchmark in chosen:
        print(f"\n{' '.join(['python', f'benchmarks/{benchmark.script}', *benchmark.arguments])}\n", flush=True)
        found = _read(benchmark, _run(benchmark))
        before = _newest().get(benchmark.script)
        _append(benchmark, found)
        print("\n" + _table([(benchmark, _newest()[benchmark.script], before)]), flush=True)
        _write()


def _run(benchmark: Benchmark) -> str:
    """What a script prints, shown while it does."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, str(HERE / benchmark.script), *benchmark.arguments]
    lines = []
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        sys.exit(f"{benchmark.script}: exit code {process.returncode}")
    return "".join(lines)


def _smoke(chosen: list[Benchmark]) -> int:
    """Run all in this process, which imports what they need once."""
    sys.path.insert(0, str(ROOT))
    failed = 0
    for benchmark in chosen:
        out, began = io.StringIO(), time.perf_counter()
        sys.argv = [benchmark.script, *benchmark.smoke]
        with contextlib.redirect_stdout(out):
            runpy.run_path(str(HERE / benchmark.script), run_name="__main__")
        found = _read(benchmark, out.getvalue())
        failed += not (found.ratios or found.absent)
        said = f"{len(found.ratios)} ratios" if found.ratios else "no ratio"
        absent = f"; not here: {'; '.join(found.absent)}" if found.absent else ""
        print(f"{benchmark.script}: {said} in {time.perf_counter() - began:.1f} s{absent}", flush=True)
    return int(failed > 0)


def _read(benchmark: Benchmark, text: str) -> Found:
    """What a script's tables hold."""
    found = Found()
    for cells in rows(text):
        columns = list(cells)
        first = next((at for at, column in enumerate(columns) if at and Ratio.read(cells[column])), len(columns))
        name = ", ".join(cell for cell in list(cells.values())[:first] if cell not in ("", "not installed"))
        absent = [at for at, column in enumerate(columns) if cells[column] == "not installed"]
        found.absent += [name if at < first else f"{columns[at]}, {name}" for at in absent]
        for goal in benchmark.goals:
            if re.search(goal.rows, name) and (ratio := Ratio.read(cells.get(goal.column, ""))):
                found.ratios[f"{name}: {goal.column}"] = ratio
    return found


def _append(benchmark: Benchmark, found: Found) -> None:
    """A line of the history for what one script said."""
    entry = {
        "benchmark": benchmark.script,
        "arguments": " ".join(benchmark.arguments),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": machine(),
        "versions": versions(*PACKAGES),
        "ratios": {name: [ratio.median, ratio.low, ratio.high] for name, ratio in found.ratios.items()},
        "absent": found.absent,
    }
    with HISTORY.open("a") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def _entries() -> list[Entry]:
    return [json.loads(line) for line in HISTORY.read_text().splitlines()] if HISTORY.exists() else []


def _newest() -> dict[str, Entry]:
    """The newest entry of each script."""
    return {entry["benchmark"]: entry for entry in _entries()}


def _table(entries: list[tuple[Benchmark, Entry, Entry | None]]) -> str:
    """The ratios of these entries, each with what is asked for and what another entry had."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        head("benchmark", "what", "figure", "median (range)", "asked for", "met", "before", words=3)
        for benchmark, entry, before in entries:
            for name, numbers in entry["ratios"].items():
                what, _, column = name.rpartition(": ")
                asked = [one for one in benchmark.goals if one.column == column and re.search(one.rows, what)]
                if not asked:  # the goals are others now
                    continue
                [goal, *_], ratio, had = asked, Ratio(*numbers), before["ratios"].get(name) if before else None
                show = Ratio.seconds if column.endswith((", s", ", %")) else str
                change = f"{show(Ratio(*had))} ({ratio.median / had[0] - 1:+.0%})" if had else ""
                row(benchmark.script, what, column, show(ratio), goal, goal.held(ratio), change)
            for name in entry["absent"]:
                row(benchmark.script, name, "", "not installed", "", "", "")
    return out.getvalue()


def _write() -> None:
    """Put the newest ratio of everything into the README, with the last one before it."""
    history = _entries()
    newest = _newest()
    entries = []
    for benchmark in BENCHMARKS:
        if benchmark.script in newest:
            mine = [entry for entry in history if entry["benchmark"] == benchmark.script]
            entries.append((benchmark, mine[-1], mine[-2] if len(mine) > 1 else None))
    lines = []
    for one, entry, _ in entries:
        call = " ".join([one.script, entry["arguments"]]).strip()
        lines.append(f"`{call}`: {entry['date'][:10]}, commit {entry['commit']}; {entry['machine']}.")
    lines.append(", ".join(f"{name} {number}" for name, number in entries[-1][1]["versions"].items()) + ".")
    listed = "\n".join(textwrap.fill(f"- {line}", 128, subsequent_indent="  ") for line in lines)
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n{_table(entries)}\n{listed}\n\n{END}{after}")


def _commit() -> str:
    """Of the checkout, with a + if it holds changes."""
    git = ["git", "-C", str(ROOT)]
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # not a hook's repository
    arguments = ["describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run([*git, *arguments], env=own, capture_output=True, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
