"""One name, one sign and one colour for each state, wherever it is shown."""

from __future__ import annotations

from cebctl.render.state_styles import STATE_STYLES
from cebctl.status.states import STATES


def test_every_state_has_a_look_of_its_own() -> None:
    assert tuple(STATE_STYLES) == STATES
    for part in ("terminal", "light", "dark", "sign", "meaning"):
        assert len({getattr(style, part) for style in STATE_STYLES.values()}) == len(STATES)
