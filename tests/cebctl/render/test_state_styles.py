"""One name, one sign and one colour for each state, wherever it is shown."""

from __future__ import annotations

from cebctl.render.console import STATE_STYLE
from cebctl.render.state_styles import LOOKS
from cebctl.status.states import STATES


def test_every_state_has_a_look_of_its_own() -> None:
    assert tuple(LOOKS) == STATES
    for part in ("terminal", "light", "dark", "sign", "means"):
        assert len({getattr(look, part) for look in LOOKS.values()}) == len(STATES)
    assert {state: look.terminal for state, look in LOOKS.items()} == STATE_STYLE
