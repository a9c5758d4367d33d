"""The command line: the commands by name, and the only place where an error becomes a line and an exit code.

Exit codes: 0 done, 1 some runs failed, 2 the user's input is wrong, 3 the cluster or the store can't be
reached, 4 (`plan --detailed-exitcode`) something would be submitted, 130 Ctrl-C.
"""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Any

import typer

from cebctl import __version__, standard_streams
from cebctl.commands import (
    cancel,
    corrupt,
    data,
    doctor,
    export,
    gc,
    import_weights,
    init,
    logs,
    plan,
    rehearse,
    report,
    show,
    status,
    submit,
)
from cebctl.commands.completion import rejoin_words
from cebctl.commands.global_options import Command, Group, add_global_options
from cebctl.interrupts import InterruptedByUserError, reraise_in_main_thread
from cebctl.render import output_mode
from cebctl.text_output import write
from experiments.errors import CebctlError

app = typer.Typer(
    name="cebctl",
    cls=Group,
    help="Reproduce and extend *CEB Improves Model Robustness*: plan, submit, watch and report matrices of runs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


_UsageError: Any = typer.BadParameter.__base__
"""Click's UsageError, from wherever this version of Typer has its Click."""


def _version(requested: bool) -> None:
    if requested:
        write(f"cebctl {__version__}")
        raise typer.Exit


@app.callback()
@add_global_options
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended."""

_STUDY, _RUNS, _AROUND = "A study, from matrix to table", "Single runs", "What it stands on"

_COMMANDS = (
    (_STUDY, (init.init, plan.plan, rehearse.rehearse, submit.submit, status.status, report.report, cancel.cancel)),
    (_RUNS, (logs.logs, show.show)),
    (_AROUND, (corrupt.corrupt, import_weights.import_, export.export, gc.gc, doctor.doctor)),
)
for _panel, _commands in _COMMANDS:
    for _command in _commands:
        app.command(_command.__name__.rstrip("_"), cls=Command, rich_help_panel=_panel)(add_global_options(_command))
app.add_typer(data.app, name="data", rich_help_panel=_AROUND)


def main() -> None:
    """Run the command line and exit."""
    standard_streams.guard()
    reraise_in_main_thread()
    code = run(sys.argv[1:])
    sys.stdout.flush()
    error = standard_streams.output_error()
    if error is not None and not isinstance(error, BrokenPipeError):  # `cebctl status | head` has read enough
        _print_error(f"stdout: {error.strerror}")
        code = code or 3
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code. Errors go to stderr, a line each."""
    rejoin_words()
    output_mode.reset()
    output_mode.enable(plain="--plain" in arguments)  # help is printed before the command parses its options
    app.rich_markup_mode = "markdown" if output_mode.use_boxes() else None
    try:
        code = app(arguments, prog_name="cebctl", standalone_mode=False)
        if code == INTERRUPTED:  # before the command began
            _print_error("interrupted")
        return code if isinstance(code, int) else 0
    except typer.Exit as error:
        return error.exit_code
    except (Exception, KeyboardInterrupt) as error:
        if output_mode.current.debug:
            write(traceback.format_exc(), sys.stderr, end="")
        line, code = _error_line(error)
        if line:
            _print_error(line)
        return code


def _print_error(line: str) -> None:
    from cebctl.render.console import error_console

    error_console().print(line, markup=False)


def _error_line(error: BaseException) -> tuple[str, int]:
    """Return the line for an error, and its exit code."""
    if isinstance(error, CebctlError):
        return str(error), error.exit_code
    if isinstance(error, _UsageError):
        command = error.ctx.command_path if error.ctx else "cebctl"
        message = error.format_message().rstrip(".")
        message += "" if message.endswith("?") else ";"
        return f"{command}: {message} see `{command} --help`" if message != ";" else "", 2  # empty: it was help
    if isinstance(error, OSError):  # such as a disk that is full or read-only
        return f"{error.filename2 or error.filename or 'cebctl'}: {error.strerror or error}", 3
    if isinstance(error, (typer.Abort, KeyboardInterrupt, InterruptedByUserError)):
        return " ".join(map(str, error.args)) or "interrupted", INTERRUPTED
    return f"a fault of cebctl itself: {type(error).__name__}: {error}; --debug shows where", 1


if __name__ == "__main__":
    main()
