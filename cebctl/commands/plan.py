"""`cebctl plan`: show what `submit` would do; submits and creates nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from cebctl.commands.completion import gpu_names
from cebctl.commands.options import OUTPUT, Again, AsJson, Only, OptionalMatrix, RetryFailed
from cebctl.interrupts import interrupt_message
from experiments.errors import InputError

COST = "What the cost is of"
Gpus = Annotated[
    int | None,
    typer.Option(
        "--gpus",
        min=1,
        help="GPUs at once, for the time it takes.",
        show_default="8, or what the largest job needs",
        rich_help_panel=COST,
    ),
]
Gpu = Annotated[
    str | None,
    typer.Option(
        "--gpu",
        help="Which GPU, such as a100-40gb.",
        show_default="what the matrix asks for",
        autocompletion=gpu_names,
        rich_help_panel=COST,
    ),
]
Full = Annotated[bool, typer.Option("--full", help="List every run.", rich_help_panel=OUTPUT)]
Diff = Annotated[
    bool, typer.Option("--diff", help="What changed since the matrix was last submitted.", rich_help_panel=OUTPUT)
]
Schema = Annotated[
    bool,
    typer.Option(
        "--schema",
        help="Print the JSON Schema of matrix files, for editors, and nothing else; with a MATRIX, its own parts too.",
        rich_help_panel=OUTPUT,
    ),
]
Count = Annotated[
    bool,
    typer.Option(
        "--count",
        help="Try parts of one's own and count the operations of networks, which runs their code.",
        rich_help_panel=OUTPUT,
    ),
]
DetailedExitcode = Annotated[
    bool,
    typer.Option("--detailed-exitcode", help="Exit with 4 if something would be submitted.", rich_help_panel=OUTPUT),
]


@interrupt_message("interrupted; plan changes nothing")
def plan(
    matrix: OptionalMatrix = None,
    only: Only = None,
    again: Again = None,
    retry_failed: RetryFailed = False,
    gpus: Gpus = None,
    gpu: Gpu = None,
    full: Full = False,
    diff: Diff = False,
    count: Count = False,
    json: AsJson = False,
    schema: Schema = False,
    detailed_exitcode: DetailedExitcode = False,
) -> None:
    """Show what `submit` would do and what it would cost. Submits and creates nothing.

    Example: `cebctl plan experiments/digits.yaml`

    Example: `cebctl plan experiments/imagenet.yaml --gpus 256 --only 'rho<=3'`
    """
    from cebctl.render import console

    if schema:
        from experiments.matrix.json_schema import json_schema
        from experiments.matrix.load import read_parts

        console.print_json(json_schema(read_parts(matrix) if matrix else None))
        return
    if matrix is None:
        raise InputError("cebctl plan", "Missing argument 'MATRIX'", "see `cebctl plan --help`")

    from cebctl.planning.plan import make_plan
    from cebctl.render import plan_view
    from cebctl.status.home_matrix import load
    from cebctl.status.rerun import parse_selections
    from jobs.paths import Home

    chosen = load(matrix).select(only)
    rerun = parse_selections(again or (), chosen)
    home = Home.from_environment()
    if count:
        from cebctl.planning.part_trials import try_own_parts

        try_own_parts(chosen)
    planned = make_plan(chosen, home, retry_failed=retry_failed, gpu=gpu, gpus=gpus, diff=diff, again=rerun)
    if json:
        console.print_json(planned.to_json())
    else:
        plan_view.print_plan(planned, full=full)
    if detailed_exitcode and planned.pending:
        raise typer.Exit(4)
