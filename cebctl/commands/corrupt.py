"""`cebctl corrupt`: write corrupted copies of a folder of images, in ImageNet-C's layout."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cebctl.commands.completion import corruptions as complete_corruptions
from cebctl.commands.options import AsJson, output_path
from cebctl.interrupts import interrupt_message
from experiments.errors import InputError, expected

WHICH, HOW = "Which corruptions", "How they are made"


class Pipeline(StrEnum):
    """How an image is read and written."""

    published = "published"
    as_is = "as-is"


@interrupt_message("interrupted: the same command goes on from here")
def corrupt(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Images in `<class>/<file>`.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="OUT", callback=output_path, help="A new or an empty folder, or one to go on with."
        ),
    ],
    pipeline: Annotated[
        Pipeline,
        typer.Option(
            "--pipeline",
            help="`published`: as ImageNet-C was made, short side to 256, central 224, JPEG of quality 85; `as-is`: "
            "square images as they are, PNG.",
            rich_help_panel=HOW,
        ),
    ] = Pipeline.published,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            min=2,
            max=4096,
            help="Height and width in pixels that images are brought to.",
            show_default="224, or as-is theirs",
            rich_help_panel=HOW,
        ),
    ] = None,
    corruption: Annotated[
        list[str] | None,
        typer.Option(
            "--corruption",
            metavar="NAME",
            help="Only this one, such as fog. Repeatable.",
            show_default="the 15 of the benchmark",
            autocompletion=complete_corruptions,
            rich_help_panel=WHICH,
        ),
    ] = None,
    extra: Annotated[
        bool, typer.Option("--extra", help="The four for validation as well.", rich_help_panel=WHICH)
    ] = False,
    severity: Annotated[
        list[int] | None,
        typer.Option(
            "--severity",
            min=1,
            max=5,
            help="Only this one. Repeatable.",
            show_default="1 to 5",
            rich_help_panel=WHICH,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes.", show_default="one per core", rich_help_panel=HOW),
    ] = None,
    json: AsJson = False,
) -> None:
    """Write the 15 common corruptions at 5 severities of any images: `OUT/<corruption>/<severity>/<class>/<file>`.

    The same images give the same files, on any number of cores, with the pixels that `common_corruptions` judges. Run
    again, it writes only what is missing, also after a kill; files of other images or parameters are refused. Exit
    code 1: some images could not be read.

    Example: `cebctl corrupt imagenet/val --out imagenet-c`

    Example: `cebctl corrupt pets/test --out pets-c --pipeline as-is --size 64 --corruption fog --severity 3`
    """
    from functools import partial

    from cebctl.render import corrupt_view
    from experiments.benchmarks import CORRUPTIONS, EXTRA_CORRUPTIONS
    from experiments.user_paths import check_folder

    check_folder(out, "--out")
    names = list(dict.fromkeys([*(corruption or CORRUPTIONS), *(EXTRA_CORRUPTIONS if extra else ())]))
    allowed = (*CORRUPTIONS, *EXTRA_CORRUPTIONS)
    if unknown := next((name for name in names if name not in allowed), None):
        raise InputError(f"--corruption {unknown}", "no such corruption", expected(allowed, unknown))
    from jobs.engine.corruptions.write_folder import write_folder  # torch takes seconds to import

    severities = sorted(set(severity or range(1, 6)))
    written = corrupt_view.show_progress(
        partial(
            write_folder, folder, out, corruptions=names, severities=severities, pipeline=pipeline.value, size=size,
            workers=workers,
        )
    )  # fmt: skip
    corrupt_view.print_written(written, out, as_json=json)
    if written.unreadable:
        raise typer.Exit(1)
