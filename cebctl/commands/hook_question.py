"""The question whether the hook of a home may be called: it may have come with the folder."""

from __future__ import annotations

import shlex
import sys

from cebctl.render.console import confirm
from cebctl.status import state_hook
from jobs.paths import Home


def ask_about_hook(home: Home) -> None:
    """Ask once, on a terminal, whether a command of the home's configuration may be called, and remember the answer.

    Elsewhere nothing is asked, and the command is not called.
    """
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        return
    if hook := state_hook.unanswered_hook(home):
        files = f" with the content of {', '.join(map(str, hook.files))}" if hook.files else ""
        question = f"{hook.source} calls `{shlex.join(hook.command)}`{files} when runs change their state. Allow it?"
        state_hook.remember_answer(hook, allowed=confirm(question))
