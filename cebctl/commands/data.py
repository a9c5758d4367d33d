"""`cebctl data`: list the data sets, and fetch those that can be downloaded."""

from __future__ import annotations

from typing import Annotated

import typer

from cebctl.commands.completion import fetchable
from cebctl.commands.global_options import Command, Group, add_global_options
from cebctl.interrupts import interrupt_message

app = typer.Typer(cls=Group, help="See which data sets are at hand; fetch what can be had.", no_args_is_help=True)


@app.callback()
@add_global_options
def _data() -> None:
    pass


@app.command("list", cls=Command)
@add_global_options
def list_() -> None:
    """List the data sets, where each is expected and whether it is there.

    Example: `cebctl data list`

    Example: `cebctl data list --plain`
    """
    from cebctl.render import data_view
    from jobs.paths import data_folder

    data_view.print_datasets(data_folder())


@app.command(cls=Command)
@add_global_options
@interrupt_message("interrupted: the same command goes on from here")
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A data set, such as cifar10.", autocompletion=fetchable)],
) -> None:
    """Fetch a data set into CEBCTL_DATA and verify its checksum.

    Example: `cebctl data fetch cifar10`

    Example: `cebctl data fetch fashion_mnist --quiet`
    """
    from cebctl.render import data_view
    from jobs.paths import data_folder

    data_view.fetch_with_progress(name, data_folder())
