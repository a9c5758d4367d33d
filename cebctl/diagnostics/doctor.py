"""The checks of `cebctl doctor`: the home, the store, the work under way, and the machine."""

from __future__ import annotations

from collections import Counter, defaultdict

from cebctl.diagnostics import environment_checks, slurm_checks
from cebctl.diagnostics.findings import Finding
from cebctl.status.collect import emit_warnings, load_observations, load_submitted
from cebctl.status.earlier_texts import earlier_runs
from cebctl.status.states import attempt_state
from experiments.errors import CebctlError, InputError
from experiments.matrix.planned_run import Matrix
from jobs import spec_file
from jobs.paths import Home, data_folder
from store import queries
from store.backends.backend import OlderError, RenewedError, UnusableError
from store.connect import Store, open_existing, open_memory, open_store, recreate_store
from store.damaged_lines import bad_lines
from store.ingest import Ingested, ingest
from store.journal_scan import stray_files
from store.row_types import AttemptRow
from store.tables import SCHEMA
from store.verify import disagreements

REBUILD = "`cebctl doctor --rebuild` sets the store aside and rebuilds it from the journals"
RETRY = "put right what keeps the store from being read or written, then `cebctl doctor` again"
_MAX_LINES = 3
"""The damaged lines of a journal that are named."""


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
    """Return the findings of every check, with those on what would keep the jobs of a matrix from running.

    Changes nothing, except that new journal lines are read into the store as by every command.
    """
    findings = environment_checks.check_home(home)
    store, opened = _open(home)
    with store:
        findings += opened
        try:
            ingest(store, home)
            findings += [
                *_check_rows(store, home),
                *_check_journals(store, home),
                *_check_copied_journals(store, home),
                *_check_specs(store, home),
                *_check_claims(store, home),
                *_check_earlier_texts(store, home),
            ]
            specs = [row.spec.get("data") for row in queries.runs(store)]
            used = {str(data["name"]) for data in specs if isinstance(data, dict) and data.get("name")}
        except RenewedError as error:
            findings.append(Finding("store", "wrong", str(error), "`cebctl doctor` again"))
            used = set()
        except CebctlError as error:
            findings.append(Finding("store", "wrong", str(error), RETRY))
            used = set()
    needed = {run.run.data.name for run in matrix.runs} if matrix else set()
    return [
        *findings,
        *environment_checks.check_datasets(data_folder(), used, needed),
        *(environment_checks.check_benchmark_data(matrix, data_folder()) if matrix else ()),
        *environment_checks.check_packages(),
        *environment_checks.check_gpus(),
        *slurm_checks.examine_cluster(home, matrix),
    ]


def _open(home: Home) -> tuple[Store, list[Finding]]:
    """Open the store, or one in memory where there is none or it can't be opened."""
    try:
        existing = open_existing(home.store_url)
        if existing is None:
            return open_memory(), [Finding("store", "ok", f"none yet: built from the journals of {home.folder}")]
        existing.close()
    except InputError as error:
        return open_memory(), [Finding("store", "wrong", str(error), "set CEBCTL_STORE to a store, or to a new file")]
    except OlderError as error:
        return open_memory(), [Finding("store", "note", str(error))]
    except UnusableError as error:
        return open_memory(), [Finding("store", "wrong", str(error), REBUILD)]
    except CebctlError as error:
        return open_memory(), [Finding("store", "wrong", str(error), RETRY)]
    try:
        store = open_store(home.store_url, home)
    except CebctlError as error:
        return open_memory(), [Finding("store", "wrong", str(error), RETRY)]
    return store, [Finding("store", "ok", f"{store.where} opens, schema {SCHEMA}")]


def _check_rows(store: Store, home: Home) -> list[Finding]:
    """Check that the rows are those of a rebuild."""
    if differences := disagreements(store, home):
        more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
        return [Finding("store", "wrong", f"differs from its journals: {differences[0]}{more}", REBUILD)]
    runs = len(queries.runs(store))
    return [Finding("store", "ok", f"{runs} run{'s' * (runs != 1)}; every row is the one that a rebuild gives")]


