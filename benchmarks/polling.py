"""A look at 1,000 runs in a Slurm's queue: `cebctl status` against `dora grid`, on the same cluster.

    python benchmarks/polling.py [--runs 1000] [--rounds 5]

A real one-machine Slurm with accounting, which dora's look needs (`sacct`, through submitit's watcher), and its nodes
drained, so that the queue holds still. Whole commands by the clock, start-up included, in turn: `cebctl status` of runs
that `cebctl submit` sent; `dora grid --no_monitor` of as many experiments, once sent as a job each, which is dora's
default, and once as job arrays. A call of `squeue` for all is the floor. Without dora that alone is compared with.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import ROOT, Ratio, both_seconds, head, in_turn, row, version

sys.path.insert(0, str(ROOT / "tests" / "slurm"))

from lab import Lab, Settings, missing
from slurm import MATRIX

TRAIN = """
import argparse
from dora import argparse_main

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=-1)

@argparse_main(parser, dir={folder!r})
def main():
    pass
"""
ONE_BY_ONE = """
from dora import Explorer

@Explorer
def explorer(launcher):
    launcher.slurm_(gpus=0, mem_per_gpu=0, cpus_per_gpu=1, partition="gpu", time=60)
    for seed in range({runs}):
        launcher(seed=seed)
"""
IN_ARRAYS = """
from dora import Explorer

@Explorer
def explorer(launcher):
    launcher.slurm_(gpus=0, mem_per_gpu=0, cpus_per_gpu=1, partition="gpu", time=60)
    with launcher.job_array():
        for seed in range({runs}, 2 * {runs}):
            launcher(seed=seed)
"""


def main() -> None:
    """A table row for ours and for each way to look."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    dora = version("dora-search")
    if absent := missing(accounting=bool(dora)):
        head("look", "runs")
        row(f"Slurm ({', '.join(absent)})", "not installed")
        return
    with tempfile.TemporaryDirectory() as temporary, Lab(Settings(accounting=bool(dora))) as lab:
        folder = Path(temporary)
        lab.run("scontrol", "update", "NodeName=ALL", "State=DRAIN", "Reason=benchmark")
        environment = lab.env | {"CEBCTL_HOME": str(folder / "home"), "PYTHONPATH": f"{ROOT}:{folder}"}
        environment.pop("CEBCTL_STORE", None)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        matrix = folder / "m.yaml"
        matrix.write_text(MATRIX.format(seeds=", ".join(map(str, range(asked.runs)))))
        cebctl = [sys.executable, "-m", "cebctl.app"]
        _run([*cebctl, "submit", str(matrix), "--on", "slurm"], folder, environment)
        commands = {"`cebctl status`": [*cebctl, "status", str(matrix)]}
        if dora:
            _write_grids(folder, asked.runs)
            for name, grid in (("a job each", "one_by_one"), ("job arrays", "in_arrays")):
                commands[f"`dora grid`, {name}"] = look = [
                    *(sys.executable, "-m", "dora", "-P", "work", "grid", grid, "--no_monitor"),
                ]
                _run(look, folder, environment)  # sends them
        commands["`squeue`, one call"] = ["squeue", "--noheader", "--array"]
        ways = [lambda command=command: _timed(command, folder, environment) for command in commands.values()]
        found = dict(zip(commands, in_turn(ways, asked.rounds), strict=True))
    head("look", "runs", "wall, s", "CPU, s", "it over `cebctl status`, wall")
    ours, _ = zip(*found["`cebctl status`"], strict=True)
    for name, spent in found.items():
        wall, cpu = zip(*spent, strict=True)
        ratio = Ratio.of(wall, ours) if wall != ours else ""
        row(name, f"{asked.runs:,}", Ratio.around(wall).seconds(), Ratio.around(cpu).seconds(), ratio)
    if not dora:
        row("dora", "not installed", "", "", "")


def _write_grids(folder: Path, runs: int) -> None:
    package = folder / "work"
    for path, text in {
        "__init__.py": "",
        "train.py": TRAIN.format(folder=str(folder / "dora")),
        "grids/__init__.py": "",
        "grids/one_by_one.py": ONE_BY_ONE.format(runs=runs),
        "grids/in_arrays.py": IN_ARRAYS.format(runs=runs),
    }.items():
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).write_text(text)


def _timed(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[float, float]:
    return both_seconds(lambda: _run(command, folder, environment))


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr.strip()}")


if __name__ == "__main__":
    os.environ.pop("CEBCTL_STORE", None)
    main()
