"""`cebctl plan`: what would happen; submits nothing, creates nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cebctl.commands.options import AsJson, Only
from experiments.errors import InputError


def plan(
    matrix: Annotated[
        Path | None, typer.Argument(metavar="MATRIX", help="A matrix, such as experiments/digits.yaml.")
    ] = None,
    only: Only = None,
    gpus: Annotated[
        int | None,
        typer.Option(
            "--gpus",
            min=1,
            help="GPUs at once, for the time it takes.",
            show_default="8, or what the largest job needs",
        ),
    ] = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", help="Which GPU, such as a100-40gb.", show_default="what the matrix asks for")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="List every run.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="What changed since the matrix was last submitted.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Count failed runs as missing.")] = False,
    json: AsJson = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of matrix files, for editors, and nothing else.")
    ] = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 4 if something would be submitted.")
    ] = False,
) -> None:
    """Show what `submit` would do and what it would cost. Submits and creates nothing.

    Example: `cebctl plan experiments/imagenet.yaml --gpus 256 --only 'objective in (xent, ceb), rho <= 3'`
    """
    from cebctl.render import console

    if schema:
        from experiments.json_schema import json_schema

        console.print_json(json_schema())
        return
    if matrix is None:
        raise InputError("cebctl plan", "Missing argument 'MATRIX'", "see `cebctl plan --help`")

    from cebctl.control.planning import make_plan
    from cebctl.render import plan_view
    from experiments.matrix import load
    from jobs.home import Home

    chosen = load(matrix).only(only)
    home = Home.from_environment()
    planned = make_plan(chosen, home, retry_failed=retry_failed, gpu=gpu, gpus=gpus, diff=diff)
    if json:
        console.print_json(planned.to_json())
    else:
        plan_view.show(planned, full=full)
    if detailed_exitcode and planned.due:
        raise typer.Exit(4)
