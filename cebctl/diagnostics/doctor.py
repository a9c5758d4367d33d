"""Is everything in order? Looks at the home, the store, the work under way, and what they stand on."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from cebctl.diagnostics import environment_checks, slurm_checks
from cebctl.diagnostics.findings import Finding
from cebctl.status.collect import emit_warnings, load_observations
from cebctl.status.states import attempt_state
from experiments.errors import CebctlError, InputError
from experiments.matrix.planned_run import Matrix
from jobs import spec_file
from jobs.paths import Home, data_folder
from store import queries
from store.backends.backend import OlderError, UnusableError
from store.connect import Store, open_existing, open_memory, open_store, recreate_store
from store.damaged_lines import bad_lines
from store.ingest import Ingested, ingest
from store.journal_scan import stray_files
from store.row_types import AttemptRow
from store.tables import SCHEMA
from store.verify import disagreements

REBUILD = "`cebctl doctor --rebuild` sets the store aside and rebuilds it from the journals"
_LINES = 3
"""Of a damaged journal that are named."""
AGAIN = "put right what keeps the store from being read or written, then `cebctl doctor` again"


def rebuild(home: Home) -> Ingested:
    """Set the store aside and rebuild it from the journals; nobody can submit meanwhile.

    Raises InputError if there is no home to rebuild it from.
    """
    if not home.folder.exists():
        raise InputError(home.folder, "does not exist: there is no journal to rebuild a store from")
    with recreate_store(home.store_url, home) as store:
        emit_warnings(store)
        with store.exclusive():
            return ingest(store, home)


def examine(home: Home, matrix: Matrix | None = None) -> list[Finding]:
    """Everything that can be found without changing anything, but that new journal lines are read as ever; and what
    would keep the jobs of a matrix from running: data that is not there, or the cluster."""
    found = environment_checks.home(home)
    store, of_store = _opened(home)
    with store:
        found += of_store
        try:
            ingest(store, home)
            found += _rows(store, home) + _copies(store, home) + _specs(store, home) + _work(store, home)
            used = {name for row in queries.runs(store) if (name := _data_name(row.spec))}
        except CebctlError as error:
            found.append(Finding("store", "wrong", str(error), AGAIN))
            used = set()
    needed = {run.run.data.name for run in matrix.runs} if matrix else set()
    found += (
        environment_checks.data(data_folder(), used, needed) + environment_checks.software() + environment_checks.gpus()
    )
    return found + slurm_checks.examine(home, matrix)


def _opened(home: Home) -> tuple[Store, list[Finding]]:
    """The store, or where it can't be opened, or is not there, one in memory."""
    try:
        existing = open_existing(home.store_url)
    except InputError as error:
        return open_memory(), [Finding("store", "wrong", str(error), "set CEBCTL_STORE to a store, or to a new file")]
    except OlderError as error:
        return open_memory(), [Finding("store", "note", str(error))]
    except UnusableError as error:
        return open_memory(), [Finding("store", "wrong", str(error), REBUILD)]
    except CebctlError as error:
        return open_memory(), [Finding("store", "wrong", str(error), AGAIN)]
    if existing is None:
        return open_memory(), [Finding("store", "ok", f"none yet: built from the journals of {home.folder}")]
    existing.close()
    try:
        store = open_store(home.store_url, home)
    except CebctlError as error:
        return open_memory(), [Finding("store", "wrong", str(error), AGAIN)]
    return store, [Finding("store", "ok", f"{store.where} opens, schema {SCHEMA}")]


def _data_name(spec: dict[str, Any]) -> str:
    data = spec.get("data")
    return str(data.get("name", "")) if isinstance(data, dict) else ""


def _rows(store: Store, home: Home) -> list[Finding]:
    """Whether the rows are those of a rebuild, and which journals are damaged."""
    found = []
    runs, wrong = len(queries.runs(store)), disagreements(store, home)
    if wrong:
        text = f"differs from its journals: {wrong[0]}" + (f" and {len(wrong) - 1} more" if len(wrong) > 1 else "")
        found.append(Finding("store", "wrong", text, REBUILD))
    else:
        found.append(
            Finding("store", "ok", f"{runs} run{'s' * (runs != 1)}; every row is the one that a rebuild gives")
        )
    return (
        found + [_lines(path, count, home) for path, count in queries.damaged_journals(store).items()] + _strays(home)
    )


def _lines(name: str, count: int, home: Home) -> Finding:
    """The first lines of a journal that were skipped, and why."""
    path = home.folder / name
    shown = [f"{path}:{line.number}: {line.why}" for line in bad_lines(home, name, _LINES)] or [str(path)]
    text = f"{'; '.join(shown)}; {count} damaged line{'s' * (count > 1)}, skipped"
    todo = f"see what {path} has lost, and restore or remove it"
    if "belongs to home" in text:
        todo = (
            f"remove {path}; or, if it was brought here on purpose, add that home to {home.ids} and rebuild the store"
        )
    return Finding("store", "wrong", text, todo)


def _strays(home: Home) -> list[Finding]:
    """Files among the journals that are not called like one."""
    return [
        Finding("store", "note", f"{path} is not called like a journal: it is not read", f"remove or rename {path}")
        for path in stray_files(home)
    ]


def _specs(store: Store, home: Home) -> list[Finding]:
    """The runs whose folder holds another run's spec, or a damaged one."""
    found = []
    for row in queries.runs(store):
        try:
            if home.run(row.run_id).spec.exists():
                spec_file.read(home.run(row.run_id))
        except InputError as error:
            found.append(Finding("store", "wrong", str(error), f"put {home.run(row.run_id).spec} right"))
    return found


def _copies(store: Store, home: Home) -> list[Finding]:
    """Attempts that began at the same moment in the same process: one is the other's journal under another name.

    Journals of earlier commits do not say whose they are.
    """
    same: dict[tuple[object, ...], list[AttemptRow]] = defaultdict(list)
    for job in queries.attempts(store):
        if job.started_at is not None and job.pid:
            same[job.started_at, job.host, job.pid].append(job)
    return [
        Finding(
            "store",
            "wrong",
            f"{' and '.join(names)} hold the same attempt: one is a copy, whose numbers are not its run's",
            f"remove the copy among {', '.join(names)}",
        )
        for jobs in same.values()
        if len(jobs) > 1
        for names in [[str(home.run(job.run_id).journal(job.stage, job.attempt)) for job in jobs]]
    ]


def _work(store: Store, home: Home) -> list[Finding]:
    """The claims whose workers are gone before they were done, by submission."""
    facts = load_observations(list({claim.run_id for claim in queries.open_claims(store)}), store, home, fresh=False)
    stale: Counter[str] = Counter()
    for (run_id, stage), held in facts.claims.items():
        if stage == "evaluate" and attempt_state(run_id, "train", facts) != "done":
            continue  # it stands or falls with its training
        if attempt_state(run_id, stage, facts) in ("new", "lost"):
            stale[held[-1].submission] += 1
    paths = {row.name: row.matrix_path for row in queries.submissions(store)}
    found = [
        Finding(
            "work",
            "wrong",
            f"submission {name}: its workers are gone, {count} stage{'s' * (count > 1)} unfinished",
            f"`cebctl submit {paths[name]}` goes on with what is unfinished",
        )
        for name, count in sorted(stale.items())
    ]
    return found or [Finding("work", "ok", "no claim is stale, no worker died over one")]
