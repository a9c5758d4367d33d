"""Networks of timm and torchvision without their classifier.

Shapes: B images, C channels, H by W pixels, Z dimensions of z.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torchvision
from torch import Tensor, nn
from torch.nn.functional import interpolate

from experiments import spec
from experiments.datasets import DatasetInfo
from experiments.errors import InputError
from experiments.library_models import EXTRAS

_CLASSIFIERS = ("fc", "classifier", "head", "heads")
"""The names that torchvision gives to what stands behind the features."""
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class LibraryNetwork(nn.Module):
    """The features of an architecture, or a dense layer of them, Glorot-uniform with a bias of zero."""

    def __init__(self, network: spec.LibraryNetwork, info: DatasetInfo, features: int | None) -> None:
        """Build it with the weights that the library draws; `features` is their number where a dense layer follows."""
        super().__init__()
        self.input_size = network.input_size or info.size
        build = _Timm if isinstance(network, spec.Timm) else _Torchvision
        arguments = {name: _as_tuples(value) for name, value in json.loads(network.args).items()}
        self.features = build(network.model, self.input_size, info.channels, arguments)
        self.dense: nn.Module = nn.Identity()
        if network.z_dim is not None and features is not None:
            self.dense = nn.Linear(features, network.z_dim)
            nn.init.xavier_uniform_(self.dense.weight)
            nn.init.zeros_(self.dense.bias)

    @property
    def classifier(self) -> str:
        """The name of the library's classifier, which checkpoints have; '' where there are two, or none behind z."""
        return self.features.classifier

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return f of normalised images, of shape (B, Z)."""
        if x_BCHW.shape[-1] != self.input_size:
            x_BCHW = interpolate(x_BCHW, (self.input_size, self.input_size), mode="bilinear", antialias=True)
        f_BZ: Tensor = self.dense(self.features(x_BCHW))
        return f_BZ


def normalisation(network: spec.Network, info: DatasetInfo) -> tuple[Sequence[float], Sequence[float]]:
    """Return the mean and standard deviation per channel by which a network's images are scaled."""
    if isinstance(network, spec.LibraryNetwork) and network.normalise == "model":
        if isinstance(network, spec.Torchvision):
            return _IMAGENET_MEAN, _IMAGENET_STD
        config = import_timm().get_pretrained_cfg(network.model)
        if config is None:
            raise InputError("network.normalise", f"timm has no default_cfg of {network.model}", "leave it out")
        return config.mean, config.std
    return info.mean, info.std


def input_size(network: spec.LibraryNetwork) -> int:
    """Return the side in pixels of the images that a network's published weights were evaluated on."""
    if isinstance(network, spec.Torchvision):
        weights = torchvision.models.get_model_weights(network.model).DEFAULT
        return int(weights.transforms().crop_size[0])
    config = import_timm().get_pretrained_cfg(network.model)
    return int((config.test_input_size or config.input_size)[-1]) if config is not None else 224


def import_timm() -> Any:
    """Return the module. Raises InputError if the extra is not installed."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise InputError("network timm", f"{error.name} is not installed here", EXTRAS["timm"]) from None
    return timm


class _Timm(nn.Module):
    def __init__(self, name: str, size: int, channels: int, arguments: dict[str, Any]) -> None:
        super().__init__()
        timm = import_timm()
        config = timm.get_pretrained_cfg(name)
        if config is not None and config.fixed_input_size:
            arguments = {"img_size": size} | arguments
        self.model: Any = _create(timm.create_model, name, arguments, num_classes=0, in_chans=channels)
        layer = config.classifier if config is not None else None
        self.classifier = layer if isinstance(layer, str) else ""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        f_BZ: Tensor = self.model.forward_head(self.model.forward_features(x_BCHW), pre_logits=True)
        return f_BZ


class _Torchvision(nn.Module):
    def __init__(self, name: str, size: int, channels: int, arguments: dict[str, Any]) -> None:
        super().__init__()
        if name.startswith("vit_"):
            arguments = {"image_size": size} | arguments
        elif name.startswith("maxvit"):
            arguments = {"input_size": (size, size)} | arguments
        elif name in ("googlenet", "inception_v3"):
            arguments = {"aux_logits": False, "init_weights": True} | arguments
        self.model = _create(torchvision.models.get_model, name, arguments, weights=None)
        self.classifier = remove_classifier(self.model)
        self.colours = 3 if channels == 1 else channels

    def forward(self, x_BCHW: Tensor) -> Tensor:
        f_BZ: Tensor = self.model(x_BCHW.expand(-1, self.colours, -1, -1))
        return f_BZ.flatten(1)


def remove_classifier(model: nn.Module) -> str:
    """Replace the last dense layer of a torchvision model by the identity, and return its name; of SqueezeNet the last
    convolution, so that z are the pooled features in front of it, which has no counterpart behind the pooling: ''."""
    name = next(name for name in _CLASSIFIERS if hasattr(model, name))
    head = getattr(model, name)
    if isinstance(head, nn.Linear):
        setattr(model, name, nn.Identity())
        return name
    if isinstance(model, torchvision.models.SqueezeNet):
        model.classifier = nn.Sequential(head[0], head[-1])
        return ""
    last, layer = list(head.named_children())[-1]
    assert isinstance(layer, nn.Linear)
    setattr(head, last, nn.Identity())
    return f"{name}.{last}"


def _as_tuples(value: Any) -> Any:
    """Return lists as tuples, which is what the libraries have as defaults."""
    if isinstance(value, list):
        return tuple(_as_tuples(item) for item in value)
    return {key: _as_tuples(item) for key, item in value.items()} if isinstance(value, dict) else value


def _create(create: Any, name: str, arguments: Mapping[str, Any], **fixed: Any) -> nn.Module:
    """Return the library's model. Raises InputError with what it says of the name or the arguments."""
    try:
        model: nn.Module = create(name, **fixed, **arguments)
    except Exception as error:  # of many types, from within the library
        message = (str(error).strip() or type(error).__name__).splitlines()[0]
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items()) or "no arguments"
        raise InputError(f"network.model {name}", f"can't be built with {given}: {message}") from error
    return model
