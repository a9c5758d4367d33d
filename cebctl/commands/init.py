"""`cebctl init`: write a matrix for a folder of the user's own images."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cebctl.interrupts import interrupt_message


class Network(StrEnum):
    """The kinds of network; their fields are set in the matrix."""

    small_cnn = "small_cnn"
    wide_resnet = "wide_resnet"
    resnet = "resnet"


@interrupt_message("interrupted: nothing was written")
def init(
    matrix: Annotated[Path, typer.Argument(metavar="MATRIX", help="The file to write, such as pets.yaml.")],
    data: Annotated[
        Path,
        typer.Option(
            "--data", metavar="FOLDER", help="Images in `<class>/`, or in `train/<class>/` and `test/<class>/`."
        ),
    ],
    network: Annotated[
        Network | None, typer.Option("--network", help="What to train.", show_default="by the size of the images")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            min=4,
            max=1024,
            help="Height and width in pixels that images are brought to.",
            show_default="theirs, or for several sizes a usual one",
        ),
    ] = None,
) -> None:
    """Write a commented matrix for your own images, which can be trained and evaluated as it is.

    Finds the classes, the training and test images, their size and whether they are grey, reads them all once and
    describes them under CEBCTL_DATA, where their digests stand: a run is of these images and no others. Overwrites
    nothing.

    Example: `cebctl init pets.yaml --data ~/pets`

    Example: `cebctl init scans.yaml --data scans --network wide_resnet --size 64`
    """
    from cebctl.onboarding import matrix_template, scan_images
    from cebctl.render import init_view
    from experiments import own_dataset
    from experiments.atomic_files import replacing
    from experiments.errors import InputError
    from jobs.local import launch

    if matrix.exists():
        raise InputError(matrix, "is there already", "name another file")
    if not matrix.parent.is_dir():
        raise InputError(matrix.parent, "no such folder")
    scan = scan_images.scan(data, own_dataset.data_folder(), size)
    name = own_dataset.dataset_name(scan.slug, scan.description)
    chosen = network.value if network else matrix_template.network_for(scan.description.size)
    description = own_dataset.write(name, scan.description)
    # The matrix is written last: it names a data set that must be described by then.
    with replacing(matrix) as temporary:
        temporary.write_text(matrix_template.render_matrix(name, scan.slug, scan.description, chosen), "utf-8")
    lacks_gpu = chosen != Network.small_cnn and not launch.local_gpus()
    small_trial = matrix_template.small_trial_command(matrix, data, scan.description.size) if lacks_gpu else ""
    init_view.print_new_matrix(matrix, scan, description, chosen, small_trial)
