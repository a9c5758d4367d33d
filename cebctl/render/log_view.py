"""`cebctl logs`: journals and printed output of a run's attempts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from cebctl.render.console import terminal_width, wrap
from cebctl.status.log_sources import LogSources
from experiments.benchmarks import describe
from jobs.journal.files import read
from jobs.journal.ownership import Owner
from jobs.journal.records import AnyRecord, Heartbeat, Metrics, Result
from jobs.paths import STAGES, RunPaths, Stage

POLL_SECONDS = 0.5
LOOK_SECONDS = 2.0
"""Between two looks at the run's state; files are read more often."""

Look = Callable[[], LogSources]


def show(paths: RunPaths, look: Look, *, lines: int, follow: bool) -> None:
    """Print the last lines of every attempt's journal and output; with `follow`, then what comes, until the run has
    ended."""
    pages = _Pages(paths, lines)
    seen = look()
    pages.print(seen)
    while follow and seen.is_under_way:
        sys.stdout.flush()
        until = time.monotonic() + LOOK_SECONDS
        while time.monotonic() < until:
            time.sleep(POLL_SECONDS)
            pages.print(seen)
        seen = look()
    pages.print(seen, to_the_end=True)
    sys.stdout.flush()


class _Pages:
    """How far each journal and each output was printed."""

    def __init__(self, paths: RunPaths, lines: int) -> None:
        self._paths, self._lines = paths, lines
        self._offsets: dict[Path, int] = {}
        self._owners: dict[tuple[Stage, int], Owner] = {}
        self._said: dict[str, str] = {}

    def print(self, seen: LogSources, *, to_the_end: bool = False) -> None:
        for stage in STAGES:
            for attempt in self._paths.attempts(stage):
                owner = self._owners.setdefault((stage, attempt), Owner.of_attempt(self._paths, stage, attempt))
                self._journal(self._paths.journal(stage, attempt), f"{stage}.{attempt}", owner)
                self._output(self._paths.log(stage, attempt), f"{stage}.{attempt}", to_the_end)
            for path in seen.paths.get(stage, ()):
                self._output(path, stage, to_the_end)
            self._standing(stage, seen)

    def _standing(self, stage: str, seen: LogSources) -> None:
        """A line whenever a stage is in another state, or the cluster says something else of it."""
        for at, (state, note) in seen.stages.items():
            text = f"{state}: {note}" if note else state
            if at == stage and self._said.get(stage) != text:
                self._said[stage] = text
                print(_broken(f"{stage}  {time.strftime('%H:%M:%S')} is {text}"))

    def _journal(self, path: Path, label: str, owner: Owner) -> None:
        first = path not in self._offsets
        chunk = read(path, self._offsets.get(path, 0))
        self._offsets[path] = chunk.offset
        own = owner.sift(chunk.records)
        if skipped := chunk.damaged + len(chunk.records) - len(own):
            lines = f"{skipped} line{'s' * (skipped > 1)}"
            print(_broken(f"{label}  {lines} of {path} left out: damaged, or another run's; see `cebctl doctor`"))
        for record in own[-self._lines :] if first else own:
            print(_broken(f"{label}  {_line(record)}"))

    def _output(self, path: Path, label: str, to_the_end: bool) -> None:
        """Whole lines only, as the rest of one may be on its way; `to_the_end`, the rest too."""
        try:
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                printed = file.read()
        except FileNotFoundError:
            return
        whole = len(printed) if to_the_end else printed.rfind(b"\n") + 1
        first = path not in self._offsets
        self._offsets[path] = self._offsets.get(path, 0) + whole
        lines = printed[:whole].decode(errors="replace").splitlines()
        for line in lines[-self._lines :] if first else lines:
            print(f"{label}  | {line}")


def _broken(text: str) -> str:
    """A line of ours as the terminal has room for it; the lines of a traceback behind it, and what a job printed, are
    never changed."""
    first, *others = text.split("\n")
    return "\n".join([wrap(first, terminal_width(), "    "), *others])


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
            else f"{measure.name} {'nan' if measure.value is None else format(measure.value, '.4g')}"
            for measure in record.measures
        )
        return f"{when} result  {describe(record.benchmark)}: {found}  in {record.seconds:.1f} s"
    fields = {name: getattr(record, name) for name in record.__struct_fields__ if name not in ("time", "per_sample")}
    text = "  ".join(f"{name} {value}" for name, value in fields.items() if value not in (None, "", []))
    return f"{when} {kind}  {text}"
