"""Jobs that Slurm holds; that a real one does so, and lets go, is in tests/slurm."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from cebctl.status.collect import load_observations, open_home, run_ids_with_dependencies
from cebctl.submission import release_held
from experiments.matrix.load import load
from jobs.journal.files import Journal
from jobs.journal.records import Claim, Submitted
from jobs.paths import Home

MATRIX = """
base: {data: digits, network: small_cnn, optimiser: adam, epochs: 1, batch: 8}
grids: [{objective: xent, seed: [0, 1, 2]}]
"""


def test_what_is_let_go_and_what_is_a_colleagues(tmp_path: Path, home: Path, says: Any) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(MATRIX)
    matrix = load(path)
    with Journal(Home(home).submission("s1")) as journal:
        journal.write(Submitted(name="s1", matrix="m", matrix_path=str(path), executor="slurm", code=""))
        for index, run in enumerate(matrix.runs):
            journal.write(
                Claim(
                    run_id=run.run_id,
                    label="",
                    stage="train",
                    spec=msgspec.to_builtins(run.run),
                    job="ceb-s1-train-1",
                    index=index,
                )
            )
    rows = [f"7_{n}|ceb-s1-train-1|PENDING|{why}|0||" for n, why in enumerate(["JobHoldMaxRequeue"] * 2 + ["Priority"])]
    says("squeue", "\n".join(f"echo '{row}'" for row in rows))
    says("scontrol", f"echo $@ >> {tmp_path}/calls; [ $2 = 7_0 ] || {{ echo 'Access/permission denied' >&2; exit 1; }}")
    with open_home(Home(home), create=True) as store:
        claims = load_observations(run_ids_with_dependencies(matrix), store, Home(home)).claims
        released = release_held.release_launch_failed_jobs(chain(*claims.values()))
    assert list(released) == ["7_0", "7_1"] and released["7_0"] == "" and "permission denied" in released["7_1"]
    assert (tmp_path / "calls").read_text().splitlines() == ["release 7_0", "release 7_1"]
