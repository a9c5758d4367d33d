"""`cebctl init`: write a matrix for the user's own images, or a part of the user's own."""

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


class PartRole(StrEnum):
    """The kinds of parts of one's own: the keys of `part_template.HEADINGS`."""

    network = "network"
    objective = "objective"
    marginal = "marginal"
    optimiser = "optimiser"
    schedule = "schedule"
    data = "data"
    augment = "augment"
    benchmark = "benchmark"
    loss = "loss"


@interrupt_message("interrupted: nothing was written")
def init(
    *,
    matrix: Annotated[
        Path | None,
        typer.Argument(
            metavar="MATRIX",
            help="The file to write, such as pets.yaml.",
            show_default="named after the --model; parts.py for a --part",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FOLDER",
            help="Images in `<class>/`, or in `train/<class>/` and `test/<class>/`; or a function of your own that "
            "reads them, `parts.py:scans`.",
            show_default="needed for a matrix",
        ),
    ] = None,
    network: Annotated[
        Network | None, typer.Option("--network", help="What to train.", show_default="by the size of the images")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="A public network to judge as it is, with its weights from the hub's cache: `timm:resnet50.a1_in1k`, "
            "`torchvision:resnet50`.",
            show_default="train networks",
        ),
    ] = "",
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            min=4,
            max=1024,
            help="Height and width in pixels that images are brought to.",
            show_default="theirs, or for several sizes a usual one; the --model's",
        ),
    ] = None,
    part: Annotated[
        PartRole | None,
        typer.Option("--part", help="Write a part of your own instead, in Python.", show_default="write a matrix"),
    ] = None,
) -> None:
    """Write a commented matrix for your own images, which can be trained and evaluated as it is.

    Finds the classes, the training and test images, their size and whether they are grey, reads them all once and
    describes them under CEBCTL_DATA, where their digests stand: a run is of these images and no others. Overwrites
    nothing.

    Example: `cebctl init pets.yaml --data ~/pets`

    With --model the matrix judges a public network instead: accuracy, calibration, corruptions, PGD, AutoAttack and the
    audit of gradients, on the classes that the folders name.

    Example: `cebctl init scans.yaml --data scans --network wide_resnet --size 64`

    Example: `cebctl init --model timm:resnet50.a1_in1k --data ~/birds`

    With --part it writes a commented function to parts.py, which works as it is, and prints the line for a matrix.

    Example: `cebctl init --part network`
    """
    if part is not None:
        options = {"--data": data, "--network": network, "--model": model, "--size": size}
        _write_part(part, matrix or Path("parts.py"), [name for name, value in options.items() if value])
        return
    from cebctl.onboarding import judge_template, matrix_template, read_images, scan_images
    from cebctl.onboarding.judge_template import judged_network
    from cebctl.render import init_view
    from experiments import own_dataset
    from experiments.atomic_files import replacing
    from experiments.errors import InputError
    from experiments.own_parts.read import is_reference
    from jobs.local import launch

    if data is None:
        raise InputError("cebctl init", "Missing option '--data'", "see `cebctl init --help`")
    judged = judged_network(model, network) if model else None
    if matrix is None:
        if judged is None:
            raise InputError("MATRIX", "missing", "the file to write, such as pets.yaml")
        matrix = Path(f"{judged.model}.yaml")
    if matrix.exists():
        raise InputError(matrix, "is there already", "name another file")
    if not matrix.parent.is_dir():
        raise InputError(matrix.parent, "no such folder")
    reader = None
    if is_reference(str(data)) and not data.exists():
        if size is not None:
            raise InputError("--size", "a function's images are taken as it returns them", "leave it out")
        scan, reader = read_images.read(str(data), own_dataset.data_folder())
    else:
        if judged and size is None:
            from jobs.engine.models.library_networks import input_size  # imports the library

            size = input_size(judged)
        scan = scan_images.scan(data, own_dataset.data_folder(), size)
    name = own_dataset.dataset_name(scan.slug, scan.description)
    chosen = network.value if network else matrix_template.network_for(scan.description.size)
    if reader:
        read_images.keep_sources(name, reader)
    description = own_dataset.write(name, scan.description)
    if judged:
        text = judge_template.render_matrix(name, scan.slug, scan.description, judged)
    else:
        text = matrix_template.render_matrix(name, scan.slug, scan.description, chosen)
    # The matrix is written last: it names a data set that must be described by then.
    with replacing(matrix) as temporary:
        temporary.write_text(text, "utf-8")
    if judged:
        init_view.print_new_matrix(matrix, scan, description, judged.model, "")
        return
    lacks_gpu = chosen != Network.small_cnn and reader is None and not launch.local_gpus()
    small_trial = matrix_template.small_trial_command(matrix, data, scan.description.size) if lacks_gpu else ""
    init_view.print_new_matrix(matrix, scan, description, chosen, small_trial)


def _write_part(role: PartRole, file: Path, unused: list[str]) -> None:
    from cebctl.onboarding import part_template
    from cebctl.render import init_view
    from experiments.atomic_files import replacing
    from experiments.errors import InputError

    if unused:
        raise InputError("--part", f"takes no {', '.join(unused)}", "a part has its fields in the matrix")
    if file.suffix != ".py" or not file.stem.isidentifier():
        raise InputError(file, "is no name of a Python module", "call it such as parts.py")
    if file.exists() or file.is_symlink():
        raise InputError(file, "is there already", "name another file")
    if not file.parent.is_dir():
        raise InputError(file.parent, "no such folder")
    with replacing(file) as temporary:
        temporary.write_text(part_template.render_part(role.value, file.name), "utf-8")
    init_view.print_new_part(file, part_template.matrix_line(role.value, file.name))
