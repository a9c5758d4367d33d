"""The live picture of a matrix at work, made to fit the terminal as it is now, whatever the number of runs.

From top to bottom: the counts and the time left; a bar for each family; what runs; why others wait; what failed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from cebctl.render.console import format_duration
from cebctl.render.state_styles import STATE_STYLES
from cebctl.render.status_view import progress, reason, summary
from cebctl.status.families import family_axes
from cebctl.status.polling import Snapshot
from cebctl.status.states import RunStatus, State
from experiments.matrix.planned_run import Matrix, format_value

_BAR = 30
"""Characters of a bar."""
_PARTS: tuple[tuple[State, str], ...] = (
    ("done", "█"),
    ("running", "▓"),
    ("failed", "✗"),
    ("lost", "?"),
    ("queued", "▒"),
)
"""The states in a bar, from its left, and how they are drawn without colours; the rest is new."""
_SILENT_SECONDS = 120.0
_LEAST = 3
"""Lines that each section gets where there is little room."""


@dataclass(frozen=True)
class Picture:
    """What is shown, and since when."""

    matrix: Matrix
    seen: Snapshot
    done_before: int
    """How many runs were done when the watching began."""
    seconds: float
    """Since it began."""

    def text(self, width: int, height: int) -> Text:
        """At most `height` lines of at most `width` characters."""
        head = [self._head(), *(Text(f"! {warning}", style="yellow") for warning in self.seen.warnings)]
        sections = [self._families(), self._running(), self._waiting(), self._ended()]
        lines = head[: max(height, 0)]
        for lot, section in zip(_lots([len(s) for s in sections], height - len(lines)), sections, strict=True):
            lines += section if lot >= len(section) else [*section[: lot - 1], _more(len(section) - lot + 1)][:lot]
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        return Text("\n").join(lines)

    def _head(self) -> Text:
        runs = self.seen.runs
        done = sum(run.state == "done" for run in runs)
        left = ""
        if self.done_before < done < len(runs):
            left = f", {format_duration(self.seconds / (done - self.done_before) * (len(runs) - done))} left"
        return Text.assemble((self.matrix.name, "bold"), f"  {summary(runs)}{left}  {time.strftime('%H:%M:%S')}")

    def _families(self) -> list[Text]:
        """A bar for each, its runs in order of state."""
        axes = family_axes(self.matrix.runs)
        families: dict[str, list[RunStatus]] = {}
        for run in self.seen.runs:
            name = " ".join(format_value(run.planned.axes[key]) for key in axes if key in run.planned.axes)
            families.setdefault(name, []).append(run)
        widest = max(map(len, families), default=0)
        return [
            Text.assemble(f"  {name:<{widest}}  {_done(runs):>4}/{len(runs):<4}  ", _bar(runs))
            for name, runs in families.items()
        ]

    def _running(self) -> list[Text]:
        """The names last, because they may be cut."""
        runs = [run for run in self.seen.runs if run.state == "running"]
        stands = [f"{progress(run.current.job)}{_silent(run)}" for run in runs]
        hosts = [run.current.job.host or "" if run.current.job else "" for run in runs]
        widths = max(map(len, stands), default=0), max(map(len, hosts), default=0)
        return [
            Text.assemble(
                ("  " + f"{run.current.stage:<8}", STATE_STYLES["running"].terminal),
                f"  {stand:<{widths[0]}}  {host:<{widths[1]}}  {run.planned.name}",
            )
            for run, stand, host in zip(runs, stands, hosts, strict=True)
        ]

    def _waiting(self) -> list[Text]:
        """How many runs wait for what, in Slurm's words."""
        notes = Counter(run.current.slurm_note or "in the queue" for run in self.seen.runs if run.state == "queued")
        style = STATE_STYLES["queued"].terminal
        return [Text.assemble("  ", (f"{count} queued", style), f"  {note}") for note, count in notes.most_common()]

    def _ended(self) -> list[Text]:
        return [
            Text.assemble(
                "  ", (f"{run.state:<6}", STATE_STYLES[run.state].terminal), f"  {run.planned.name}  {reason(run)}"
            )
            for run in self.seen.runs
            if run.state in ("failed", "lost")
        ]


def _silent(run: RunStatus) -> str:
    """For how long a run was not heard of, if it is worth a word."""
    age = time.time() - run.current.job.updated_at if run.current.job else 0.0
    return f", silent for {format_duration(age)}" if age > _SILENT_SECONDS else ""


def _done(runs: Sequence[RunStatus]) -> int:
    return sum(run.state == "done" for run in runs)


def _bar(runs: Sequence[RunStatus]) -> Text:
    """Each state's share; one that has any run has at least a character, taken from the largest."""
    counts = Counter(run.state for run in runs)
    widths = {state: max(round(counts[state] * _BAR / len(runs)), 1) for state, _ in _PARTS if counts[state]}
    while sum(widths.values()) > _BAR:
        widths[max(widths, key=lambda state: widths[state])] -= 1
    bar = Text()
    for state, sign in _PARTS:
        bar.append(sign * widths.get(state, 0), style=STATE_STYLES[state].terminal)
    bar.append("░" * (_BAR - len(bar)), style="dim")
    return bar


def _lots(wanted: Sequence[int], room: int) -> list[int]:
    """How many lines each section gets: all it wants, or an even share of what is left and what others leave."""
    lots = [min(want, _LEAST) for want in wanted]
    while sum(lots) > max(room, 0):
        lots[lots.index(max(lots))] -= 1
    while (room_left := room - sum(lots)) > 0 and lots != list(wanted):
        for index, want in enumerate(wanted):
            if lots[index] < want and room_left > 0:
                lots[index] += 1
                room_left -= 1
    return lots


def _more(count: int) -> Text:
    return Text(f"  … and {count} more", style="dim")
