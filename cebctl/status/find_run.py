"""The resolution of a run by the beginning of its id or by its name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cebctl.status import off_target, run_names
from cebctl.status.staleness import Versions, training_dependencies
from experiments import jump_start_checks
from experiments.errors import InputError
from experiments.spec import Run, read_run
from jobs import provenance
from jobs.paths import Home, RunPaths
from store import queries
from store.connect import Store
from store.ingest import ingest
from store.row_types import AttemptRow, ResultRow, RunRow


@dataclass(frozen=True)
class StoredRun:
    """The rows of the store about one run."""

    run: RunRow
    jobs: tuple[AttemptRow, ...]
    results: tuple[ResultRow, ...]
    paths: RunPaths
    versions: Versions
    off_target: str = ""
    """For a trained run: which rho was in force at its end, if not its spec's."""

    def to_json(self) -> dict[str, Any]:
        """Return spec, attempts and results under the store's names, and how their versions differ from today's."""
        results = []
        for row in self.results:
            difference = self.versions.result_drift(row).difference
            stale = {"stale": bool(difference), "changed": sorted({*difference.raised, *difference.newer})}
            results.append({key: value for key, value in asdict(row).items() if key != "per_sample"} | stale)
        drift = self.versions.training_drift(self.run.run_id)
        return {
            **asdict(self.run),
            "folder": str(self.paths.folder),
            "jobs": [asdict(job) for job in self.jobs],
            "results": results,
            "training": asdict(drift.difference) | {"mixed": drift.mixed},
            "off_target": self.off_target or None,
        }


def resolve_run(text: str, store: Store, home: Home) -> StoredRun:
    """Return the run whose id begins with `text` or whose name it is; else the one whose name begins with its words.

    Raises InputError if that is none, or several.
    """
    ingest(store, home)
    runs = queries.runs(store)
    run_id = find_run_id(text, {row.run_id: (row.label, row.spec) for row in runs}, home.folder)
    run = next(row for row in runs if row.run_id == run_id)
    attempts = queries.attempts(store, [run_id])
    results = queries.results(store, [run_id])
    spec = read_run(run.spec)
    return StoredRun(
        run,
        tuple(attempts),
        tuple(results),
        home.run(run_id),
        _versions(run, spec, results, store),
        _off_target(run, spec, attempts, store),
    )


def find_run_id(text: str, runs: Mapping[str, tuple[str, run_names.Spec]], place: Path) -> str:
    """Return the id that begins with `text` or whose name it is; else the one whose name begins with its words.

    `runs` are names and specs by id, of the home or the matrix at `place`. Raises InputError if that is none, or
    several.
    """
    matches = [run_id for run_id, (name, _) in runs.items() if run_id.startswith(text) or name == text]
    matches = matches or [run_id for run_id, (name, _) in runs.items() if run_names.has_word_prefix(name, text)]
    if not matches:
        wrong = f"none of the {len(runs)} runs of {place} has such an id or name"
        raise InputError(f"run {text!r}", wrong, _suggestion(text, runs))
    if len(matches) > 1:
        names = run_names.disambiguate({run_id: runs[run_id] for run_id in matches})
        ordered = sorted(names.items(), key=lambda item: item[1])
        candidates = run_names.join_truncated([f"{run_id} ({name})" for run_id, name in ordered])
        raise InputError(f"run {text!r}", f"it could be any of {len(matches)}", candidates)
    return matches[0]


def _versions(row: RunRow, spec: Run | None, results: Sequence[ResultRow], store: Store) -> Versions:
    """Return the versions of a run, and with a spec of those that it depends on."""
    runs = {row.run_id: spec} if spec else {}
    dependencies = training_dependencies(runs, (result.benchmark for result in results))
    attempts = queries.attempts(store, list(dict.fromkeys([row.run_id, *dependencies])))
    return Versions(runs, attempts, provenance.engine_digest())


def _off_target(run: RunRow, spec: Run | None, jobs: Sequence[AttemptRow], store: Store) -> str:
    if spec is None or not any(job.stage == "train" and job.state == "succeeded" for job in jobs):
        return ""
    last = queries.last_metrics(store, "rho", [run.run_id]).get(run.run_id)
    if last is None or jump_start_checks.is_target(spec.objective, last.value):
        return ""
    return f"the target rho was not in force when training ended: it ended at {off_target.last_rho_text(last.value)}"


def _suggestion(text: str, runs: Mapping[str, tuple[str, run_names.Spec]]) -> str:
    """Return the runs that the user may have meant, or the command that lists all of them."""
    by_name: dict[str, list[str]] = {}
    for run_id, (label, _) in runs.items():
        described = f"{run_id} ({label})"
        for name in dict.fromkeys((label, run_names.without_seed(label), run_id, run_id[: len(text)])):
            by_name.setdefault(name, []).append(described)
    close = difflib.get_close_matches(text, by_name, n=1)
    if not close:
        return "`cebctl status MATRIX` lists a matrix's runs" if runs else ""
    candidates = by_name[close[0]]
    return f"did you mean {'one of ' * (len(candidates) > 1)}{run_names.join_truncated(candidates)}?"
