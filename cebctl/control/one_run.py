"""One run, found by the beginning of its id or by its name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from cebctl.control import names
from cebctl.control.versions import Standing, Versions, lineage
from experiments.errors import InputError
from experiments.spec import Run
from jobs import provenance
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
    versions: Versions

    def to_json(self) -> dict[str, Any]:
        """Spec, attempts and results, as the store names them, and how their versions differ from today's."""
        results = [
            {k: v for k, v in asdict(row).items() if k != "per_sample"} | _standing(self.versions.of(row))
            for row in self.results
        ]
        trained = self.versions.trained(self.run.run_id)
        return {
            **asdict(self.run),
            "folder": str(self.paths.folder),
            "jobs": [asdict(job) for job in self.jobs],
            "results": results,
            "training": asdict(trained.difference) | {"mixed": trained.mixed},
        }


def _standing(standing: Standing) -> dict[str, Any]:
    total = standing.difference
    return {"stale": bool(total), "changed": sorted({*total.raised, *total.newer})}


def find(text: str, store: Store, home: Home) -> OneRun:
    """The run whose id begins with `text`, or that has this name; else the only one whose name begins with its words.

    Raises InputError if none or several do.
    """
    ingest(store, home)
    known = queries.runs(store)
    found = [row for row in known if row.run_id.startswith(text) or row.label == text]
    found = found or [row for row in known if names.begins(row.label, text)]
    if not found:
        wrong = f"none of the {len(known)} runs of {home.folder} has such an id or name"
        raise InputError(f"run {text!r}", wrong, _closest(text, known))
    if len(found) > 1:
        called = names.told_apart({row.run_id: (row.label, row.spec) for row in found})
        which = names.listed([f"{run_id} ({name})" for run_id, name in sorted(called.items(), key=lambda one: one[1])])
        raise InputError(f"run {text!r}", f"it could be any of {len(found)}", which)
    run_id = found[0].run_id
    attempts, results = queries.jobs(store, [run_id]), queries.results(store, [run_id])
    return OneRun(found[0], tuple(attempts), tuple(results), home.run(run_id), _versions(found[0], results, store))


def _versions(row: RunRow, results: Sequence[ResultRow], store: Store) -> Versions:
    """Return the versions of a run; what it depends on is not asked of one that this cebctl can't read."""
    try:
        runs = {row.run_id: msgspec.convert(row.spec, Run)}
    except msgspec.ValidationError:
        runs = {}
    others = lineage(runs, (result.benchmark for result in results))
    attempts = queries.jobs(store, list(dict.fromkeys([row.run_id, *others])))
    return Versions(runs, attempts, provenance.engine_digest())


def _closest(text: str, known: Sequence[RunRow]) -> str:
    """The runs that may have been meant, or where all stand."""
    by_name: dict[str, list[str]] = {}
    for row in known:
        said = f"{row.run_id} ({row.label})"
        for name in dict.fromkeys((row.label, names.without_seed(row.label), row.run_id, row.run_id[: len(text)])):
            by_name.setdefault(name, []).append(said)
    close = difflib.get_close_matches(text, by_name, n=1)
    if not close:
        return "`cebctl status MATRIX` lists a matrix's runs" if known else ""
    meant = by_name[close[0]]
    return f"did you mean {'one of ' * (len(meant) > 1)}{names.listed(meant)}?"
