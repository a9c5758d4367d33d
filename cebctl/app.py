"""The command line: commands by name, and the one place where an error becomes a line and an exit code.

Exit codes: 0 done, 1 some runs failed, 2 the user's input is wrong, 3 the cluster or the store can't be
reached, 4 (`plan --detailed-exitcode`) something would be submitted.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from cebctl import __version__
from cebctl.commands import cancel, data, doctor, export, gc, logs, plan, report, show, status, submit
from experiments.errors import CebctlError

app = typer.Typer(
    name="cebctl",
    help="Reproduce and extend *CEB Improves Model Robustness*: plan, submit, watch and report matrices of runs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


_UsageError: Any = typer.BadParameter.__base__
"""Click's, from wherever this version of Typer has its Click."""


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cebctl {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    if debug:
        os.environ["CEBCTL_DEBUG"] = "1"


app.command()(plan.plan)
app.command()(submit.submit)
app.command()(status.status)
app.command()(report.report)
app.command()(cancel.cancel)
app.command()(logs.logs)
app.command()(show.show)
app.add_typer(data.app, name="data")
app.command()(export.export)
app.command()(gc.gc)
app.command()(doctor.doctor)


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; errors are written to stderr, a line each."""
    try:
        code = app(arguments, prog_name="cebctl", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except CebctlError as error:
        if os.environ.get("CEBCTL_DEBUG"):
            raise
        print(error, file=sys.stderr)
        return error.exit_code
    except _UsageError as error:
        command = error.ctx.command_path if error.ctx else "cebctl"
        print(f"{command}: {error.format_message().rstrip('.')}; see `{command} --help`", file=sys.stderr)
        return 2
    except typer.Exit as error:
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:  # `cebctl status | head`
        sys.stdout = None  # nothing is left to flush to
        return 0
    except OSError as error:  # a disk that is full or read-only, wherever it was met
        if os.environ.get("CEBCTL_DEBUG"):
            raise
        print(f"{error.filename2 or error.filename or 'cebctl'}: {error.strerror or error}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    main()
