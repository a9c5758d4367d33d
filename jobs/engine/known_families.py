"""The networks that a checkpoint of unknown origin fits, tried without its values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torchvision
from msgspec import UNSET, structs

from experiments import datasets, library_models, spec
from experiments.errors import InputError
from experiments.spec import Run
from jobs.engine import foreign_weights, weights_file
from jobs.engine.models import build_without_weights
from jobs.engine.weights_file import Weights

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_CLOSE = 3


@dataclass(frozen=True)
class Fit:
    """A network that the tensors of a file fit."""

    network: spec.Network
    classes: int | None
    """Of the file's classifier; None if it has none that follows z."""


def fit(weights: Weights, network: spec.Network, source: str | Path) -> Fit:
    """Return how the weights fit a network. Raises InputError, one line, if they do not."""
    data = spec.Data(name="imagenet")
    run = Run(data=data, network=network, objective=spec.Xent(), optimiser=spec.Adam(), epochs=1, batch=1)
    error = None
    for name in ("imagenet", "cifar10", "fashion_mnist"):
        trial = structs.replace(run, data=spec.Data(name=name), network=_for_data(network, name))
        try:
            model = build_without_weights(trial)
            # Without epochs the file has to have all; a classifier of other classes has other rows.
            adapted = foreign_weights.adapted(weights, trial, model, source)
            weights_file.check_fits(model.state_dict(), adapted, source)
        except InputError as caught:
            error = error or caught
            continue
        return Fit(network, foreign_weights.classifier_rows(weights, trial.network, model))
    assert error is not None
    raise error


def _for_data(network: spec.Network, data: str) -> spec.Network:
    """Return a network of a library for images of the data set's size and with its numbers, which every file fits."""
    if isinstance(network, spec.LibraryNetwork) and datasets.info(data).channels != 3:
        return structs.replace(network, normalise=UNSET)
    return network


def candidates(weights: Weights, file: Path) -> Iterator[Fit]:
    """Yield the networks that the weights fit: of ours and torchvision's by their sizes, of timm's by the name of the
    file or of the hub's folder that it is in."""
    for network in (*_ours(weights), *_torchvisions(weights), *_timms(file)):
        with suppress(InputError):
            yield fit(weights, network, file)


def _ours(weights: Weights) -> Iterator[spec.Network]:
    names = list(weights)
    rows = [int(match[1]) for name in names if (match := re.search(r"layer3\.(\d+)\.conv3\.weight$", name))]
    if rows and max(rows) + 1 in (6, 36):
        yield spec.ResNet(depth=50 if max(rows) == 5 else 152)
    rows = [int(match[1]) for name in names if (match := re.search(r"block1\.layer\.(\d+)\.conv1\.weight$", name))]
    stems = [tensor for name, tensor in weights.items() if re.search(r"block1\.layer\.0\.conv1\.weight$", name)]
    if rows and stems:
        yield spec.WideResNet(blocks=max(rows) + 1, width=max(len(stems[0]) // 16, 1), norm="batch")


def _torchvisions(weights: Weights) -> Iterator[spec.Network]:
    """Yield torchvision's models whose weights have as many parameters, by its own list."""
    count = sum(tensor.numel() for name, tensor in weights.items() if not name.endswith(_STATISTICS))
    for name in torchvision.models.list_models(module=torchvision.models):
        published = torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"]
        if abs(published - count) <= 0.05 * published:  # with another number of classes, or normalised within
            yield spec.Torchvision(model=name)


def _timms(file: Path) -> Iterator[spec.Network]:
    names = library_models.model_names("timm")
    folders = (part.removeprefix("models--timm--") for part in file.parts if part.startswith("models--timm--"))
    stems = [*folders, re.sub(r"[-_.][0-9a-f]{8,}$", "", file.stem)]
    for stem in stems:
        architecture = stem.partition(".")[0]
        if architecture in names:
            yield spec.Timm(model=stem if stem != file.stem else architecture)
            return
    for name in difflib.get_close_matches(stems[-1].lower(), sorted(names), n=_CLOSE):
        yield spec.Timm(model=name)
