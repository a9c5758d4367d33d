"""`cebctl logs`: journals and printed output of a run's attempts."""

from __future__ import annotations

import sys
import time

from experiments.benchmarks import describe
from jobs.home import STAGES, RunPaths, Stage
from jobs.journal import AnyRecord, Heartbeat, Metrics, Result, read

POLL_SECONDS = 0.5


def show(paths: RunPaths, *, lines: int, follow: bool) -> None:
    """Print the last `lines` journal records of every attempt and what it wrote; with `follow`, then what comes."""
    offsets: dict[tuple[Stage, int], int] = {}
    logs: dict[tuple[Stage, int], int] = {}
    tail: int | None = lines
    while True:
        for stage in STAGES:
            for attempt in paths.attempts(stage):
                _print_new(paths, stage, attempt, offsets, logs, tail)
        sys.stdout.flush()
        if not follow:
            return
        tail = None
        time.sleep(POLL_SECONDS)


def _print_new(
    paths: RunPaths,
    stage: Stage,
    attempt: int,
    offsets: dict[tuple[Stage, int], int],
    logs: dict[tuple[Stage, int], int],
    tail: int | None,
) -> None:
    key = (stage, attempt)
    chunk = read(paths.journal(stage, attempt), offsets.get(key, 0))
    offsets[key] = chunk.offset
    records = chunk.records[-tail:] if tail else chunk.records
    for record in records:
        print(f"{stage}.{attempt}  {_line(record)}")
    log = paths.log(stage, attempt)
    if log.exists():
        with log.open("rb") as file:
            file.seek(logs.get(key, 0))
            printed = file.read()
        logs[key] = logs.get(key, 0) + len(printed)
        for line in printed.decode(errors="replace").splitlines():
            print(f"{stage}.{attempt}  | {line}")


def _line(record: AnyRecord) -> str:
    when = time.strftime("%H:%M:%S", time.localtime(record.time))
    kind = type(record).__name__.lower()
    if isinstance(record, Metrics):
        values = "  ".join(f"{k} {'nan' if v is None else format(v, '.4g')}" for k, v in record.values.items())
        return f"{when} step {record.step} epoch {record.epoch:.3g}  {values}"
    if isinstance(record, Heartbeat):
        return f"{when} {record.activity or 'at work'}: step {record.step}/{record.steps}"
    if isinstance(record, Result):
        found = "  ".join(
            f"{measure.name} {measure.correct}/{measure.total}"
            if measure.correct is not None
            else f"{measure.name} {measure.value:.4g}"
            for measure in record.measures
        )
        return f"{when} result  {describe(record.benchmark)}: {found}  in {record.seconds:.1f} s"
    fields = {name: getattr(record, name) for name in record.__struct_fields__ if name not in ("time", "per_sample")}
    text = "  ".join(f"{name} {value}" for name, value in fields.items() if value not in (None, "", []))
    return f"{when} {kind}  {text}"
