"""The style of each state: one sign, one meaning and one colour, on a terminal and on a page alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cebctl.status.states import State


@dataclass(frozen=True)
class StateStyle:
    """The style of a state. Its sign stands beside its name, so that nothing depends on the colour."""

    terminal: str
    """A style of rich's."""
    light: str
    """The colour on a light page, with a contrast of at least 4.5 to white."""
    dark: str
    """The colour on a dark page, with a contrast of at least 4.5 to #16181d."""
    sign: str
    meaning: str


STATE_STYLES: Mapping[State, StateStyle] = {
    "new": StateStyle("dim", "#5f6368", "#9aa0a6", "○", "never run, or released"),
    "queued": StateStyle("cyan", "#00697a", "#4dd0e1", "◔", "claimed by a submission whose workers live"),
    "running": StateStyle("blue", "#1a56c4", "#8ab4f8", "▶", "running now"),
    "done": StateStyle("green", "#137333", "#81c995", "✓", "trained, and every benchmark has its result"),
    "failed": StateStyle("red", "#b3261e", "#f28b82", "✗", "ended by an error of its own"),
    "lost": StateStyle("yellow", "#8a5300", "#fdd663", "?", "stopped without a result; resumes from its checkpoint"),
}
