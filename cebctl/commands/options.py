"""Arguments and options that several commands share, and the panels in which help shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cebctl.commands import completion

SELECTION, EXECUTION, OUTPUT = "Which runs", "Where and how it runs", "What is shown"
"""The panels of the help."""


def output_path(option: typer.CallbackParam, path: Path | None) -> Path | None:
    """Return the path that an option names for what is written, with `~` and variables expanded.

    Raises InputError for a URL or a control character.
    """
    from experiments.user_paths import expand

    if path is None:
        return None
    expanded = expand(str(path), option.opts[0] if option.opts else str(option.name))
    return path if expanded == path.absolute() else expanded


_MATRIX = typer.Argument(
    metavar="MATRIX", help="A matrix, such as experiments/digits.yaml.", autocompletion=completion.matrices
)
MatrixArgument = Annotated[Path, _MATRIX]
OptionalMatrix = Annotated[Path | None, _MATRIX]
RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's id or the beginning of one, or its name: 'ceb rho=3'.",
        autocompletion=completion.run_ids,
    ),
]
Only = Annotated[
    str | None,
    typer.Option(
        "--only",
        metavar="SELECTION",
        help="Some of the runs: 'objective=ceb, rho<=3'.",
        show_default="all",
        autocompletion=completion.selections,
        rich_help_panel=SELECTION,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.", rich_help_panel=OUTPUT)]
Again = Annotated[
    list[str] | None,
    typer.Option(
        "--again",
        metavar="SELECTION",
        help="Only this, and although it is done: benchmarks ('pgd, norm=linf'), or train. Repeatable.",
        autocompletion=completion.benchmarks,
        rich_help_panel=SELECTION,
    ),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Failed runs count as missing.", rich_help_panel=SELECTION)
]
