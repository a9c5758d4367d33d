"""`cebctl data`: which data sets are at hand, and fetching those that can be had."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="See which data sets are at hand; fetch what can be had.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """List the data sets, where each is expected and whether it is there.

    Example: `cebctl data list`
    """
    from cebctl.render import data_view
    from jobs.home import data_folder

    data_view.show(data_folder())


@app.command()
def fetch(name: Annotated[str, typer.Argument(metavar="NAME", help="A data set, such as cifar10.")]) -> None:
    """Fetch a data set into CEBCTL_DATA and verify its checksum.

    Example: `cebctl data fetch cifar10`
    """
    from cebctl.render import data_view
    from jobs.home import data_folder

    data_view.fetch(name, data_folder())
