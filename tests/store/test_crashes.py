"""Processes that are killed, disks that are full, folders that can't be written."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.errors import UnreachableError
from jobs.journal.records import Metrics
from jobs.paths import Home
from store import queries
from store.connect import open_existing, open_memory, open_store
from store.ingest import ingest

pytestmark = pytest.mark.fault

TRIALS = Path(__file__).with_name("crash_trials.py")


def crash(kills: int, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(TRIALS.parents[2])}
    command = [sys.executable, TRIALS, "--kills", str(kills), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_killed_anywhere_the_store_equals_a_rebuild() -> None:
    assert re.match(r"(5\d) kills", crash(50))


def test_killed_anywhere_on_postgresql(postgresql_database: Any) -> None:
    assert re.match(r"(2\d) kills", crash(20, "--url", postgresql_database()))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_thousand_kills() -> None:
    print(crash(1000, "--seed", str(os.getpid())))


CONCURRENT = """
    from pathlib import Path
    from jobs.paths import Home
    from store import connect, ingest

    ingest.PIECE_BYTES = 20_000

    def work(number):
        with connect.open_store(sys.argv[1]) as store:
            print(ingest.ingest(store, Home(Path(sys.argv[2]))).records)
"""


def test_ingesters_at_once_share_the_work(
    campaign: Home, url: str, write: Any, dump: Any, rebuilt: Any, at_once: Any
) -> None:
    for run in range(3):
        points = [Metrics(step=step, epoch=0, values={"loss": step / 7}) for step in range(2000)]
        write(campaign.run(f"r{run}").journal("train", 9), *points)
    read = at_once(CONCURRENT, 3, url, campaign.folder)
    assert sum(map(int, read)) == lines(campaign)
    with open_store(url) as store:
        assert ingest(store, campaign).records == 0
        assert dump(store) == rebuilt(campaign)


def lines(home: Home) -> int:
    return sum(path.read_bytes().count(b"\n") for path in home.journals())


def test_a_full_disk_is_one_line_and_loses_nothing(
    campaign: Home, sqlite_file: Path, write: Any, dump: Any, rebuilt: Any
) -> None:
    points = [Metrics(step=step, epoch=0, values={"loss": 1.0}) for step in range(1000)]
    write(campaign.run("r2").journal("train", 1), *points)
    with open_store(f"sqlite:///{sqlite_file}") as store:
        with store.backend.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1")  # no more than it has
        with pytest.raises(UnreachableError, match=r"store\.sqlite: database or disk is full$"):
            ingest(store, campaign)
    with open_store(f"sqlite:///{sqlite_file}") as store:  # there is room again
        ingest(store, campaign)
        assert dump(store) == rebuilt(campaign)


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of 400 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root and the right to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up(home: Home, small_disk: Path, write: Any, dump: Any, rebuilt: Any) -> None:
    points = [Metrics(step=step, epoch=0, values={"a": 1.0, "b": 2.0, "c": 3.0}) for step in range(5000)]
    write(home.run("r").journal("train", 1), *points)
    url = f"sqlite:///{small_disk}/store.sqlite"
    with open_store(url) as store, pytest.raises(UnreachableError, match=r"store\.sqlite: .*(full|disk I/O error)$"):
        ingest(store, home)
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    with open_store(url) as store:
        ingest(store, home)
        assert dump(store) == rebuilt(home)


WRITABLE = "it and its folder have to be writable"
UNPRIVILEGED = """
    import os, sys
    from pathlib import Path
    from experiments.errors import UnreachableError
    from jobs.paths import Home
    from store import queries
    from store.ingest import ingest
    from store.connect import open_existing, open_memory, open_store
    open_memory()  # imports what root's Python may hide from others
    if not os.geteuid():
        os.setgid(65534), os.setuid(65534)
    url, home = sys.argv[1], Home(Path(sys.argv[2]))
    existing = open_existing(url)
    print(existing and len(queries.attempts(existing)))
    try:
        with open_store(url) as store:
            ingest(store, home)
    except UnreachableError as error:
        print(error)
"""


@pytest.fixture
def searchable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an unprivileged user come down to the test's folder; coverage has none where they could write its data."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 0o005:
            folder.chmod(0o755)


@pytest.mark.usefixtures("searchable")
def test_a_read_only_home_is_one_line(campaign: Home, sqlite_file: Path, write: Any, python: Any) -> None:
    with open_store(f"sqlite:///{sqlite_file}") as store:
        ingest(store, campaign)
    write(campaign.run("r2").journal("train", 1), Metrics(step=9, epoch=9, values={}))
    sqlite_file.chmod(0o444)
    for folder in (campaign.folder, *(p for p in campaign.folder.rglob("*") if p.is_dir())):
        folder.chmod(0o555)
    out, err = python(UNPRIVILEGED, f"sqlite:///{sqlite_file}", campaign.folder).communicate(timeout=60)
    campaign.folder.chmod(0o755)
    assert err == ""
    assert re.fullmatch(rf"6\n.*store\.sqlite: attempt to write a readonly database; {WRITABLE}\n", out)


@pytest.mark.usefixtures("searchable")
def test_a_read_only_home_without_a_store_is_one_line(campaign: Home, sqlite_file: Path, python: Any) -> None:
    campaign.folder.chmod(0o555)
    out, err = python(UNPRIVILEGED, f"sqlite:///{sqlite_file}", campaign.folder).communicate(timeout=60)
    campaign.folder.chmod(0o755)
    assert err == ""
    assert re.fullmatch(rf"None\n.*store\.sqlite: unable to open database file; {WRITABLE}\n", out)


def test_what_a_killed_process_left_can_be_read_only(campaign: Home, sqlite_file: Path, python: Any) -> None:
    """The log of a killed process is not lost on a reader that may change nothing."""
    script = """
        import os, signal, sys
        from pathlib import Path
        from jobs.paths import Home
        from store import connect, ingest
        store = connect.open_store(sys.argv[1])
        ingest.ingest(store, Home(Path(sys.argv[2])))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    python(script, f"sqlite:///{sqlite_file}", campaign.folder).communicate(timeout=60)
    assert sqlite_file.with_name("store.sqlite-wal").stat().st_size > 0
    store = open_existing(f"sqlite:///{sqlite_file}")
    assert store is not None
    with store, open_memory() as fresh:
        ingest(fresh, campaign)
        assert queries.attempts(store) == queries.attempts(fresh)
