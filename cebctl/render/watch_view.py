"""The live screen of `--watch`, made to fit the terminal at its present size, whatever the number of runs.

From top to bottom: the counts and the time left, a bar for each family, the running runs, the reasons why others wait,
the failed runs.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from cebctl.render.console import format_duration
from cebctl.render.state_styles import STATE_STYLES
from cebctl.render.status_view import describe_progress, state_reason, summarize_states
from cebctl.status.families import family_axes
from cebctl.status.polling import Snapshot
from cebctl.status.states import RunStatus, State
from cebctl.text_output import visible
from experiments.matrix.planned_run import Matrix, format_value

_BAR_WIDTH = 30
_BAR_SIGNS: tuple[tuple[State, str], ...] = (
    ("done", "█"),
    ("running", "▓"),
    ("failed", "✗"),
    ("lost", "?"),
    ("queued", "▒"),
    ("new", "░"),
)
"""The states in a bar from left to right, with their signs, which tell them apart without colours."""
_SILENT_SECONDS = 120.0
_MIN_LINES = 3
"""The lines of each section on a small terminal."""
_LEGEND_HEIGHT = 12
"""A terminal of fewer lines has none to spare for a legend."""


@dataclass(frozen=True)
class WatchScreen:
    """A snapshot of the runs, and how far they got since the watching began."""

    matrix: Matrix
    snapshot: Snapshot
    done_before: int
    """The number of runs that were done when the watching began."""
    elapsed: float
    """Seconds since the watching began."""

    def render(self, width: int, height: int) -> Text:
        """Return at most `height` lines of at most `width` characters."""
        head = [self._head(), *(Text(f"! {warning}", style="yellow") for warning in self.snapshot.warnings)]
        sections = [self._families(), self._running(), self._waiting(), self._ended()]
        lines = head[: max(height, 0)]
        legend = [self._legend()] if height >= _LEGEND_HEIGHT + len(lines) else []
        shares = _share_lines([len(section) for section in sections], height - len(lines) - len(legend))
        for share, section in zip(shares, sections, strict=True):
            if share < len(section):
                more = Text(f"  … and {len(section) - share + 1} more", style="dim")
                section = [*section[: share - 1], more][:share]
            lines += section
        lines += legend
        for line in lines:
            line.plain = visible(line.plain)  # sign for sign, so that styles stay in place
            line.truncate(width, overflow="ellipsis")
        return Text("\n").join(lines)

    def _head(self) -> Text:
        runs = self.snapshot.runs
        done = sum(run.state == "done" for run in runs)
        left = ""
        if self.done_before < done < len(runs):
            left = f", {format_duration(self.elapsed / (done - self.done_before) * (len(runs) - done))} left"
        return Text.assemble(
            (self.matrix.name, "bold"), f"  {summarize_states(runs)}{left}  {time.strftime('%H:%M:%S')}"
        )

    def _legend(self) -> Text:
        """Return the signs of the bars, and the way out."""
        states = {run.state for run in self.snapshot.runs}
        legend = Text("  ")
        for state, sign in _BAR_SIGNS:
            if state in states:
                legend.append(sign, style=STATE_STYLES[state].terminal).append(f" {state}  ")
        return legend.append("Ctrl-C leaves it running", style="dim")

    def _families(self) -> list[Text]:
        """Return a line with a bar for each family of runs."""
        axes = family_axes(self.matrix)
        families: dict[str, list[RunStatus]] = {}
        for run in self.snapshot.runs:
            name = " ".join(format_value(run.planned.axes[key]) for key in axes if key in run.planned.axes)
            families.setdefault(name, []).append(run)
        widest = max(map(len, families), default=0)
        return [
            Text.assemble(f"  {name:<{widest}}  {done:>4}/{len(runs):<4}  ", _bar(runs))
            for name, runs in families.items()
            for done in (sum(run.state == "done" for run in runs),)
        ]

    def _running(self) -> list[Text]:
        """Return a line for each running run; its name is last because it may be cut off."""
        runs = [run for run in self.snapshot.runs if run.state == "running"]
        progress = [f"{describe_progress(run.current.job)}{_silent(run)}" for run in runs]
        hosts = [run.current.job.host or "" if run.current.job else "" for run in runs]
        widths = max(map(len, progress), default=0), max(map(len, hosts), default=0)
        return [
            Text.assemble(
                ("  " + f"{run.current.stage:<8}", STATE_STYLES["running"].terminal),
                f"  {text:<{widths[0]}}  {host:<{widths[1]}}  {run.planned.name}",
            )
            for run, text, host in zip(runs, progress, hosts, strict=True)
        ]

    def _waiting(self) -> list[Text]:
        """Return a line for each reason why runs wait, in Slurm's words, with their number."""
        notes = Counter(run.current.slurm_note or "in the queue" for run in self.snapshot.runs if run.state == "queued")
        style = STATE_STYLES["queued"].terminal
        return [Text.assemble("  ", (f"{count} queued", style), f"  {note}") for note, count in notes.most_common()]

    def _ended(self) -> list[Text]:
        """Return a line for each run that failed or was lost."""
        lines = []
        for run in self.snapshot.runs:
            if run.state in ("failed", "lost"):
                state = (f"{run.state:<6}", STATE_STYLES[run.state].terminal)
                lines.append(Text.assemble("  ", state, f"  {run.planned.name}  {state_reason(run)}"))
        return lines


def _silent(run: RunStatus) -> str:
    """Return a note on how long a run has sent no heartbeat, if that is long."""
    age = time.time() - run.current.job.updated_at if run.current.job else 0.0
    return f", silent for {format_duration(age)}" if age > _SILENT_SECONDS else ""


def _bar(runs: Sequence[RunStatus]) -> Text:
    """Return a bar of the states' shares; a state that occurs gets at least one sign, taken from the largest."""
    counts = Counter(run.state for run in runs)
    others = [state for state, _ in _BAR_SIGNS if counts[state] and state != "new"]
    widths = {state: max(round(counts[state] * _BAR_WIDTH / len(runs)), 1) for state in others}
    # Rounding up rare states can make the bar too long.
    while sum(widths.values()) > _BAR_WIDTH:
        widths[max(widths, key=lambda state: widths[state])] -= 1
    bar = Text()
    for state, sign in _BAR_SIGNS:
        width = _BAR_WIDTH - len(bar) if state == "new" else widths.get(state, 0)
        bar.append(sign * width, style=STATE_STYLES[state].terminal)
    return bar


def _share_lines(section_lines: Sequence[int], available: int) -> list[int]:
    """Return the lines of each section: all that it wants, or an equal share of what the smaller sections leave."""
    shares = [min(lines, _MIN_LINES) for lines in section_lines]
    while sum(shares) > max(available, 0):
        shares[shares.index(max(shares))] -= 1
    while (free := available - sum(shares)) > 0 and shares != list(section_lines):
        for index, lines in enumerate(section_lines):
            if shares[index] < lines and free > 0:
                shares[index] += 1
                free -= 1
    return shares
