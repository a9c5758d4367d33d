"""`cebctl gc`: remove checkpoints that are not needed any more."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from cebctl.commands.options import MatrixArgument, Only
from cebctl.interrupts import interrupt_message


class Keep(StrEnum):
    """The checkpoints that stay of a finished run."""

    last = "last"
    none = "none"


@interrupt_message("interrupted: what is not removed yet stays until the next `cebctl gc`")
def gc(
    matrix: MatrixArgument,
    keep: Annotated[
        Keep, typer.Option("--keep", help="What stays of a finished run: its last checkpoint, or none.")
    ] = Keep.last,
    only: Only = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove checkpoints of runs that are trained and fully evaluated; never of others, never a result or a journal.

    With `--keep none` a benchmark that is added later can't run on them any more: `submit` will say so.

    Example: `cebctl gc experiments/digits.yaml --keep none --dry-run`

    Example: `cebctl gc experiments/imagenet.yaml --only 'depth=50' --yes`
    """
    from cebctl.maintenance import checkpoint_gc
    from cebctl.render import gc_view
    from cebctl.render.console import confirm
    from cebctl.status.collect import open_home
    from cebctl.status.home_matrix import load
    from experiments.errors import InputError
    from jobs.paths import Home

    chosen = load(matrix).select(only)
    home = Home.from_environment()
    with open_home(home) as store:
        garbage = checkpoint_gc.plan_removals(chosen, store, home, keep.value)
        gc_view.print_garbage_plan(chosen, garbage, "would free" if dry_run or not yes else "to free")
        if dry_run or not garbage.removals:
            return
        if not yes:
            if not sys.stdin.isatty():
                raise InputError("cebctl gc", "asks before it removes, and nobody is there to answer", "pass --yes")
            confirm("Remove them?", abort=True)
        removed = checkpoint_gc.remove(garbage, chosen, store, home, keep.value)
    gc_view.print_garbage_plan(chosen, removed, "freed")
