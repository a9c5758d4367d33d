"""`cebctl export`: write metrics and results in the formats of other tools, or a network as a file of torch's."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cebctl.commands.completion import matrices
from cebctl.commands.options import Only, output_path
from cebctl.interrupts import interrupt_message


class Target(StrEnum):
    """The formats; all but csv and torch need the optional extra of the same name."""

    csv = "csv"
    parquet = "parquet"
    tensorboard = "tensorboard"
    mlflow = "mlflow"
    torch = "torch"


@interrupt_message("interrupted: nothing was exported")
def export(
    matrix: Annotated[
        str,
        typer.Argument(metavar="MATRIX", help="A matrix; for torch also a run's id or name.", autocompletion=matrices),
    ],
    to: Annotated[Target, typer.Option("--to", help="The format.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", callback=output_path, help="A new or an empty folder; for torch a new file."
        ),
    ],
    only: Only = None,
) -> None:
    """Write the runs, all their metrics and their newest results in the format of another tool.

    `--to torch` writes the network of one run: `torch.export.load(FILE).module()` maps images in [0, 1] to logits, with
    torch alone.

    Example: `cebctl export experiments/digits.yaml --to csv --out digits`

    Example: `cebctl export experiments/digits.yaml --only 'objective=ceb' --to tensorboard --out board`

    Example: `cebctl export experiments/digits.yaml --only 'objective=ceb, rho=3' --to torch --out ceb.pt2`
    """
    from cebctl.export.run_export import export as export_runs
    from cebctl.render import console
    from cebctl.status.collect import open_home
    from cebctl.status.home_matrix import load
    from experiments.user_paths import check_folder
    from jobs.paths import Home

    home = Home.from_environment()
    if to is Target.torch:
        from cebctl.export.torch_file import export_network

        run = export_network(matrix, only, home, out)
        console.progress_console().print(f"{run}: its network exported to {out}", markup=False)
        return
    chosen = load(Path(matrix)).select(only)
    check_folder(out, "--out")
    with open_home(home) as store:
        runs = export_runs(chosen, store, home, to.value, out)
    console.progress_console().print(f"{chosen.path}: {console.pluralize(runs, 'run')} exported to {out}", markup=False)
