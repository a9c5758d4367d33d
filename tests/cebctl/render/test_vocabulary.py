"""One name, one sign and one colour for each state, wherever it is shown."""

from __future__ import annotations

from cebctl.control.states import STATES
from cebctl.render.console import STATE_STYLE
from cebctl.render.vocabulary import LOOKS


def test_every_state_has_a_look_of_its_own() -> None:
    assert tuple(LOOKS) == STATES
    for part in ("terminal", "light", "dark", "sign", "means"):
        assert len({getattr(look, part) for look in LOOKS.values()}) == len(STATES)
    assert {state: look.terminal for state, look in LOOKS.items()} == STATE_STYLE
