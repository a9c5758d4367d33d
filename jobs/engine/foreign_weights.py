"""Weights under the tensor names of timm, torchvision, RobustBench and others, brought under those of a run's network.

Shapes: Z dimensions of z, K classes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import torch

from experiments import datasets, spec
from experiments.datasets import DatasetInfo
from experiments.errors import InputError
from experiments.spec import Run
from jobs.engine.models import CebModel
from jobs.engine.models.library_networks import LibraryNetwork
from jobs.engine.models.resnet import GROUPS
from jobs.engine.weights_file import Weights

OURS = "network."
"""The prefix of the names that our own checkpoints have for a network."""
_WRAPPERS = ("module", "model", "_orig_mod", "net", "1")
"""The names that data parallelism, torch.compile and a normalisation in front give to the network within."""
_NORMALISATION = re.compile(r"(.*\.)?(mean|std|mu|sigma|std_dev)")
_UNUSED = re.compile(r"(aux1|aux2|AuxLogits|sub_block1)\.")
"""The heads that serve training alone, and the block that public Wide ResNets have and do not compute."""
_IMAGENET_CLASSES = 1000
_NAMED = 3


def adapted(weights: Weights, run: Run, model: CebModel, source: str | Path) -> Weights:
    """Return the weights under the names of the model, which may be on the meta device.

    Those of our own checkpoints are returned as they are. Of others the classifier is taken along; where a run is
    trained, what the file lacks (distributions over z, a dense layer, a classifier of these classes) keeps its initial
    values. Raises InputError if images are normalised otherwise, or the classes are others, and the run is not trained.
    """
    initial = model.state_dict()
    if isinstance(run.network, spec.Part):
        return _own_names(weights, initial, with_heads=bool(run.epochs))
    if any(name.startswith(OURS) for name in weights) or isinstance(run.network, spec.SmallCnn):
        return weights
    weights = {name: tensor for name, tensor in weights.items() if not _UNUSED.match(name)}
    weights = _unwrapped(_without_normalisation(weights, model, source))
    renamed, layer = _renamed(weights, run.network, model)
    renamed |= _classifier(weights, layer, run, initial, source)
    if run.epochs:
        heads = {name: tensor for name, tensor in initial.items() if not name.startswith("network.features.")}
        own = {name: tensor for name, tensor in heads.items() if not name.startswith(OURS) or ".dense." in name}
        renamed = own | renamed
    elif not isinstance(run.objective, spec.Xent) and not any(name.startswith("backward_encoder") for name in renamed):
        kind = type(run.objective).__struct_config__.tag
        raise InputError(source, f"has no distributions over z, which {kind} needs", "objective: xent, or epochs > 0")
    return renamed


def _own_names(weights: Weights, initial: Weights, *, with_heads: bool) -> Weights:
    """Return the weights of a network of one's own under the names of its model; of a file of the module alone
    `with_heads`, which keep their initial values."""
    if weights.keys() & initial.keys():
        return weights
    if not any(f"{OURS}{name}" in initial for name in weights):
        weights = _unwrapped(weights)
    heads = {name: tensor for name, tensor in initial.items() if with_heads and not name.startswith(OURS)}
    return heads | {f"{OURS}{name}": tensor for name, tensor in weights.items()}


def _unwrapped(weights: Weights) -> Weights:
    """Return the weights without the prefixes that all names share and that are wrappers'."""
    while weights:
        first = {name.partition(".")[0] for name in weights}
        if len(first) != 1 or not first <= set(_WRAPPERS):
            break
        weights = {name.partition(".")[2]: tensor for name, tensor in weights.items()}
    return weights


