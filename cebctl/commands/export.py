"""`cebctl export`: write metrics and results in the formats of other tools."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cebctl.commands.options import MatrixArgument, Only
from cebctl.interrupts import interrupt_message


class Target(StrEnum):
    """The formats; all but csv need the optional extra of the same name."""

    csv = "csv"
    parquet = "parquet"
    tensorboard = "tensorboard"
    mlflow = "mlflow"


@interrupt_message("interrupted: nothing was exported")
def export(
    matrix: MatrixArgument,
    to: Annotated[Target, typer.Option("--to", help="The format.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new or an empty folder.")],
    only: Only = None,
) -> None:
    """Write the runs, all their metrics and their newest results in the format of another tool.

    Example: `cebctl export experiments/digits.yaml --to csv --out digits`

    Example: `cebctl export experiments/digits.yaml --only 'objective=ceb' --to tensorboard --out board`
    """
    from cebctl.export.run_export import export as export_runs
    from cebctl.render import console
    from cebctl.status.collect import open_home
    from experiments.matrix.load import load
    from jobs.paths import Home

    chosen = load(matrix).select(only)
    home = Home.from_environment()
    with open_home(home) as store:
        runs = export_runs(chosen, store, home, to.value, out)
    console.progress_console().print(f"{chosen.path}: {console.pluralize(runs, 'run')} exported to {out}", markup=False)
