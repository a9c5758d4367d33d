"""Junk among the journals: no command faults, and the junk is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cebctl.submission.submit import submission_record
from experiments.identity import evaluation_id
from experiments.matrix.load import load
from jobs.journal.files import Journal
from jobs.journal.records import (
    AnyRecord,
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
    Succeeded,
)
from jobs.paths import STAGES, Home

EXAMPLES = settings.default.max_examples // 12
"""Each takes seconds: eight, and hundreds under `make soak`."""

MATRIX = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 4, batch: 256}
grids:
  - objective: xent
  - {objective: ceb, rho: 3}
evaluate: [clean, information]
"""


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("matrix") / "m.yaml"
    path.write_text(MATRIX)
    return path


@pytest.fixture(scope="module")
def sound(matrix: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[AnyRecord]]:
    """The journals of a finished matrix."""
    planned = load(matrix)
    journals: dict[str, list[AnyRecord]] = {}
    claims = [
        Claim(
            run_id=run.run_id,
            stage=stage,
            label=run.name,
            spec=msgspec.to_builtins(run.run),
            benchmarks=list(run.benchmarks) if stage == "evaluate" else [],
        )
        for run in planned.runs
        for stage in STAGES
    ]
    launched = Launched(job="s1-0", executor_id="host/boot/1/2", pid=1)
    released = Released(submission="s0", run_id=planned.runs[0].run_id, stage="train", reason="")
    journals["submissions/s1.jsonl"] = [submission_record("s1", planned, "local", "c"), *claims, launched, released]
    for run in planned.runs:
        head = {"submission": "s1", "run_id": run.run_id, "attempt": 1, "host": "h", "pid": 1}
        journals[f"runs/{run.run_id}/journal/train.1.jsonl"] = [
            Started(stage="train", **head),
            Metrics(step=1, epoch=1.0, values={"loss": 1.0, "rate": None}),
            Heartbeat(step=2, steps=4, epoch=2.0, epochs=4.0, images_per_second=10.0),
            Checkpointed(step=2, file="2.pt", seconds=1.0),
            Preempted(step=2),
            Died(reason="signal 9"),
            Failed(error="nan", kind="nan"),
            Succeeded(),
        ]
        journals[f"runs/{run.run_id}/journal/evaluate.1.jsonl"] = [
            Started(stage="evaluate", **head),
            *[
                Result(
                    evaluation_id=evaluation_id(benchmark, run.run.data.name),
                    benchmark=benchmark,
                    data_digest="d",
                    checkpoint_step=4,
                    engine="x",
                    measures=[
                        Measure(name="accuracy", unit="accuracy", total=360, correct=351),
                        Measure(name="rate", unit="nats", total=360, value=0.5, std=0.1),
                    ],
                )
                for benchmark in run.benchmarks
            ],
            Succeeded(),
        ]
    return journals


JUNK = st.one_of(
    st.sampled_from([1e300, -1e300, -1, 0, 10**15, 10**18, 10**400, 1e38, None, True, "", "x", "../..", [], {}, [[]]]),
    st.sampled_from([float("nan"), float("inf"), "\0", "\ud800", "\x1b[31m", "e" * 5000, {"name": None}, {"a": 1e300}]),
    st.text(max_size=5),
    st.integers(),
    st.floats(),
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return every place in a JSON value that can be replaced."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at] * bool(at) + [place for key, item in inner for place in places(item, (*at, key))]


@st.composite
def junk_lines(draw: st.DrawFn, lines: list[dict[str, Any]]) -> bytes:
    """A line that is no record, or a record of any journal with a value that may make no sense."""
    if draw(st.integers(0, 5)) == 0:
        return draw(st.binary(max_size=40))
    line = json.loads(json.dumps(draw(st.sampled_from(lines))))
    for _ in range(draw(st.integers(0, 2))):
        *path, last = draw(st.sampled_from(places(line)))
        target: Any = line
        for key in path:
            target = target[key]
        target[last] = draw(JUNK)
        break
    return json.dumps(line).encode("utf-8", "surrogatepass")


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.timeout(100 * EXAMPLES)
def test_no_command_faults(data: st.DataObject, call: Any, home: Path, matrix: Path, sound: Any) -> None:
    shutil.rmtree(home, ignore_errors=True)
    lines = [json.loads(msgspec.json.encode(record)) for records in sound.values() for record in records]
    names = [
        *sound,
        *[name.replace(".1.jsonl", other) for name in sound for other in (".2.jsonl", ".old.jsonl", ".1 (copy).jsonl")],
        "submissions/s2.jsonl",
        "submissions/.jsonl",
        "runs/x/journal/train.1.jsonl",
        "runs/x/spec.json",
        *[name.rpartition("/journal/")[0] + other for name in list(sound)[1:] for other in
          ("/spec.json", "/provenance.json", "/train.lease", "/evaluate.lease")],
    ]  # fmt: skip
    for name, records in sound.items():
        with Journal(home / name) as journal:
            journal.write(*records)
    for _ in range(data.draw(st.integers(1, 10))):
        path = home / data.draw(st.sampled_from(names))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.writelines(line + b"\n" for line in data.draw(st.lists(junk_lines(lines), max_size=4)))
    run = Home(home).run(load(matrix).runs[0].run_id)
    for command, codes in (
        (["plan", matrix], (0,)),
        (["status", matrix], (0, 1)),
        (["status"], (0, 1)),
        (["report", matrix], (0, 1)),
        (["report", matrix, "--html", home / "page.html"], (0, 1)),
        (["show", run.run_id], (0,)),
        (["show", run.run_id, "--json"], (0,)),
        (["logs", run.run_id], (0,)),
        (["doctor"], (0, 1)),
    ):
        answer = call(*command)
        assert answer.code in codes, (command, answer)
        assert "a fault of cebctl" not in answer.err, (command, answer)
    assert run.next_attempt("train") in (2, 3)
