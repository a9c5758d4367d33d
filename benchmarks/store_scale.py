"""The store at size: how fast journals are read into it, and what `status` and `report` cost on it.

    python benchmarks/store_scale.py --runs 1000 --rows 10000000 --repeats 5

Writes the journals that a finished matrix of that many runs leaves, then runs the real commands in processes of
their own and reads from the kernel what each used. "Beyond start-up" is the CPU time of a command less that of
the same command on a matrix of one run, which imports and does the same otherwise.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from experiments.identity import evaluation_id
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix, PlannedRun
from jobs.journal.records import (
    AnyRecord,
    Claim,
    Heartbeat,
    Measure,
    Metrics,
    Result,
    Started,
    Submitted,
    Succeeded,
)
from jobs.paths import Home

ROOT = Path(__file__).parents[1]
NAMES = ("loss", "cross_entropy", "residual_information", "rate", "accuracy", "learning_rate", "rho", "gradient_norm")
SEEDS = 10
MATRIX = """
base: {{data: digits, network: small_cnn, optimiser: adam, epochs: 60, batch: 128, objective: ceb}}
grids:
  - rho: {{from: 0, by: 0.01, to: {last:.2f}}}
seeds: {seeds}
evaluate: [clean, information, pgd: {{norm: linf, eps: [0.05, 0.1, 0.15]}}]
"""

INGEST = """
import sys, time
from pathlib import Path
from jobs.paths import Home
from store.ingest import ingest
from store.connect import open_store
home = Home(Path(sys.argv[1]))
with open_store(home.store_url) as store:
    cpu, wall = time.process_time(), time.perf_counter()
    ingest(store, home)
    print(time.process_time() - cpu, time.perf_counter() - wall)
"""


@dataclass(frozen=True)
class Used:
    """What a process used."""

    out: str
    cpu: float
    """Seconds, of user and system."""
    memory: float
    """MB at its peak."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=1000, help=f"a multiple of {SEEDS}")
    arguments.add_argument("--rows", type=int, default=10_000_000, help="of metrics, in all runs together")
    arguments.add_argument("--repeats", type=int, default=5, help="of each command")
    arguments.add_argument("--ingests", type=int, default=1, help="how often to read all journals into a new store")
    arguments.add_argument("--folder", type=Path, help="where the home is made and stays; default: a temporary one")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        home, matrix = Home(folder / "home"), write_matrix(folder / "large.yaml", options.runs)
        if not home.folder.exists():
            write_home(home, matrix, options.rows)
        for _ in range(options.ingests):
            measure_ingest(home, options.rows)
        one, little = write_matrix(folder / "one.yaml", 1), Home(folder / "little")
        write_home(little, one, len(NAMES))
        for command in (["status"], ["status", "--json"], ["report"], ["report", "--json"]):
            measure_command(command, matrix.path, home, one.path, little, options.repeats)


def write_matrix(path: Path, runs: int) -> Matrix:
    """A matrix of that many runs: one, or a multiple of `SEEDS`."""
    seeds = min(SEEDS, runs)
    path.write_text(MATRIX.format(last=(runs // seeds - 1) / 100, seeds=list(range(seeds))))
    return load(path)


def write_home(home: Home, matrix: Matrix, rows: int) -> None:
    """What a finished matrix leaves, without its checkpoints."""
    steps = rows // len(matrix.runs) // len(NAMES)
    records: list[AnyRecord] = [
        Metrics(step=10 * step, epoch=step / 100, values={name: random.random() for name in NAMES})
        for step in range(steps)
    ]
    points = lines(records)  # encoded once: what is measured is the reading
    submitted = Submitted(name="s1", matrix="large", matrix_path=str(matrix.path), executor="local", code="c")
    claims = [claim(planned, stage) for planned in matrix.runs for stage in ("train", "evaluate")]
    write(home.submission("s1"), lines([submitted, *claims]))
    for planned in matrix.runs:
        paths = home.run(planned.run_id)
        begun = lines([Started(submission="s1", host="h", pid=1)])
        ended = lines([Heartbeat(step=10 * steps, steps=10 * steps, epoch=60, epochs=60), Succeeded()])
        write(paths.journal("train", 1), begun + points + ended)
        write(paths.journal("evaluate", 1), begun + lines([*results(planned), Succeeded()]))


def claim(planned: PlannedRun, stage: str) -> Claim:
    benchmarks = list(planned.benchmarks) if stage == "evaluate" else []
    spec = msgspec.to_builtins(planned.run)
    return Claim(run_id=planned.run_id, label=planned.name, stage=stage, spec=spec, benchmarks=benchmarks)


def results(planned: PlannedRun) -> list[AnyRecord]:
    return [
        Result(
            evaluation_id=evaluation_id(benchmark, planned.run.data.name),
            benchmark=benchmark,
            data_digest="d",
            checkpoint_step=10,
            engine="x",
            measures=[
                Measure(name="clean", unit="accuracy", total=10_000, correct=random.randrange(10_000)),
                Measure(name="rate", unit="nats", total=10_000, value=random.random(), std=0.1),
            ],
            per_sample="x" * 1600,
        )
        for benchmark in planned.benchmarks
    ]


def lines(records: list[AnyRecord]) -> bytes:
    return b"".join(msgspec.json.encode(record) + b"\n" for record in records)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def measure_ingest(home: Home, rows: int) -> None:
    for path in home.folder.glob("store.sqlite*"):
        path.unlink()
    used = run(["-c", INGEST, str(home.folder)], home)
    cpu, wall = map(float, used.out.split())
    size = (home.folder / "store.sqlite").stat().st_size
    print(
        f"ingest of {rows:,} metric rows: {cpu:.1f} s CPU, {wall:.1f} s wall, {rows / cpu:,.0f} rows/s of CPU, "
        f"{rows / wall:,.0f} rows/s, {used.memory:.0f} MB, store {size / 1e6:,.0f} MB",
        flush=True,
    )


def measure_command(command: list[str], large: Path, home: Home, one: Path, little: Home, repeats: int) -> None:
    name, *flags = command
    run(["-m", "cebctl.app", name, str(one), *flags], little)  # reads the journals
    there = [run(["-m", "cebctl.app", name, str(large), *flags], home) for _ in range(repeats)]
    nothing = [run(["-m", "cebctl.app", name, str(one), *flags], little) for _ in range(repeats)]
    start = statistics.median(used.cpu for used in nothing)
    beyond = [used.cpu - start for used in there]
    print(
        f"{' '.join(command)}: {statistics.median(beyond):.2f} s CPU beyond start-up "
        f"({min(beyond):.2f} … {max(beyond):.2f} in {repeats}), start-up {start:.2f} s, "
        f"{max(used.memory for used in there):.0f} MB (start-up {max(used.memory for used in nothing):.0f})",
        flush=True,
    )


def run(arguments: list[str], home: Home) -> Used:
    """Run Python and ask the kernel what it used."""
    environment = os.environ | {"CEBCTL_HOME": str(home.folder), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("CEBCTL_STORE", None)
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([sys.executable, *arguments], env=environment, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{arguments}: exit code {process.returncode}")
        out.seek(0)
        return Used(out.read(), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


if __name__ == "__main__":
    began = time.perf_counter()
    main()
    print(f"{time.perf_counter() - began:.0f} s in all")
