"""Homes with journals, stores to read them into, and a private PostgreSQL server where one is installed."""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from experiments.benchmarks import Clean, Pgd
from jobs.journal.files import Journal
from jobs.journal.records import (
    AnyRecord,
    Checkpointed,
    Claim,
    Failed,
    Heartbeat,
    Launched,
    Measure,
    Metrics,
    Released,
    Result,
    Started,
    Submitted,
    Succeeded,
)
from jobs.paths import Home
from store.connect import Store, open_memory, open_store
from store.ingest import ingest
from store.tables import metadata

NEVER_COMPARED = {"mtime_ns"}
"""When a file was last looked at is no part of what happened."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def write() -> Callable[..., None]:
    """Append records, or raw bytes, to a journal."""

    def write(path: Path, *lines: AnyRecord | bytes) -> None:
        with Journal(path) as journal, path.open("ab") as file:
            for raw, group in itertools.groupby(lines, lambda line: isinstance(line, bytes)):
                if raw:
                    file.writelines(group)
                    file.flush()
                else:
                    journal.write(*group)

    return write


@pytest.fixture
def dump() -> Callable[[Store], dict[str, list[tuple[Any, ...]]]]:
    """Everything in a store, in an order of its own."""

    def dump(store: Store) -> dict[str, list[tuple[Any, ...]]]:
        with store.reading() as connection:
            return {
                name: sorted(
                    map(tuple, connection.execute(sa.select(*[c for c in table.c if c.name not in NEVER_COMPARED]))),
                    key=repr,
                )
                for name, table in metadata.tables.items()
            }

    return dump


@pytest.fixture
def rebuilt(dump: Any) -> Callable[[Home], dict[str, list[tuple[Any, ...]]]]:
    """What a store holds that read the journals once, from their beginning."""

    def rebuilt(home: Home) -> dict[str, list[tuple[Any, ...]]]:
        with open_memory() as store:
            ingest(store, home)
            found: dict[str, list[tuple[Any, ...]]] = dump(store)
            return found

    return rebuilt


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a Python process on a script, with arguments."""

    def python(script: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
        file = tmp_path / f"script-{abs(hash(script))}.py"
        if not file.exists():  # an earlier process may be reading it just now
            file.write_text(textwrap.dedent(script))
        root = str(Path(__file__).parents[2])
        return subprocess.Popen(
            [sys.executable, str(file), *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": root, "PYTHONUNBUFFERED": ""},  # a print is one write
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    return python


AT_ONCE = """
import os, sys, traceback

def at_once(work, count):
    children = []
    for number in range(count):
        child = os.fork()
        if not child:
            try:
                work(number)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush(), sys.stderr.flush()
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
"""


@pytest.fixture
def at_once(python: Any) -> Callable[..., list[str]]:
    """Run a script's `work(number)` in several processes at once, without an error; the lines they print."""

    def run(script: str, count: int, *arguments: object) -> list[str]:
        whole = AT_ONCE + textwrap.dedent(script) + f"\nat_once(work, {count})\n"
        out, err = python(whole, *arguments).communicate(timeout=120)
        assert err == ""
        return str(out).splitlines()

    return run


@pytest.fixture
def campaign(home: Home, write: Any) -> Home:
    """Two submissions over four runs: done, failed then resumed, running, and given back."""
    for name, ids in (("s1", ["r0", "r1", "r2", "r3"]), ("s2", ["r1"])):
        write(
            home.submission(name),
            Submitted(name=name, matrix="m", matrix_path="m.yaml", executor="local", code="c", user="u", host="h"),
            *[
                Claim(
                    run_id=i,
                    label=f"ceb {i}",
                    stage="train",
                    spec={"objective": {"rho": int(i[1:]) - 1.5, "name": "ceb"}, "seed": 1},
                    benchmarks=[Clean(), Pgd(norm="linf", eps=0.1)],
                )
                for i in ids
            ],
            Launched(job=f"{name}-w0", executor_id="1", pid=10),
        )
    write(home.submission("s2"), Released(submission="s1", run_id="r3", stage="train", reason="cancelled"))
    finished = Result(
        evaluation_id="e1",
        benchmark=Clean(),
        data_digest="d",
        checkpoint_step=4,
        engine="x",
        measures=[Measure(name="clean", unit="accuracy", total=360, correct=350)],
        per_sample="bits",
        seconds=1.5,
    )
    rate = Measure(name="rate", unit="nats", total=360, value=2.5, std=0.1)
    write(home.run("r0").journal("train", 1), *training("s1", 0, 4), Succeeded())
    write(home.run("r0").journal("evaluate", 1), Started(submission="s1"), finished, Succeeded())
    write(home.run("r1").journal("train", 1), *training("s1", 0, 3), Failed(error="CUDA", traceback="Trace"))
    write(home.run("r1").journal("train", 2), *training("s2", 2, 5), Succeeded())
    finished.evaluation_id, finished.measures = "e2", [*finished.measures, rate]
    write(home.run("r1").journal("evaluate", 1), Started(submission="s2"), finished, Succeeded())
    write(home.run("r2").journal("train", 1), *training("s1", 0, 2))
    return home


def training(submission: str, first: int, last: int) -> list[AnyRecord]:
    """A piece of training: steps first+1 … last."""
    records: list[AnyRecord] = [
        Started(submission=submission, host="h", pid=9, code="c", engine="x", resumed_step=first or None)
    ]
    for step in range(first + 1, last + 1):
        values = {"loss": 1 / step + first, "rate": None if step == 1 else 2.0}
        records += [
            Metrics(step=step, epoch=step / 2, values=values),
            Heartbeat(step=step, steps=5, epoch=step / 2, epochs=2.5, images_per_second=100.0, activity="training"),
            Checkpointed(step=step, file=f"{step}.pt", seconds=0.1),
        ]
    return records


# --- stores ---


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store that does not exist yet; a test that asks for it runs on both databases."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/home/store.sqlite"
    return str(request.getfixturevalue("postgresql_database")())


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "store.sqlite"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with open_store(url) as store:
        yield store


@pytest.fixture(scope="session")
def postgresql_database() -> Iterator[Callable[[], str]]:
    """Makes empty stores on a PostgreSQL server of this test session's own, reached by a socket only."""
    psycopg = pytest.importorskip("psycopg", reason="PostgreSQL's driver is missing: install `psycopg[binary]`")
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    found = str(candidates[-1]) if candidates else shutil.which("initdb")
    if not found:
        pytest.skip("PostgreSQL is not installed: `apt-get install postgresql`")
    programs = Path(found).parent
    folder = Path(tempfile.mkdtemp(prefix="cebctl-postgresql-"))
    user = _server_user(folder)
    options: dict[str, Any] = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    init = [programs / "initdb", "-D", folder / "data", "-U", "cebctl", "-A", "trust", "-N", "-E", "UTF8"]
    subprocess.run(init, check=True, **options)
    settings = {"listen_addresses": "", "unix_socket_directories": folder, "fsync": "off"}
    flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    server = subprocess.Popen([programs / "postgres", "-D", folder / "data", *flags], **options)
    try:
        for _ in range(200):
            ready = subprocess.run([programs / "pg_isready", "-h", folder, "-q"], check=False).returncode == 0
            if ready or server.poll() is not None:
                break
            server_wait(server)
        numbers = itertools.count()

        def create() -> str:
            name = f"store{next(numbers)}"
            with psycopg.connect(f"host={folder} user=cebctl dbname=postgres", autocommit=True) as connection:
                connection.execute(f"CREATE SCHEMA {name}")  # as good as a database, and made at once
            return f"postgresql://cebctl@/postgres?host={folder}&options=-csearch_path%3D{name}"

        yield create
    finally:
        server.send_signal(signal.SIGQUIT)  # waits for no client and writes nothing
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def server_wait(server: subprocess.Popen[bytes]) -> None:
    """Give the server a moment."""
    try:
        server.wait(0.1)
    except subprocess.TimeoutExpired:
        return


def _server_user(folder: Path) -> str | None:
    """PostgreSQL refuses to run as root: whom to run it as instead; None: as oneself."""
    if os.geteuid():
        return None
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        entry = pwd.getpwnam("nobody")
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    return entry.pw_name
