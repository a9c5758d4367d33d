"""The output of `cebctl logs`: the journals and the content lines of a run's attempts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from cebctl.render.console import pluralize, terminal_width, wrap
from cebctl.standard_streams import output_error
from cebctl.status.log_sources import LogSources
from cebctl.text_output import write
from experiments.benchmarks import describe
from experiments.regular_files import open_regular
from jobs.journal.files import read
from jobs.journal.ownership import Owner
from jobs.journal.records import AnyRecord, Heartbeat, Metrics, Result
from jobs.paths import STAGES, RunPaths, Stage

POLL_SECONDS = 0.5
STATE_POLL_SECONDS = 2.0
"""The run's state is polled less often than its files, because it costs a query to Slurm."""


def print_logs(paths: RunPaths, poll: Callable[[], LogSources], *, lines: int, follow: bool) -> None:
    """Print the last lines of every attempt's journal and output; with `follow`, new ones until the run has ended."""
    printer = _LogPrinter(paths, lines)
    sources = poll()
    printer.print(sources)
    while follow and sources.is_under_way:
        sys.stdout.flush()
        if output_error() is not None:
            return
        next_poll = time.monotonic() + STATE_POLL_SECONDS
        while time.monotonic() < next_poll:
            time.sleep(POLL_SECONDS)
            printer.print(sources)
        sources = poll()
    printer.print(sources, to_the_end=True)
    sys.stdout.flush()


class _LogPrinter:
    """Prints what is new in the journals and outputs of a run."""

    def __init__(self, paths: RunPaths, lines: int) -> None:
        self._paths, self._lines = paths, lines
        self._offsets: dict[Path, int] = {}
        self._owners: dict[tuple[Stage, int], Owner] = {}
        self._states: dict[str, str] = {}

    def print(self, sources: LogSources, *, to_the_end: bool = False) -> None:
        """Print the new lines; `to_the_end`, also a last line without its newline."""
        for stage in STAGES:
            for attempt in self._paths.attempts(stage):
                owner = self._owners.setdefault((stage, attempt), Owner.of_attempt(self._paths, stage, attempt))
                self._print_journal(self._paths.journal(stage, attempt), f"{stage}.{attempt}", owner)
                self._print_output(self._paths.log(stage, attempt), f"{stage}.{attempt}", to_the_end)
            for path in sources.paths.get(stage, ()):
                self._print_output(path, stage, to_the_end)
            if stage in sources.stages:
                state, note = sources.stages[stage]
                text = f"{state}: {note}" if note else state
                if self._states.get(stage) != text:
                    self._states[stage] = text
                    write(_wrap_first_line(f"{stage}  {time.strftime('%H:%M:%S')} is {text}"))

    def _print_journal(self, path: Path, label: str, owner: Owner) -> None:
        first = path not in self._offsets
        chunk = read(path, self._offsets.get(path, 0))
        self._offsets[path] = chunk.offset
        own = owner.sift(chunk.records)  # a copied journal holds records of another run
        if skipped := chunk.damaged + len(chunk.records) - len(own):
            text = f"{pluralize(skipped, 'line')} of {path} left out: damaged, or another run's; see `cebctl doctor`"
            write(_wrap_first_line(f"{label}  {text}"))
        for record in own[-self._lines :] if first else own:
            write(_wrap_first_line(f"{label}  {_format_record(record)}"))

    def _print_output(self, path: Path, label: str, to_the_end: bool) -> None:
        """Print complete lines only, because a job may be writing the last one; `to_the_end`, that one too."""
        try:
            with open_regular(path) as file:
                file.seek(self._offsets.get(path, 0))
                content = file.read()
        except FileNotFoundError:
            return
        length = len(content) if to_the_end else content.rfind(b"\n") + 1
        first = path not in self._offsets
        self._offsets[path] = self._offsets.get(path, 0) + length
        lines = content[:length].decode(errors="replace").splitlines()
        for line in lines[-self._lines :] if first else lines:
            write(f"{label}  | {line}")


def _wrap_first_line(text: str) -> str:
    """Wrap the first line, which is ours, to the terminal; lines after it, such as a traceback, stay as they are."""
    first, *lines = text.split("\n")
    return "\n".join([wrap(first, terminal_width(), "    "), *lines])


def _format_record(record: AnyRecord) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(record.time))
    kind = type(record).__name__.lower()
    if isinstance(record, Metrics):
        values = "  ".join(f"{k} {'nan' if v is None else format(v, '.4g')}" for k, v in record.values.items())
        return f"{clock} step {record.step} epoch {record.epoch:.3g}  {values}"
    if isinstance(record, Heartbeat):
        return f"{clock} {record.activity or 'at work'}: step {record.step}/{record.steps}"
    if isinstance(record, Result):
        measures = "  ".join(
            f"{measure.name} {measure.correct}/{measure.total}"
            if measure.correct is not None
            else f"{measure.name} {'nan' if measure.value is None else format(measure.value, '.4g')}"
            for measure in record.measures
        )
        return f"{clock} result  {describe(record.benchmark)}: {measures}  in {record.seconds:.1f} s"
    fields = {name: getattr(record, name) for name in record.__struct_fields__ if name not in ("time", "per_sample")}
    text = "  ".join(f"{name} {value}" for name, value in fields.items() if value not in (None, "", []))
    return f"{clock} {kind}  {text}"
