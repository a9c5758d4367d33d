"""A trained network for use outside of cebctl: a plain module, and a file that torch alone can run.

Shapes: B images, C channels, H by W pixels, Z dimensions of z, K classes.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from experiments import datasets, own_dataset
from experiments.atomic_files import replacing
from experiments.errors import CebctlError, InputError
from experiments.spec import Run
from jobs import file_ownership, own_parts, spec_file
from jobs.engine import checkpoint_format
from jobs.engine.errors import NoCheckpointError, in_one_line
from jobs.engine.models import CebModel
from jobs.journal.history import is_trained, newest_complete
from jobs.paths import Home, RunPaths


class Classifier(nn.Module):
    """The deterministic classifier of a run, in eval mode: images in [0, 1], of shape (B, C, H, W), to logits.

    It is what evaluations judge: the normalisation is inside, and z is the mean of e(z|x).
    """

    def __init__(self, model: CebModel, run_id: str, run: Run) -> None:
        super().__init__()
        self.model = model
        self.run_id = run_id
        info = datasets.info(run.data.name)
        self.image_shape = (info.channels, info.size, info.size)
        self.class_names = own_dataset.read(info.name).class_names if own_dataset.is_own(info.name) else None
        """In the order of the logits; None for a published data set."""
        self.eval()

    def encode(self, images_BCHW: Tensor) -> Tensor:
        """Return the mean encodings, of shape (B, Z). Raises TypeError for images that are not floats."""
        if not images_BCHW.is_floating_point():
            raise TypeError(f"images: expected floats in [0, 1], got {images_BCHW.dtype}; divide bytes by 255")
        return self.model.encode(images_BCHW)

    def logits(self, images_BCHW: Tensor) -> Tensor:
        """Return log c(y|z) of the mean encodings, up to a constant, of shape (B, K)."""
        return self.model.logits(self.encode(images_BCHW))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return `logits`."""
        return self.logits(images_BCHW)


def load(paths: RunPaths) -> Classifier:
    """Return the trained network of a run from the newest generation of its training that is complete, on the CPU.

    Raises InputError if it is not trained, or has no checkpoint any more.
    """
    trained, place = newest_complete(paths), f"run {paths.run_id}"
    if not is_trained(trained):
        raise InputError(place, "it is not trained", "`cebctl submit` trains it")
    run = spec_file.read(trained)
    _use_own_parts(paths.home)
    try:
        return Classifier(checkpoint_format.load_model(run, trained.checkpoints).model, trained.run_id, run)
    except NoCheckpointError:
        remedy = "`cebctl submit MATRIX --again train` trains it anew"
        raise InputError(place, f"its checkpoints were removed from {trained.checkpoints}", remedy) from None


def _use_own_parts(home: Home) -> None:
    """Import parts of one's own from the snapshots that their runs were submitted with; the import compares digests.

    Raises InputError if somebody who is not trusted could have written a file of theirs: it would be run.
    """
    for parts in home.code.glob(f"*/{own_parts.FOLDER}"):
        for path in (parts, *parts.rglob("*")):
            file_ownership.check_private(path, home.folder)
        own_parts.use_sources(parts.parent)


def export(classifier: Classifier, file: Path) -> None:
    """Write a classifier as `torch.export` does; `torch.export.load(file).module()(images)` returns its logits.

    The number of images is free. `cebctl.json` inside holds the run, the shape of an image and the classes' names. The
    file appears when it is whole. Raises CebctlError if torch can't export the network.
    """
    images_BCHW = torch.rand(2, *classifier.image_shape)  # one image would be taken for the only number there is
    batch = torch.export.Dim("batch", min=1)
    try:
        program = torch.export.export(classifier, (images_BCHW,), dynamic_shapes=({0: batch},))
    except Exception as error:  # of many kinds, by what the network does
        raise CebctlError(f"run {classifier.run_id}: torch can't export its network: {in_one_line(error)}") from error
    facts = {name: getattr(classifier, name) for name in ("run_id", "image_shape", "class_names")}
    with replacing(file) as temporary:
        torch.export.save(program, temporary, extra_files={"cebctl.json": msgspec.json.encode(facts).decode()})
