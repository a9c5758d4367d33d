"""One run, found by the beginning of its id."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from experiments.errors import InputError
from jobs.home import Home, RunPaths
from store import queries
from store.ingest import ingest
from store.opening import Store
from store.rows import JobRow, ResultRow, RunRow


@dataclass(frozen=True)
class OneRun:
    """Everything the store knows about one run."""

    run: RunRow
    jobs: tuple[JobRow, ...]
    results: tuple[ResultRow, ...]
    paths: RunPaths

    def to_json(self) -> dict[str, Any]:
        """Spec, attempts and results, as the store names them."""
        results = [{k: v for k, v in asdict(row).items() if k != "per_sample"} for row in self.results]
        return {
            **asdict(self.run),
            "folder": str(self.paths.folder),
            "jobs": [asdict(job) for job in self.jobs],
            "results": results,
        }


def find(text: str, store: Store, home: Home) -> OneRun:
    """The run whose id begins with `text`, or that has this name. Raises InputError if none or several do."""
    ingest(store, home)
    known = queries.runs(store)
    found = [row for row in known if row.run_id.startswith(text) or row.label == text]
    if not found:
        wrong = f"none of the {len(known)} runs of {home.folder} has such an id or name"
        raise InputError(f"run {text!r}", wrong, _closest(text, known))
    if len(found) > 1:
        names = ", ".join(f"{row.run_id} ({row.label})" for row in found[:5])
        raise InputError(f"run {text!r}", f"it could be any of {len(found)}", f"{names}{', …' * (len(found) > 5)}")
    run_id = found[0].run_id
    return OneRun(
        found[0], tuple(queries.jobs(store, [run_id])), tuple(queries.results(store, [run_id])), home.run(run_id)
    )


def _closest(text: str, known: Sequence[RunRow]) -> str:
    """The run that may have been meant, or where all stand."""
    names = {name: row for row in known for name in (row.label, row.run_id, row.run_id[: len(text)])}
    if close := difflib.get_close_matches(text, names, n=1):
        return f"did you mean {names[close[0]].run_id} ({names[close[0]].label})?"
    return "`cebctl status MATRIX` lists a matrix's runs" if known else ""
