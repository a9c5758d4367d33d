"""Kill writers and readers of journals at random moments; the store must equal a fresh rebuild afterwards.

    python tests/store/crash_trials.py --kills 1000 [--seed 0] [--url postgresql://…]

Every round starts, from a process that has imported all it needs, a writer that appends to journals (in pieces,
so that a kill tears lines) and two ingesters, waits a random moment, and kills all three with SIGKILL. Now and
then a journal is cut, replaced or removed. After each round the store must open undamaged; after every few
rounds it is read to the end and compared, table by table, with one that read the same journals once.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from experiments.benchmarks import Clean
from jobs.journal.files import Journal
from jobs.journal.records import AnyRecord, Claim, Heartbeat, Launched, Measure, Metrics, Result, Started, Submitted
from jobs.paths import Home
from store import ingest as ingest_module
from store.connect import Store, open_memory, open_store
from store.ingest import ingest
from store.tables import metadata

ROUNDS_BETWEEN_CHECKS = 4


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=60)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--url", help="an empty database; default: a SQLite file in a temporary home")
    arguments.add_argument("--longest", type=float, default=0.12, help="seconds a round may last")
    options = arguments.parse_args()
    ingest_module.PIECE_BYTES = 8 << 10  # many transactions, many places to die in
    chance = random.Random(options.seed)
    folder = Path(tempfile.mkdtemp(prefix="cebctl-crashes-"))
    home = Home(folder / "home")
    url = options.url or f"sqlite:///{home.folder}/store.sqlite"
    kills = rounds = torn = 0
    started = time.monotonic()
    while kills < options.kills:
        rounds += 1
        kills += one_round(home, url, chance, options.longest)
        torn += sum(not path.read_bytes().endswith(b"\n") for path in home.journals() if path.stat().st_size)
        if not chance.randrange(4):
            spoil(home, chance)
        if not rounds % ROUNDS_BETWEEN_CHECKS:
            check(home, url)
    check(home, url)
    shutil.rmtree(folder)
    seconds = time.monotonic() - started
    print(f"{kills} kills in {rounds} rounds, {torn} torn journals, {seconds:.0f} s: the store equals a rebuild")


def one_round(home: Home, url: str, chance: random.Random, longest: float) -> int:
    """Start the three, kill them; the number of those that were still at work."""
    children = [
        fork(lambda: append(home, random.Random(chance.random()))),
        fork(lambda: read(home, url)),
        fork(lambda: read(home, url)),
    ]
    time.sleep(chance.uniform(0, longest))
    chance.shuffle(children)
    for child in children:
        os.kill(child, signal.SIGKILL)
    endings = [os.waitpid(child, 0)[1] for child in children]
    assert all(os.WIFSIGNALED(ending) or os.WEXITSTATUS(ending) == 0 for ending in endings), "a child failed"
    return sum(map(os.WIFSIGNALED, endings))


def fork(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def read(home: Home, url: str) -> None:
    while True:
        with open_store(url) as opened:
            ingest(opened, home)
            assert not opened.warnings, opened.warnings


def append(home: Home, chance: random.Random) -> None:
    """Append for ever to one journal after another; each opening heals the line that a killed writer tore."""
    while True:
        run = f"r{chance.randrange(4)}"
        name = f"s{chance.randrange(3)}"
        if chance.randrange(3):
            path, records = home.run(run).journal("train", chance.randint(1, 3)), job_records(name, chance)
        else:
            path, records = home.submission(name), submission_records(name, run)
        Journal(path).close()
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        text = b"".join(msgspec.json.encode(record) + b"\n" for record in records)
        cut = chance.randrange(len(text))
        for part in (text[:cut], text[cut:]):
            os.write(fd, part)
            time.sleep(0.001)
        os.close(fd)


def job_records(submission: str, chance: random.Random) -> list[AnyRecord]:
    first = chance.randrange(1000)
    points = [
        Metrics(step=first + step, epoch=step / 9, values={"loss": chance.random(), "rate": chance.random()})
        for step in range(chance.randrange(100))
    ]
    measure = Measure(name="clean", unit="accuracy", total=100, correct=chance.randrange(100))
    result = Result(
        evaluation_id=f"e{chance.randrange(3)}",
        benchmark=Clean(),
        data_digest="d",
        checkpoint_step=first,
        engine="x",
        measures=[measure],
    )
    return [Started(submission=submission), *points, Heartbeat(step=first, steps=1000), result]


def submission_records(name: str, run: str) -> list[AnyRecord]:
    return [
        Submitted(name=name, matrix="m", matrix_path="m.yaml", executor="local", code="c"),
        Claim(run_id=run, label=f"{run} by {name}", stage="train", spec={"run": run}),
        Launched(job=f"{name}-{run}", executor_id="1"),
    ]


def spoil(home: Home, chance: random.Random) -> None:
    """Cut, replace or remove a journal."""
    path = chance.choice(list(home.journals()))
    data = path.read_bytes()
    match chance.randrange(3):
        case 0:
            os.truncate(path, chance.randint(0, len(data)))
        case 1:
            fresh = path.with_suffix(".new")
            fresh.write_bytes(data.replace(b'"time":1', b'"time":2'))
            fresh.replace(path)
        case 2:
            path.unlink()


def check(home: Home, url: str) -> None:
    with open_store(url) as found, open_memory() as fresh:
        assert not found.warnings, found.warnings
        ingest(found, home)
        ingest(fresh, home)
        for name in metadata.tables:
            assert rows(found, name) == rows(fresh, name), f"table {name} differs from a rebuild; home: {home.folder}"


def rows(opened: Store, name: str) -> list[tuple[Any, ...]]:
    columns = [column for column in metadata.tables[name].c if column.name != "mtime_ns"]
    with opened.reading() as connection:
        return sorted(map(tuple, connection.execute(sa.select(*columns))), key=repr)


if __name__ == "__main__":
    main()
