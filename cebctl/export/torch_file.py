"""The export of one trained network to a file that torch alone can run, by `torch.export`."""

from __future__ import annotations

from pathlib import Path

from cebctl.status.home_matrix import load
from cebctl.trained_model import find_run_paths
from experiments.errors import InputError
from experiments.user_paths import check_file
from jobs.paths import Home, RunPaths


def export_network(run: str, only: str | None, home: Home, out: Path) -> str:
    """Write the network of a run, by id, by name, or by a matrix and a selection that leaves one run; return its id.

    Raises InputError if that is no run or several, if it is not trained, or if the file exists.
    """
    paths = _find(run, only, home)
    check_file(out)
    if out.exists():
        raise InputError(out, "is there already", "name another file")
    from jobs.engine import classifier  # torch takes seconds to import

    network = classifier.load(paths)
    out.parent.mkdir(parents=True, exist_ok=True)
    classifier.export(network, out)
    return paths.run_id


def _find(run: str, only: str | None, home: Home) -> RunPaths:
    if not run.endswith((".yaml", ".yml")):
        if only is not None:
            raise InputError("--only", "selects among the runs of a matrix", f"name one instead of {run!r}")
        return find_run_paths(run, home)
    matrix = load(Path(run), home).select(only)
    if len(matrix.runs) != 1:
        names = ", ".join([run.name for run in matrix.runs[:3]] + ["…"] * (len(matrix.runs) > 3))
        raise InputError("--to torch", f"is of one run, and these are {len(matrix.runs)}: {names}", "--only leaves one")
    return home.run(matrix.runs[0].run_id)
