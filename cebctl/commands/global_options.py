"""The options that every command has: `cebctl -q submit m.yaml` and `cebctl submit m.yaml -q` are the same."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

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


def add_global_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the command with these options, which are handled before it runs."""
    own = inspect.signature(command, eval_str=True)
    common = inspect.signature(_options, eval_str=True)

    @functools.wraps(command)
    def with_options(**arguments: Any) -> Any:
        output_mode.enable(**{name: arguments.pop(name) for name in common.parameters})
        try:
            return command(**arguments)
        except KeyboardInterrupt as error:  # Typer would exit without a message
            raise InterruptedByUserError(*error.args) from None

    # Typer reads a command's options off its signature.
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for signature in (own, common)
        for parameter in signature.parameters.values()
    ]
    with_options.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options


class _ShortHelp:
    """Help in which flags have no type, and a command's does not repeat the options that `cebctl --help` explains."""

    epilog: str | None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        for option in self.get_params(ctx):  # type: ignore[attr-defined]
            if getattr(option, "is_flag", False):
                option.metavar = ""
            if ctx.parent and getattr(option, "rich_help_panel", None) == _PANEL:
                option.hidden = True
        if ctx.parent:
            self.epilog = "`cebctl --help` has the options of every command: -v, -q, --plain, --debug."
        super().format_help(ctx, formatter)  # type: ignore[misc]


class Command(_ShortHelp, TyperCommand):
    """A command of cebctl."""


class Group(_ShortHelp, TyperGroup):
    """Commands under one name."""
