"""What `cebctl plan` costs for large matrices, beyond start-up: CPU seconds and memory.

    python benchmarks/plan.py [RUNS …]        default 1000 10000 100000

Each size is a process of its own: it reads and expands the matrix, looks into an empty store, costs every run, builds
the arrays and families, and prints the plan to a file. The yardstick, in the same process, is the least that any
planner with ids by content has to do: the product of the axes as dicts, canonical JSON of each, SHA-256.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import head, row, seconds

MATRIX = """
base: {{data: cifar10, network: {{name: wide_resnet, blocks: 4, width: 10}}, optimiser: adam, epochs: 9, batch: 100}}
grids:
  - objective: [ceb, vib]
    rho: {{from: 1, to: {rhos}, by: 1}}
    lr: [1e-3, 1e-2]
    seed: {{from: 0, to: 24, by: 1}}
evaluate:
  - clean
  - pgd: {{norm: linf, eps: [2/255, 8/255]}}
"""
RUNS_PER_RHO = 100


def measure(runs: int) -> dict[str, Any]:
    """One size, in this process."""
    from cebctl.planning.plan import make_plan
    from cebctl.render import plan_view
    from experiments.matrix.load import load
    from jobs.paths import Home

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.yaml"
        path.write_text(MATRIX.format(rhos=1))
        with contextlib.redirect_stdout(io.StringIO()):  # start-up: every import, and what is made once
            plan_view.print_plan(make_plan(load(path), Home(Path(folder) / "home")))
        path.write_text(MATRIX.format(rhos=runs // RUNS_PER_RHO))
        start_memory, start = _now_mb(), time.process_time()
        matrix = load(path)
        expanded = time.process_time()
        plan = make_plan(matrix, Home(Path(folder) / "home"))
        with contextlib.redirect_stdout(io.StringIO()):
            plan_view.print_plan(plan)
        done = time.process_time()
        assert len({run.run_id for run in matrix.runs}) == runs
    peak = _peak_mb()
    return {
        "runs": runs,
        "expand": expanded - start,
        "plan": done - start,
        "memory": peak - start_memory,
        "yardstick": seconds(lambda: yardstick(runs)),
    }


def yardstick(runs: int) -> int:
    """The least possible work; how many ids there are."""
    ids = set()
    axes = itertools.product(("ceb", "vib"), range(1, 1 + runs // RUNS_PER_RHO), (1e-3, 1e-2), range(25))
    for objective, rho, lr, seed in axes:
        spec = {
            "data": {"name": "cifar10", "train_subset": None, "augment": {"name": "none"}},
            "network": {"name": "wide_resnet", "blocks": 4, "width": 10, "norm": "none", "z_dim": None,
                        "init": "scaled"},
            "objective": {
                "name": objective, "rho": rho, "jump_start": {"name": "none"},
                "marginal": {"components": None, "marginal_lr": 0.01},
            },
            "optimiser": {"name": "adam", "lr": lr, "weight_decay": 0.0},
            "schedule": {"warmup_epochs": 0.0, "drops": [], "factor": 0.1},
            "adversary": {"name": "none"}, "epochs": 9.0, "batch": 100, "precision": "fp32", "seed": seed,
        }  # fmt: skip
        ids.add(hashlib.sha256(json.dumps(spec, sort_keys=True, separators=(",", ":")).encode()).hexdigest())
    return len(ids)


def _now_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """A table row for each size."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(int(sys.argv[2]))))
        return
    head("runs", "expand, s", "plan in all, s", "of the yardstick", "memory, MB", "kB/run", words=0)
    for runs in [int(size) for size in sys.argv[1:]] or [1_000, 10_000, 100_000]:
        done = subprocess.run([sys.executable, __file__, "--one", str(runs)], capture_output=True, check=True)
        found = json.loads(done.stdout)
        ratio, per_run = found["plan"] / found["yardstick"], found["memory"] / runs * 1024
        spent = (f"{found[part]:.2f}" for part in ("expand", "plan"))
        row(f"{runs:,}", *spent, f"{ratio:.1f}x", f"{found['memory']:.0f}", f"{per_run:.1f}")


if __name__ == "__main__":
    main()
