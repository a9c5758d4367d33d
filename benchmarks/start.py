"""How long `cebctl --help` and `cebctl plan` of 86 runs take, against bare Python and others' `--help`.

    python benchmarks/start.py [--rounds 11]

Needs the others' commands beside this Python (`make bench` sees to that); one that is not there is named. Each command
is a process of its own, in turn; its CPU seconds are what the kernel counted. sqlite-utils stands alone in an
environment of its own, because it imports pandas where there is one. The store is empty, no Slurm is asked.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import ROOT, Ratio, both_seconds, head, in_turn, row

BIN = Path(sys.executable).parent
OURS = "`cebctl --help`"
COMMANDS: dict[str, list[str | Path]] = {
    OURS: [BIN / "cebctl", "--help"],
    "`CEBCTL_PLAIN=1 cebctl --help`": ["/usr/bin/env", "CEBCTL_PLAIN=1", BIN / "cebctl", "--help"],
    "`python -c pass`": [sys.executable, "-c", "pass"],
    "`sqlite-utils --help`": [Path(sys.prefix) / "sqlite-utils" / "bin" / "sqlite-utils", "--help"],
    "`dora --help`": [BIN / "dora", "--help"],
    "`seml --help`": [BIN / "seml", "--help"],
    "`mlflow --help`": [BIN / "mlflow", "--help"],
    "`cebctl plan`, 86 runs": [BIN / "cebctl", "plan", ROOT / "experiments" / "imagenet.yaml"],
}


def main() -> None:
    """A table row for each command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=11)
    asked = parser.parse_args()
    there = {name: command for name, command in COMMANDS.items() if Path(command[0]).exists()}
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"CEBCTL_HOME": folder, "SLURM_CONF": "/dev/null", "CEBCTL_ON": "local"}
        environment.pop("CEBCTL_STORE", None)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # the round before the first compiles

        def run(command: list[str | Path]) -> tuple[float, float]:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            return both_seconds(lambda: subprocess.run(command, env=environment, check=True, **quiet))

        measured = in_turn([lambda command=command: run(command) for command in there.values()], asked.rounds)
    found = dict(zip(there, measured, strict=True))
    head("command", "wall, s", "CPU, s", f"{OURS} over it, CPU", "wall")
    for name in COMMANDS:
        if name not in found:
            row(name, "not installed", "", "", "")
            continue
        wall, cpu = zip(*found[name], strict=True)
        our_wall, our_cpu = zip(*found[OURS], strict=True)
        ratios = [Ratio.of(our_cpu, cpu), Ratio.of(our_wall, wall)] if name != OURS else ["", ""]
        row(name, Ratio.around(wall).seconds(), Ratio.around(cpu).seconds(), *ratios)


if __name__ == "__main__":
    main()
