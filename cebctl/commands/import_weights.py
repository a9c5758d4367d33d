"""`cebctl import`: take in weights that were trained elsewhere, for a matrix to evaluate or to train further."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cebctl.interrupts import interrupt_message


@interrupt_message("interrupted: nothing was imported")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What torch.save(model.state_dict(), FILE) wrote.")],
    key: Annotated[
        str,
        typer.Option(
            "--key",
            metavar="KEY",
            help="Which of several state_dicts in it, as the average over training: `state_dict_ema`, `ema.model`.",
            show_default="the one under model or state_dict",
        ),
    ] = "",
) -> None:
    """Take a checkpoint into the home, and print the line by which a matrix names it.

    A run with that line begins with these weights, and with `epochs: 0` is evaluated as it is. Names and shapes must be
    those of its network, which `submit` checks; nothing in the file is run. experiments/README.md, "More epochs, and
    weights from elsewhere", says more.

    Example: `cebctl import madry.pt`

    Example: `cebctl import runs/madry/last.pt --key state_dict_ema`
    """
    from cebctl.maintenance import import_weights
    from cebctl.render import console
    from jobs.paths import Home

    imported = import_weights.import_file(file, Home.from_environment(), key)
    typer.echo(f"weights: {imported.digest}")
    content = f"{console.pluralize(imported.tensors, 'tensor')}, {imported.parameters:,} values"
    content += f" under {key}" if key else ""
    console.progress_console().print(f"{file}: {content}, taken into {imported.path.parent}", markup=False)
