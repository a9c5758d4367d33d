"""Whatever the order of appends, cuts and ingests: the store is that of one ingest at the end."""

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.benchmarks import Clean
from jobs.journal.records import (
    Checkpointed,
    Claim,
    Died,
    Failed,
    Heartbeat,
    Launched,
    Measure,
    Metrics,
    Preempted,
    Released,
    Result,
    Started,
    Submitted,
    Succeeded,
)
from jobs.paths import Home
from store.connect import open_memory
from store.ingest import ingest

pytestmark = pytest.mark.fault

small = st.integers(0, 3)
names = st.sampled_from(["a", "b"])
stages = st.sampled_from(["train", "evaluate"])
times = st.floats(0, 4e9)
values = st.none() | st.floats(allow_nan=False, allow_infinity=False)
measures = small.flatmap(
    lambda total: st.builds(
        Measure, name=names, unit=names, total=st.just(total), correct=st.none() | st.integers(0, total)
    )
)

job_records = st.one_of(
    st.builds(Started, submission=names, pid=small, time=times),
    st.builds(Heartbeat, step=small, steps=small, activity=names, time=times),
    st.builds(Metrics, step=small, epoch=times, values=st.dictionaries(names, values), time=times),
    st.builds(Checkpointed, step=small, file=names, seconds=times, time=times),
    st.builds(Preempted, time=times),
    st.builds(Succeeded, time=times),
    st.builds(Failed, error=names, time=times),
    st.builds(Died, reason=names, time=times),
    st.builds(
        Result,
        evaluation_id=names,
        benchmark=st.just(Clean()),
        data_digest=names,
        checkpoint_step=small,
        engine=names,
        measures=st.lists(measures),
        time=times,
    ),
)
submission_records = st.one_of(
    st.builds(Submitted, name=names, matrix=names, matrix_path=names, executor=names, code=names, time=times),
    st.builds(Claim, run_id=names, label=names, stage=stages, spec=st.just({"x": 1}), time=times),
    st.builds(Launched, job=names, executor_id=names, time=times),
    st.builds(Released, submission=names, run_id=names, stage=stages, reason=names, time=times),
)
damage = st.binary(max_size=9)
encoded = (job_records | submission_records).map(lambda record: msgspec.json.encode(record) + b"\n")
job_files = st.builds("runs/{}/journal/{}.{}.jsonl".format, names, stages, st.integers(1, 2))
submission_files = st.builds("submissions/{}.jsonl".format, names)
job_lines = st.tuples(job_files, st.lists(job_records.map(lambda r: msgspec.json.encode(r) + b"\n"), max_size=4))
submission_lines = st.tuples(
    submission_files, st.lists(submission_records.map(lambda r: msgspec.json.encode(r) + b"\n"), max_size=4)
)
any_lines = st.tuples(job_files | submission_files, st.lists(encoded | damage, max_size=4))
appends = (job_lines | submission_lines | any_lines).map(lambda pair: ("append", pair[0], b"".join(pair[1])))
torn = st.tuples(appends, st.integers(0, 40)).map(lambda pair: ("append", pair[0][1], pair[0][2][: -pair[1] or None]))
cuts = st.tuples(st.just("cut"), job_files | submission_files, st.integers(0, 400))
removals = st.tuples(st.just("remove"), job_files | submission_files, st.none())
ingests = st.tuples(st.just("ingest"), st.just(""), st.integers(0, 1))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(appends | appends | torn | ingests | ingests | cuts | removals, max_size=25))
def test_interleavings_end_in_one_store(dump: Any, rebuilt: Any, actions: list[tuple[str, str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder, open_memory() as one, open_memory() as two:
        home = Home(Path(folder))
        for action, name, what in [*actions, ("ingest", "", 0), ("ingest", "", 1)]:
            path = home.folder / name
            match action:
                case "append":
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with path.open("ab") as file:
                        file.write(what)
                case "cut" if path.exists():
                    path.write_bytes(path.read_bytes()[:what])
                case "remove":
                    path.unlink(missing_ok=True)
                case "ingest":
                    ingest((one, two)[what], home)
        assert dump(one) == dump(two) == rebuilt(home)