def _check_journals(store: Store, home: Home) -> list[Finding]:
    """Check for damaged journal lines, and for files among the journals whose names are not a journal's."""
    findings = []
    for name, count in queries.damaged_journals(store).items():
        path = home.folder / name
        lines = [f"{path}:{line.number}: {line.why}" for line in bad_lines(home, name, _MAX_LINES)] or [str(path)]
        text = f"{'; '.join(lines)}; {count} damaged line{'s' * (count > 1)}, skipped"
        todo = f"see what {path} has lost, and restore or remove it"
        if "belongs to home" in text:
            add = f"add that home to {home.ids} and rebuild the store"
            todo = f"remove {path}; or, if it was brought here on purpose, {add}"
        findings.append(Finding("store", "wrong", text, todo))
    for path in stray_files(home):
        text = f"{path} is not called like a journal: it is not read"
        findings.append(Finding("store", "note", text, f"remove or rename {path}"))
    return findings


def _check_specs(store: Store, home: Home) -> list[Finding]:
    """Check that no folder of a run holds another run's spec, or a damaged one."""
    findings = []
    for row in queries.runs(store):
        paths = home.run(row.run_id)
        try:
            if paths.spec.exists():
                spec_file.read(paths)
        except InputError as error:
            findings.append(Finding("store", "wrong", str(error), f"put {paths.spec} right"))
    return findings


def _check_copied_journals(store: Store, home: Home) -> list[Finding]:
    """Check that no two attempts began at the same moment in the same process: one would be the other's journal,
    copied under another name. Journals of earlier commits do not state their attempt, so that only this tells.
    """
    attempts: dict[tuple[object, ...], list[AttemptRow]] = defaultdict(list)
    for job in queries.attempts(store):
        if job.started_at is not None and job.pid:
            attempts[job.started_at, job.host, job.pid].append(job)
    findings = []
    for jobs in attempts.values():
        if len(jobs) > 1:
            names = [str(home.run(job.run_id).journal(job.stage, job.attempt)) for job in jobs]
            text = f"{' and '.join(names)} hold the same attempt: one is a copy, whose numbers are not its run's"
            findings.append(Finding("store", "wrong", text, f"remove the copy among {', '.join(names)}"))
    return findings


def _check_earlier_texts(store: Store, home: Home) -> list[Finding]:
    """Check for runs under way that no text of a matrix asks for any more."""
    earlier = earlier_runs(load_submitted(store, home), store, home)
    by_submission = Counter((run.submissions[-1], run.path) for run in earlier)
    return [
        Finding(
            "work",
            "note",
            f"submission {name}: {count} run{'s' * (count > 1)} under way that today's text of {path} does not ask for",
            f"`cebctl cancel --submission {name}`, if they are not wanted",
        )
        for (name, path), count in sorted(by_submission.items())
    ]


def _check_claims(store: Store, home: Home) -> list[Finding]:
    """Check for claims whose workers are gone before they were done, by submission."""
    run_ids = list({claim.run_id for claim in queries.open_claims(store)})
    observations = load_observations(run_ids, store, home, fresh=False)
    stale: Counter[str] = Counter()
    for (run_id, stage), claims in observations.claims.items():
        if stage == "evaluate" and attempt_state(run_id, "train", observations) != "done":
            continue  # its training's claim is reported instead
        if attempt_state(run_id, stage, observations) in ("new", "lost"):
            stale[claims[-1].submission] += 1
    if not stale:
        return [Finding("work", "ok", "no claim is stale, no worker died over one")]
    paths = {row.name: row.matrix_path for row in queries.submissions(store)}
    return [
        Finding(
            "work",
            "wrong",
            f"submission {name}: its workers are gone, {count} stage{'s' * (count > 1)} unfinished",
            f"`cebctl submit {paths[name]}` goes on with what is unfinished",
        )
        for name, count in sorted(stale.items())
    ]
