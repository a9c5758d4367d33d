"""`cebctl import`: take in weights that were trained elsewhere, for a matrix to evaluate or to train further."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cebctl.interrupts import interrupt_message
from cebctl.text_output import write


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
    network: Annotated[
        str,
        typer.Option(
            "--network",
            metavar="NETWORK",
            help="The network that it is of, and has to fit: `timm:resnet50`, `torchvision:vit_b_16`, or as in a "
            "matrix, `{name: wide_resnet, blocks: 4, width: 10, norm: batch}`.",
            show_default="tells which known networks it fits",
        ),
    ] = "",
) -> None:
    """Take a checkpoint into the home, and print the line by which a matrix names it.

    A run with that line begins with these weights, and with `epochs: 0` is evaluated as it is. Files of timm,
    torchvision and public Wide ResNets keep their own names (experiments/NETWORKS.md); other names and shapes must be
    those of the network, which `submit` checks. Nothing in the file is run.

    Example: `cebctl import madry.pt`

    Example: `cebctl import runs/madry/last.pt --key state_dict_ema`

    Example: `cebctl import resnet50-11ad3fa6.pth --network torchvision:resnet50`
    """
    from cebctl.maintenance import import_weights
    from cebctl.render import console
    from experiments.matrix.network_text import read_network
    from jobs.paths import Home

    chosen = read_network("--network", network) if network else None
    imported = import_weights.import_file(file, Home.from_environment(), key, chosen)
    write(f"weights: {imported.digest}")
    content = f"{console.pluralize(imported.tensors, 'tensor')}, {imported.parameters:,} values"
    content += f" under {key}" if key else ""
    progress = console.progress_console()
    progress.print(f"{file}: {content}, taken into {imported.path.parent}", markup=False)
    for text in imported.fits:
        progress.print(f"it fits network: {text}", markup=False)
