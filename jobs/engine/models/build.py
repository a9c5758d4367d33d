"""The freshly initialised model of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from experiments import datasets, spec
from experiments.datasets import DatasetInfo
from jobs.engine import randomness
from jobs.engine.models.backward_encoder import BackwardEncoder
from jobs.engine.models.ceb import CebModel
from jobs.engine.models.classifiers import ConsistentClassifier, LinearClassifier
from jobs.engine.models.marginal import MixtureMarginal
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
    width = z_dim(run.network)
    backward_encoder, marginal = None, None
    if isinstance(run.objective, spec.Ceb | spec.Cceb):
        with _seeded(run.seed, "backward_encoder"):
            backward_encoder = BackwardEncoder(info.classes, width)
    if not isinstance(run.objective, spec.Xent):
        with _seeded(run.seed, "marginal"):
            marginal = MixtureMarginal(run.objective.marginal.components or 2 * info.classes, width)
    with _seeded(run.seed, "classifier"):
        consistent = isinstance(run.objective, spec.Cceb)
        classifier = ConsistentClassifier(info.classes) if consistent else LinearClassifier(width, info.classes)
    model = CebModel(info, network, classifier, backward_encoder, marginal)
    return model.double() if run.precision == "fp64" else model


def _network(network: spec.Network, info: DatasetInfo) -> nn.Module:
    match network:
        case spec.SmallCnn():
            return small_cnn(network, info.channels, info.size)
        case spec.WideResNet():
            return WideResNet(network, info.channels)
        case spec.ResNet():
            return ResNet(network, info.channels)


def z_dim(network: spec.Network) -> int:
    """Return the dimensions of z."""
    match network:
        case spec.SmallCnn():
            return network.z_dim
        case spec.WideResNet():
            return network.z_dim or 64 * network.width
        case spec.ResNet():
            return 2048 * network.width


@contextmanager
def _seeded(seed: int, part: str) -> Iterator[None]:
    """Seed torch's global CPU generator for one part of the model, and restore it afterwards."""
    # Weights are drawn on the CPU on every machine: a GPU's generator would draw others.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(
            int(randomness.bits(seed, f"init {part}", 0, torch.zeros(1, dtype=torch.int64, device="cpu"), 1))
        )
        yield
