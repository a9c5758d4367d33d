"""The freshly initialised model of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from msgspec import UNSET, structs
from torch import nn

from experiments import datasets, spec
from experiments.datasets import DatasetInfo
from experiments.errors import InputError
from jobs.engine import randomness
from jobs.engine.models.backward_encoder import BackwardEncoder
from jobs.engine.models.ceb import CebModel
from jobs.engine.models.classifiers import ConsistentClassifier, LinearClassifier
from jobs.engine.models.encoder import DiagonalEncoder, FullEncoder
from jobs.engine.models.library_networks import LibraryNetwork, normalisation
from jobs.engine.models.marginal import DensityMarginal, MixtureMarginal, OwnMarginal, VampMarginal
from jobs.engine.models.own import own_network, own_without_weights
from jobs.engine.models.probe import probe_z_dim
from jobs.engine.models.resnet import ResNet
from jobs.engine.models.small_cnn import small_cnn
from jobs.engine.models.wide_resnet import WideResNet


def build(run: spec.Run) -> CebModel:
    """Return the model of a run with its initial weights, on the CPU (or on the device of a `torch.device` context), in
    fp32, or fp64 if that is the run's precision.

    The weights are a function of the run's seed. Each part has a stream of its own, so runs of one seed and one
    network start from the same network whatever their objective.
    """
    info = datasets.info(run.data.name)
    with _seeded(run.seed, "network"):
        network = _network(run.network, info)
    width, objective = z_dim(run), run.objective
    encoder, backward_encoder, marginal = None, None, None
    covariance = spec.learned_covariance(objective)
    initial_scale = (getattr(objective, "initial_scale", UNSET) or 1.0) if covariance else None
    if covariance:
        with _seeded(run.seed, "encoder"):
            kind = DiagonalEncoder if covariance == "diagonal" else FullEncoder
            encoder = kind(features_dim(run), width, initial_scale or 1.0)
    if isinstance(objective, spec.Ceb | spec.Cceb | spec.ObjectivePart):
        with _seeded(run.seed, "backward_encoder"):
            backward_encoder = BackwardEncoder(info.classes, width, initial_scale)
    if not isinstance(objective, spec.Xent):
        with _seeded(run.seed, "marginal"):
            marginal = _marginal(objective.marginal, info, width)
    with _seeded(run.seed, "classifier"):
        consistent = isinstance(objective, spec.Cceb)
        classifier = ConsistentClassifier(info.classes) if consistent else LinearClassifier(width, info.classes)
    mean, std = normalisation(run.network, info)
    model = CebModel(mean, std, network, classifier, backward_encoder, marginal, encoder)
    return model.double() if run.precision == "fp64" else model


def _network(network: spec.Network, info: DatasetInfo) -> nn.Module:
    match network:
        case spec.SmallCnn():
            return small_cnn(network, info.channels, info.size)
        case spec.WideResNet():
            return WideResNet(network, info.channels)
        case spec.ResNet():
            return ResNet(network, info.channels)
        case spec.Timm() | spec.Torchvision():
            features = _features(structs.replace(network, z_dim=None), info) if network.z_dim else None
            return LibraryNetwork(network, info, features)
        case spec.Part():
            return own_network(network, info)


def _marginal(marginal: spec.Marginal, info: DatasetInfo, width: int) -> DensityMarginal | VampMarginal:
    if marginal.own:
        return OwnMarginal(marginal.own, width, info.classes)
    components = marginal.components or 2 * info.classes
    if marginal.name == "vamp":
        return VampMarginal(components, info.channels, info.size)
    return MixtureMarginal(components, width, diagonal=marginal.name == "diagonal_mixture")


def z_dim(run: spec.Run) -> int:
    """Return the dimensions of z."""
    return getattr(run.objective, "bottleneck_dim", UNSET) or features_dim(run)


def features_dim(run: spec.Run) -> int:
    """Return the number of the network's features. That of a library's network or of one's own is measured on one
    without weights."""
    network = run.network
    match network:
        case spec.SmallCnn():
            return network.z_dim
        case spec.WideResNet():
            return network.z_dim or 64 * network.width
        case spec.ResNet():
            return 2048 * network.width
        case spec.Timm() | spec.Torchvision():
            return network.z_dim or _features(network, datasets.info(run.data.name))
        case spec.Part():
            return _features(network, datasets.info(run.data.name))


@cache
def _features(network: spec.Network, info: DatasetInfo) -> int:
    return probe_z_dim(without_weights(network, info), info.channels, info.size)


def without_weights(network: spec.Network, info: DatasetInfo) -> nn.Module:
    """Return the network on the meta device; one of a library's or of one's own on the CPU if it can't be built or
    computed there.

    Raises InputError for a library's network that can't be built, or not for images of this size, and PartError for one
    of one's own.
    """
    if isinstance(network, spec.Part):
        return own_without_weights(network, info)
    if not isinstance(network, spec.LibraryNetwork):
        with torch.device("meta"):
            return _network(network, info)
    try:
        with torch.device("meta"):
            module = _network(network, info)
        probe_z_dim(module, info.channels, info.size)
        return module
    except Exception:  # some architectures compute with numbers while they are built
        with torch.random.fork_rng(devices=[]):
            module = _network(network, info)
    try:
        probe_z_dim(module, info.channels, info.size)
    except RuntimeError as error:
        side = network.input_size or info.size
        wrong = f"does not take images of {info.channels}x{side}x{side}: {str(error).splitlines()[0]}"
        raise InputError(f"network.model {network.model}", wrong, "`input_size` resizes them") from None
    return module


def build_without_weights(run: spec.Run) -> CebModel:
    """Return the model on the meta device, or on the CPU if its network can't be built there."""
    try:
        with torch.device("meta"):
            return build(run)
    except Exception:
        if not isinstance(run.network, spec.LibraryNetwork | spec.Part):
            raise
        return build(run)


@contextmanager
def _seeded(seed: int, part: str) -> Iterator[None]:
    """Seed torch's global CPU generator for one part of the model, and restore it afterwards."""
    # Weights are drawn on the CPU on every machine: a GPU's generator would draw others.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(
            int(randomness.bits(seed, f"init {part}", 0, torch.zeros(1, dtype=torch.int64, device="cpu"), 1))
        )
        yield
