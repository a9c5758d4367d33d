"""Submitting to Slurm and looking at the queue, on a real one-machine Slurm and beyond it.

    python benchmarks/slurm.py [--peers]

What is measured is wall time of whole commands, `cebctl submit` and `cebctl status`, start-up included; nodes are
drained, so that the queue holds still. 10,000 runs go to a fake `sbatch` that only counts. With --peers the same
arrays are sent bare, by one `sbatch` of a script that does nothing, as the floor.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "slurm"))

from lab import Lab, Settings  # noqa: E402

MATRIX = """
base: {{data: digits, network: {{name: small_cnn, width: 4, z_dim: 4}}, optimiser: adam, epochs: 1, batch: 256}}
grids: [{{objective: xent, seed: [{seeds}]}}]
evaluate: [clean]
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", action="store_true")
    peers = parser.parse_args().peers
    print("| what | runs | stages | sbatch calls | seconds | calls to Slurm | files in the home |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, Lab(Settings(conf={"MaxJobCount": 100_000})) as lab:
        lab.run("scontrol", "update", "NodeName=ALL", "State=DRAIN", "Reason=benchmark")
        for runs in (86, 1000):
            _measure(lab.env, Path(folder) / str(runs), runs, "real")
            if peers:
                began = time.perf_counter()
                lab.run("sbatch", f"--array=0-{runs - 1}", "--wrap", "true", "--output=/dev/null")
                print(f"| one bare sbatch | {runs} | {runs} | 1 | {time.perf_counter() - began:.2f} | | |")
            lab.cancel_all()
        _measure(lab.env, Path(folder) / "10000", 10_000, "counted")


def _measure(environment: dict[str, str], folder: Path, runs: int, slurm: str) -> None:
    folder.mkdir()
    matrix = folder / "m.yaml"
    matrix.write_text(MATRIX.format(seeds=", ".join(map(str, range(runs)))))
    calls = folder / "calls"
    programs = _counting(folder, calls, fake_sbatch=slurm == "counted")
    given = environment | {
        "PATH": f"{programs}:{environment['PATH']}",
        "PYTHONPATH": str(ROOT),
        "CEBCTL_HOME": str(folder / "home"),
        "CEBCTL_SLURM_SECONDS": "0",
    }
    label = "real Slurm" if slurm == "real" else "an sbatch that only counts"
    for command in (["submit", "--on", "slurm"], ["status"]) if slurm == "real" else (["submit", "--on", "slurm"],):
        calls.unlink(missing_ok=True)
        began = time.perf_counter()
        whole = [sys.executable, "-m", "cebctl.app", command[0], str(matrix), *command[1:]]
        done = subprocess.run(whole, env=given, capture_output=True, text=True)
        seconds = time.perf_counter() - began
        if done.returncode:
            sys.exit(f"cebctl {command[0]}: {done.stderr}")
        said = calls.read_text().split()
        files = sum(1 for path in (folder / "home").rglob("*") if path.is_file())
        print(
            f"| `{command[0]}`, {label} | {runs} | {2 * runs} | {said.count('sbatch')} | {seconds:.2f} | "
            f"{len(said)} | {files} |",
            flush=True,
        )


def _counting(folder: Path, calls: Path, *, fake_sbatch: bool) -> Path:
    """Slurm's commands, each of which leaves a word in a file before it acts."""
    programs = folder / "bin"
    programs.mkdir()
    for name in ("sbatch", "squeue", "sacct", "scontrol", "sinfo", "sacctmgr"):
        real = subprocess.run(["which", name], capture_output=True, text=True).stdout.strip()
        act = "echo $$" if fake_sbatch and name == "sbatch" else f'exec {real} "$@"'
        (programs / name).write_text(f"#!/bin/sh\necho {name} >> {calls}\n{act}\n")
        (programs / name).chmod(0o755)
    return programs


if __name__ == "__main__":
    os.environ.pop("CEBCTL_STORE", None)
    main()
