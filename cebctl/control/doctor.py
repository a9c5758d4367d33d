"""Is everything in order? Looks at the home, the store, the work under way, and what they stand on."""

from __future__ import annotations

from collections import Counter

from cebctl.control import cluster_checks, surroundings
from cebctl.control.findings import Finding
from cebctl.control.states import attempt_state
from cebctl.control.survey import facts_of, say
from experiments.errors import CebctlError, InputError
from experiments.matrix import Matrix
from jobs.home import Home, data_folder
from store import queries
from store.backend import OlderError, UnusableError
from store.ingest import Ingested, ingest
from store.opening import Store, open_anew, open_existing, open_memory, open_store
from store.tables import SCHEMA
from store.verify import disagreements

REBUILD = "`cebctl doctor --rebuild` sets the store aside and rebuilds it from the journals"
AGAIN = "put right what keeps the store from being read or written, then `cebctl doctor` again"


def rebuild(home: Home) -> Ingested:
    """Set the store aside and rebuild it from the journals; nobody can submit meanwhile.

    Raises InputError if there is no home to rebuild it from.
    """
    if not home.folder.exists():
        raise InputError(home.folder, "does not exist: there is no journal to rebuild a store from")
    with open_anew(home.store_url, home) as store:
        say(store)
        with store.exclusive():
            return ingest(store, home)


def examine(home: Home, matrix: Matrix | None = None) -> list[Finding]:
    """Everything that can be found without changing anything, but that new journal lines are read as ever; and what
    would keep the jobs of a matrix from running: data that is not there, or the cluster."""
    found = surroundings.home(home)
    store, of_store = _opened(home)
    with store:
        found += of_store
        try:
            ingest(store, home)
            found += _rows(store, home) + _work(store, home)
            used = {str(row.spec["data"]["name"]) for row in queries.runs(store) if "data" in row.spec}
        except CebctlError as error:
            found.append(Finding("store", "wrong", str(error), AGAIN))
            used = set()
    needed = {run.run.data.name for run in matrix.runs} if matrix else set()
    found += surroundings.data(data_folder(), used, needed) + surroundings.software() + surroundings.gpus()
    return found + cluster_checks.examine(home, matrix)


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
    for path, lines in queries.damaged(store).items():
        text = f"{home.folder / path}: {lines} damaged line{'s' * (lines > 1)}, skipped"
        found.append(
            Finding("store", "wrong", text, f"see what {home.folder / path} has lost, and restore or remove it")
        )
    return found


def _work(store: Store, home: Home) -> list[Finding]:
    """The claims whose workers are gone before they were done, by submission."""
    facts = facts_of(list({claim.run_id for claim in queries.open_claims(store)}), store, home, fresh=False)
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
