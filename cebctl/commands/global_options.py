"""The options that every command has: `cebctl -q submit m.yaml` and `cebctl submit m.yaml -q` are the same."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cebctl.interrupts import InterruptedByUserError
from cebctl.render import output_mode

_PANEL = "Everywhere"

Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Say on stderr what is asked of Slurm and done in the home, and how long each took.",
        rich_help_panel=_PANEL,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="No progress and no news: results on stdout, errors on stderr.", rich_help_panel=_PANEL
    ),
]
Plain = Annotated[
    bool,
    typer.Option(
        "--plain",
        help="For screen readers and grep: no boxes, no bars, no redraw, one fact per line. Always: CEBCTL_PLAIN=1.",
        rich_help_panel=_PANEL,
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show an error's traceback.", rich_help_panel=_PANEL)]


def _options(verbose: Verbose = False, quiet: Quiet = False, plain: Plain = False, debug: Debug = False) -> None: ...


def everywhere(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with these options, which it does not see."""
    own = inspect.signature(command, eval_str=True)
    common = inspect.signature(_options, eval_str=True)

    @functools.wraps(command)
    def with_options(**given: Any) -> Any:
        output_mode.ask(**{name: given.pop(name) for name in common.parameters})
        try:
            return command(**given)
        except KeyboardInterrupt as error:  # which Typer would take for an exit without a word
            raise InterruptedByUserError(*error.args) from None

    added = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in common.parameters.values()]
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own.parameters.values()]
    with_options.__signature__ = own.replace(parameters=[*parameters, *added])  # type: ignore[attr-defined]
    with_options.__annotations__ = {one.name: one.annotation for one in (*parameters, *added)}
    return with_options
