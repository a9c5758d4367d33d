"""`cebctl doctor`: check the home, the store, the machine and the cluster, and list what to fix."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cebctl.commands.completion import matrices
from cebctl.commands.options import AsJson
from cebctl.interrupts import interrupt_message


@interrupt_message("interrupted; no journal was touched")
def doctor(
    matrix: Annotated[
        Path | None,
        typer.Argument(
            metavar="MATRIX",
            help="A matrix whose data and jobs are checked too, against the cluster if there is one.",
            autocompletion=matrices,
        ),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="First set the store aside and rebuild it from the journals.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Examine the home, the store, work whose workers died, data sets, packages, GPUs and the Slurm cluster; with a
    matrix, whether its jobs could run there. Exit code 1: something is wrong.

    Every row of the store is compared with its journal: seconds for each million of metrics.

    Example: `cebctl doctor`

    Example: `cebctl doctor experiments/imagenet.yaml`
    """
    from cebctl.diagnostics import doctor as diagnosis
    from cebctl.diagnostics.findings import to_json
    from cebctl.render import console, doctor_view
    from cebctl.status.home_matrix import load
    from jobs.paths import Home

    chosen = load(matrix) if matrix else None
    home = Home.from_environment()
    if rebuild:
        doctor_view.print_rebuilt(diagnosis.rebuild(home))
    findings = diagnosis.examine(home, chosen)
    if json:
        console.print_json(to_json(findings))
    else:
        doctor_view.print_findings(findings)
    if any(finding.level == "wrong" for finding in findings):
        raise typer.Exit(1)