def _without_normalisation(weights: Weights, model: CebModel, source: str | Path) -> Weights:
    """Return the weights without a layer that normalises images, which has to be the model's own. Raises InputError for
    another one."""
    own = {
        "mean": model.normalise.mean_values, "mu": model.normalise.mean_values, "std": model.normalise.std_values,
        "sigma": model.normalise.std_values, "std_dev": model.normalise.std_values,
    }  # fmt: skip
    for name, tensor in weights.items():
        if (match := _NORMALISATION.fullmatch(name)) and tensor.numel() in (1, 3):
            theirs, ours = tensor.flatten().tolist(), own[match[2]]
            if any(abs(a - b) > 1e-3 for a, b in zip(theirs * (len(ours) // len(theirs)), ours, strict=True)):
                kind = "mean" if match[2] in ("mean", "mu") else "deviation"
                wrong = f"normalises images by the {kind} {_numbers(theirs)}, and the run by {_numbers(ours)}"
                raise InputError(source, wrong, "`normalise` of the network says which, and so does the data set")
    return {name: tensor for name, tensor in weights.items() if not _NORMALISATION.fullmatch(name)}


def _numbers(values: Iterable[float]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"


def _renamed(weights: Weights, network: spec.Network, model: CebModel) -> tuple[Weights, str]:
    """Return the weights of the network under our names, and the name of the file's classifier."""
    if isinstance(network, spec.LibraryNetwork):
        assert isinstance(model.network, LibraryNetwork)
        layer = model.network.classifier
        features = _filtered({n: t for n, t in weights.items() if n.rpartition(".")[0] != layer}, model.network)
        return {f"network.features.model.{name}": tensor for name, tensor in features.items()}, layer
    rename = _resnet_names(network) if isinstance(network, spec.ResNet) else _wide_resnet_names(network)
    return {f"{OURS}{rename(n)}": t for n, t in weights.items() if n.rpartition(".")[0] != "fc"}, "fc"


def _filtered(weights: Weights, network: LibraryNetwork) -> Weights:
    """Return the weights as timm's own loader would read them: it knows older names, and resizes position embeddings
    to the network's size."""
    model = network.features.model
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if {name: tensor.shape for name, tensor in weights.items()} == expected:
        return weights
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is not None and type(model).__module__.startswith("timm."):
        with suppress(Exception):  # it is for other files than this one, which then is said not to fit
            converted: Weights = convert(dict(weights), model)
            if converted.keys() <= expected.keys() or not weights.keys() <= expected.keys():
                return {name: tensor for name, tensor in converted.items() if name in expected or name in weights}
    return weights


def _resnet_names(network: spec.ResNet) -> Callable[[str], str]:
    """Return the function from torchvision's names of a ResNet to ours."""
    inner = {"conv1": "added.0", "bn1": "added.1", "conv2": "added.3", "bn2": "added.4", "conv3": "added.6",
             "bn3": "added.7", "downsample.0": "shortcut.0", "downsample.1": "shortcut.1"}  # fmt: skip
    outer = {"conv1": "stem.0", "bn1": "stem.1"}
    return lambda name: _block_name(name, r"layer(\d)\.(\d+)\.(.+)", GROUPS[network.depth], inner, outer)


def _wide_resnet_names(network: spec.Network) -> Callable[[str], str]:
    """Return the function from the names that most public Wide ResNets have to ours."""
    blocks = network.blocks if isinstance(network, spec.WideResNet) else 0
    inner = {"bn1": "activate_1.0", "conv1": "first", "bn2": "activate_2.0", "conv2": "second",
             "convShortcut": "shortcut", "shortcut": "shortcut"}  # fmt: skip
    outer = {"conv1": "stem", "bn1": "last.0"}
    return lambda name: _block_name(name, r"block(\d)\.layer\.(\d+)\.(.+)", (blocks,) * 3, inner, outer)


def _block_name(
    name: str, pattern: str, groups: Sequence[int], inner: Mapping[str, str], outer: Mapping[str, str]
) -> str:
    """Return the name of a tensor in a network of numbered blocks; one that it does not have stays as it is."""
    layer, _, tensor = name.rpartition(".")
    if layer in outer:
        return f"{outer[layer]}.{tensor}"
    if (match := re.fullmatch(pattern, layer)) and match[3] in inner and 1 <= int(match[1]) <= len(groups):
        number = sum(groups[: int(match[1]) - 1]) + int(match[2])
        return f"blocks.{number}.{inner[match[3]]}.{tensor}"
    return name


def _classifier(weights: Weights, layer: str, run: Run, initial: Weights, source: str | Path) -> Weights:
    """Return the classifier of the file for the run's classes; nothing where the run trains one of its own."""
    weight = weights.get(f"{layer}.weight") if layer else None
    if weight is None or "classifier.weight" not in initial:
        return {}
    weight_KZ = weight.flatten(1)  # some classifiers are 1x1 convolutions
    bias_K = weights.get(f"{layer}.bias", torch.zeros(len(weight_KZ)))
    info = datasets.info(run.data.name)
    fits = weight_KZ.shape == initial["classifier.weight"].shape
    if not fits and weight_KZ.shape[1] == initial["classifier.weight"].shape[1]:
        try:
            rows = class_rows(info, len(weight_KZ))
        except LookupError as error:
            if not run.epochs:
                raise InputError(source, str(error), "a run that is trained (epochs > 0) gets a classifier") from None
            return {}
        weight_KZ, bias_K, fits = weight_KZ[rows], bias_K[rows], True
    return {"classifier.weight": weight_KZ, "classifier.bias": bias_K} if fits or not run.epochs else {}


def classifier_rows(weights: Weights, network: spec.Network, model: CebModel) -> int | None:
    """Return the number of classes of a file's classifier, None if it has none behind z."""
    _, layer = _renamed(_unwrapped(weights), network, model)
    weight = _unwrapped(weights).get(f"{layer}.weight") if layer else None
    return None if weight is None else len(weight)


def class_rows(info: DatasetInfo, classes: int) -> list[int]:
    """Return the row of a classifier of ImageNet's 1,000 classes for each class of a data set, by the names of its
    folders: WordNet ids or ImageNet's names.

    Raises LookupError for a classifier of other classes, and for names that ImageNet does not have.
    """
    other = f"its classifier has {classes:,} classes, and {info.name} has {info.classes}"
    if classes != _IMAGENET_CLASSES or not info.class_names:
        raise LookupError(other)
    known = imagenet_classes()
    rows = [known.get(_plain(name)) for name in info.class_names]
    unknown = [name for name, row in zip(info.class_names, rows, strict=True) if row is None]
    if unknown:
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        listing = f"ImageNet has no class {', '.join(map(repr, unknown[:_NAMED]))}{more}"
        raise LookupError(f"{other}: {listing}; name the folders by WordNet ids or ImageNet's names")
    found = [row for row in rows if row is not None]
    if len(set(found)) < len(found):
        twice = next(name for name, row in zip(info.class_names, found, strict=True) if found.count(row) > 1)
        raise LookupError(f"{other}: two folders are the same class of ImageNet, {twice!r} and another")
    return found


def imagenet_classes() -> dict[str, int]:
    """Return the labels of ImageNet's classes by WordNet id (if timm is installed) and by name; a name of two classes
    is left out."""
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    labels: dict[str, int] = {}
    ambiguous: set[str] = set()

    def add(name: str, label: int) -> None:
        if labels.setdefault(_plain(name), label) != label:
            ambiguous.add(_plain(name))

    with suppress(ModuleNotFoundError):
        information = import_module("timm.data").ImageNetInfo()
        for label, synset in enumerate(information.label_names()):
            add(synset, label)
            for name in information.label_name_to_description(synset, detailed=False).split(","):
                add(name, label)
    for label, name in enumerate(_IMAGENET_CATEGORIES):
        add(name, label)
    return {name: label for name, label in labels.items() if name not in ambiguous}


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().lower()
