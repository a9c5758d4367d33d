"""Networks of one's own: a function or class of an image and its fields that returns a module.

The module maps normalised images (B, C, H, W) to features (B, Z), which are the mean encodings.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from experiments.datasets import DatasetInfo
from experiments.errors import InputError
from experiments.spec import Part
from jobs import own_parts
from jobs.engine.models.probe import probe_z_dim
from jobs.own_parts import PartError


class Image(NamedTuple):
    """The shape of the images that a network is made for."""

    channels: int
    size: int
    """Height and width in pixels."""


def own_network(part: Part, info: DatasetInfo) -> nn.Module:
    """Return a network of one's own for the images of a data set. Raises PartError if it is none."""
    network = own_parts.load(part, "network")(Image(info.channels, info.size), **part.fields)
    if not isinstance(network, nn.Module):
        raise PartError(part, f"returns {type(network).__name__}; expected a torch.nn.Module")
    if any(isinstance(parameter, UninitializedParameter) for parameter in network.parameters()):
        with torch.no_grad():  # a lazy layer draws its weights now, as all others do
            network.eval()(torch.zeros(1, info.channels, info.size, info.size))
        network.train()
    return network


def own_without_weights(part: Part, info: DatasetInfo) -> nn.Module:
    """Return a network of one's own on the meta device, or on the CPU if it can't be computed there.

    Raises PartError if it can't be built, or does not return features of images of a data set.
    """
    with suppress(Exception), torch.device("meta"):
        network = own_network(part, info)
        probe_z_dim(network, info.channels, info.size)
        return network
    with torch.random.fork_rng(devices=[]):
        try:
            network = own_network(part, info)
            probe_z_dim(network, info.channels, info.size)
        except PartError:
            raise
        except InputError as error:
            raise PartError(part, str(error)) from None
        except Exception as error:
            raise PartError(part, own_parts.describe(error)) from error
    return network
