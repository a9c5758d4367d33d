"""One run, found by the beginning of its id or by its name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from cebctl.status import off_target, run_names
from cebctl.status.staleness import ResultDrift, Versions, training_dependencies
from experiments import jump_start_checks
from experiments.errors import InputError
from experiments.spec import Run
from jobs import provenance
from jobs.paths import Home, RunPaths
from store import queries
from store.connect import Store
from store.ingest import ingest
from store.row_types import AttemptRow, ResultRow, RunRow


@dataclass(frozen=True)
class StoredRun:
    """Everything the store knows about one run."""

    run: RunRow
    jobs: tuple[AttemptRow, ...]
    results: tuple[ResultRow, ...]
    paths: RunPaths
    versions: Versions
    off_target: str = ""
    """Of a run that is trained: which rho was in force at its end, if not its spec's."""

    def to_json(self) -> dict[str, Any]:
        """Spec, attempts and results, as the store names them, and how their versions differ from today's."""
        results = [
            {k: v for k, v in asdict(row).items() if k != "per_sample"} | _standing(self.versions.result_drift(row))
            for row in self.results
        ]
        trained = self.versions.training_drift(self.run.run_id)
        return {
            **asdict(self.run),
            "folder": str(self.paths.folder),
            "jobs": [asdict(job) for job in self.jobs],
            "results": results,
            "training": asdict(trained.difference) | {"mixed": trained.mixed},
            "off_target": self.off_target or None,
        }


def _standing(standing: ResultDrift) -> dict[str, Any]:
    total = standing.difference
    return {"stale": bool(total), "changed": sorted({*total.raised, *total.newer})}


def resolve_run(text: str, store: Store, home: Home) -> StoredRun:
    """The run whose id begins with `text`, or that has this name; else the only one whose name begins with its words.

    Raises InputError if none or several do.
    """
    ingest(store, home)
    known = queries.runs(store)
    found = [row for row in known if row.run_id.startswith(text) or row.label == text]
    found = found or [row for row in known if run_names.has_word_prefix(row.label, text)]
    if not found:
        wrong = f"none of the {len(known)} runs of {home.folder} has such an id or name"
        raise InputError(f"run {text!r}", wrong, _closest(text, known))
    if len(found) > 1:
        called = run_names.disambiguate({row.run_id: (row.label, row.spec) for row in found})
        which = run_names.join_truncated(
            [f"{run_id} ({name})" for run_id, name in sorted(called.items(), key=lambda one: one[1])]
        )
        raise InputError(f"run {text!r}", f"it could be any of {len(found)}", which)
    run_id = found[0].run_id
    run, attempts = found[0], queries.attempts(store, [run_id])
    results = queries.results(store, [run_id])
    spec = _spec(run)
    return StoredRun(
        run,
        tuple(attempts),
        tuple(results),
        home.run(run_id),
        _versions(run, spec, results, store),
        _off_target(run, spec, attempts, store),
    )


def _spec(row: RunRow) -> Run | None:
    """Return the spec of a run; None for one that this cebctl can't read, such as a newer one's."""
    try:
        return msgspec.convert(row.spec, Run)
    except msgspec.ValidationError:
        return None


def _versions(row: RunRow, spec: Run | None, results: Sequence[ResultRow], store: Store) -> Versions:
    """Return the versions of a run; what it depends on is not asked of one without a spec."""
    runs = {row.run_id: spec} if spec else {}
    others = training_dependencies(runs, (result.benchmark for result in results))
    attempts = queries.attempts(store, list(dict.fromkeys([row.run_id, *others])))
    return Versions(runs, attempts, provenance.engine_digest())


def _off_target(run: RunRow, spec: Run | None, jobs: Sequence[AttemptRow], store: Store) -> str:
    if spec is None or not any(job.stage == "train" and job.state == "succeeded" for job in jobs):
        return ""
    last = queries.last_metrics(store, "rho", [run.run_id]).get(run.run_id)
    if last is None or jump_start_checks.is_target(spec.objective, last.value):
        return ""
    return f"the target rho was not in force when training ended: it ended at {off_target.last_rho_text(last.value)}"


def _closest(text: str, known: Sequence[RunRow]) -> str:
    """The runs that may have been meant, or where all stand."""
    by_name: dict[str, list[str]] = {}
    for row in known:
        said = f"{row.run_id} ({row.label})"
        for name in dict.fromkeys((row.label, run_names.without_seed(row.label), row.run_id, row.run_id[: len(text)])):
            by_name.setdefault(name, []).append(said)
    close = difflib.get_close_matches(text, by_name, n=1)
    if not close:
        return "`cebctl status MATRIX` lists a matrix's runs" if known else ""
    meant = by_name[close[0]]
    return f"did you mean {'one of ' * (len(meant) > 1)}{run_names.join_truncated(meant)}?"
