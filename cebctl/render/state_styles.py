"""The states of a run as people see them: one name, one meaning and one colour, on a terminal and on a page alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cebctl.status.states import State


@dataclass(frozen=True)
class Look:
    """How a state looks. A sign stands beside each name, so that nothing depends on the colour."""

    terminal: str
    """A style of rich's."""
    light: str
    """On a light page, with a contrast of at least 4.5 to white."""
    dark: str
    """On a dark page, with a contrast of at least 4.5 to #16181d."""
    sign: str
    means: str


LOOKS: Mapping[State, Look] = {
    "new": Look("dim", "#5f6368", "#9aa0a6", "○", "never run, or given back"),
    "queued": Look("cyan", "#00697a", "#4dd0e1", "◔", "claimed by a submission whose workers live"),
    "running": Look("blue", "#1a56c4", "#8ab4f8", "▶", "at work now"),
    "done": Look("green", "#137333", "#81c995", "✓", "trained, and every benchmark has its result"),
    "failed": Look("red", "#b3261e", "#f28b82", "✗", "ended by an error of its own"),
    "lost": Look("yellow", "#8a5300", "#fdd663", "?", "gone without a word, or stopped; goes on from its checkpoint"),
}
