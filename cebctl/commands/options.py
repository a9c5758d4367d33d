"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MatrixArgument = Annotated[Path, typer.Argument(metavar="MATRIX", help="A matrix, such as experiments/digits.yaml.")]
Only = Annotated[
    str | None, typer.Option("--only", metavar="SELECTION", help="Some of the runs: 'objective=ceb, rho<=3'.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")]
