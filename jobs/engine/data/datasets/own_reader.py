"""Images that a function of one's own reads: of (split, root), uint8 images (N, C, H, W) and a label for each.

    python -m jobs.engine.data.datasets.own_reader FOLDER ROOT < part.json

describes both splits, with the part's sources in FOLDER and the data folder ROOT: the JSON of a
`experiments.own_dataset.Description`.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from torch import Tensor

from experiments.datasets import Split
from experiments.errors import CebctlError
from experiments.own_dataset import Description, Reader
from experiments.spec import Part
from jobs import own_parts
from jobs.own_parts import PartError


class ReadImages(NamedTuple):
    """One split as its reader returned it."""

    images_NCHW: Tensor
    """uint8."""
    labels: list[str]
    """The names of classes; of labels that are numbers their decimals."""


def read_split(part: Part, split: Split, root: Path) -> ReadImages:
    """Call a reader for one split. Raises PartError for what it returns if that is no square images with labels."""
    returned = own_parts.load(part, "data")(split, root)
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise PartError(part, f"returns {type(returned).__name__}; expected (images, labels)")
    images, labels = (value.numpy() if isinstance(value, Tensor) else np.asarray(value) for value in returned)
    is_square = images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[2] == images.shape[3]
    if not is_square or images.dtype != np.uint8:
        shape = f"{images.dtype} of shape {images.shape}"
        raise PartError(part, f"returns images as {shape}; expected uint8 of shape (N, C, H, W), C 1 or 3, H = W")
    if labels.shape != images.shape[:1] or not len(labels) or labels.dtype.kind not in "iuUO":
        shape = f"{labels.dtype} of shape {labels.shape}"
        raise PartError(part, f"returns labels as {shape}; expected a number or name for each of {len(images)} images")
    return ReadImages(torch.from_numpy(np.ascontiguousarray(images)), [str(label) for label in labels.tolist()])


def digest_of(images_NCHW: Tensor, labels_N: Tensor) -> str:
    """Return the digest of images and labels, as `Description.train_digest` says."""
    digest = hashlib.sha256(images_NCHW.numpy().tobytes())
    digest.update(labels_N.numpy().astype("<i8").tobytes())
    return f"sha256:{digest.hexdigest()}"


def describe(part: Part, root: Path) -> Description:
    """Read both splits and describe them. Classes are in the order of their numbers, or else of their names.

    Raises PartError if the test images have another shape, or a class without training images.
    """
    train, test = read_split(part, "train", root), read_split(part, "test", root)
    if train.images_NCHW.shape[1:] != test.images_NCHW.shape[1:]:
        shapes = [tuple(images.images_NCHW.shape[1:]) for images in (train, test)]
        raise PartError(part, f"returns training images {shapes[0]} and test images {shapes[1]}; expected one shape")
    names = sorted(set(train.labels), key=lambda name: (0, int(name), "") if name.isdecimal() else (1, 0, name))
    if len(names) < 2:
        raise PartError(part, f"returns {len(names)} class; expected two or more")
    if unknown := sorted(set(test.labels) - set(names)):
        raise PartError(part, f"returns test images of {unknown[0]!r}, a class without training images")
    numbers = {name: number for number, name in enumerate(names)}
    digests = [digest_of(images, torch.tensor([numbers[name] for name in labels])) for images, labels in (train, test)]
    pixels_NC = train.images_NCHW.double().div_(255).transpose(0, 1).flatten(1)
    return Description(
        folder="", train_folder="", test_folder="", test_every=None, class_names=tuple(names),
        channels=1 if len(pixels_NC) == 1 else 3, size=train.images_NCHW.shape[2],
        train=len(train.labels), test=len(test.labels),
        mean=tuple(round(value, 4) for value in pixels_NC.mean(dim=1).tolist()),
        std=tuple(max(round(value, 4), 1e-4) for value in pixels_NC.std(dim=1, correction=0).tolist()),
        flips=len(pixels_NC) == 3, train_digest=digests[0], test_digest=digests[1],
        reader=Reader(origin=part.origin, digest=part.digest),
    )  # fmt: skip


def main(arguments: list[str]) -> None:
    """Run the command above."""
    own_parts.use_sources(Path(arguments[0]))
    part = msgspec.json.decode(sys.stdin.buffer.read(), type=Part)
    with os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)  # what a part prints is no description
        try:
            description = describe(part, Path(arguments[1]))
        except CebctlError as error:
            sys.exit(str(error))
        except Exception as error:
            sys.exit(str(PartError(part, own_parts.describe(error))))
        output.write(msgspec.json.encode(description))


if __name__ == "__main__":
    main(sys.argv[1:])
