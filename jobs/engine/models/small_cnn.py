"""A small convolutional encoder, for small images."""

from __future__ import annotations

from torch import nn

from experiments import spec


def small_cnn(network: spec.SmallCnn, channels: int, size: int) -> nn.Sequential:
    """Return three 3x3 convolutions of width, 2 width and 2 width channels, the last two with stride 2, each followed
    by a ReLU, and a dense layer from all their outputs to z. He-normal convolutions, Glorot-uniform dense layer."""
    widths = (channels, network.width, 2 * network.width, 2 * network.width)
    layers: list[nn.Module] = []
    for number, stride in enumerate((1, 2, 2)):
        convolution = nn.Conv2d(widths[number], widths[number + 1], 3, stride, padding=1)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]  # it has a bias
        layers += [convolution, nn.ReLU()]
        size = -(-size // stride)
    dense = nn.Linear(widths[3] * size * size, network.z_dim)
    nn.init.xavier_uniform_(dense.weight)
    nn.init.zeros_(dense.bias)
    return nn.Sequential(*layers, nn.Flatten(), dense)
