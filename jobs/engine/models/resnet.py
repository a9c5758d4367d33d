"""ResNet v1.5 (He et al., 2016, with the stride on the 3x3 convolution), every layer scaled by `width`.

As the public TPU code that the paper changed: its "x2" doubles every layer, z included, unlike torchvision's
wide_resnet50_2, which widens the inner convolutions alone.

Shapes: B images, C channels, H by W pixels, Z dimensions of z.
"""

from __future__ import annotations

from torch import Tensor, nn

from experiments import spec

GROUPS = {50: (3, 4, 6, 3), 152: (3, 8, 36, 3)}
_EXPANSION = 4
_TRUNCATED_STD = 0.87962566103423978
"""Standard deviation of a normal variable cut off at two of its own."""


class ResNet(nn.Module):
    """z is the mean over pixels of the 2048 width features."""

    def __init__(self, network: spec.ResNet, channels: int) -> None:
        super().__init__()
        inner = 64 * network.width
        self.stem = nn.Sequential(
            _convolution(channels, inner, 7, 2), _norm(inner), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, padding=1)
        )
        blocks, inputs = [], inner
        for group, count in enumerate(GROUPS[network.depth]):
            for number in range(count):
                stride = 2 if group > 0 and number == 0 else 1
                blocks.append(Bottleneck(inputs, inner << group, stride))
                inputs = _EXPANSION * inner << group
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return f of normalised images, of shape (B, Z)."""
        features_BCHW: Tensor = self.blocks(self.stem(x_BCHW))
        return features_BCHW.mean(dim=(2, 3))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution, each with BatchNorm, added to the input; the last norm's scale starts at 0, so
    that the block starts as the identity."""

    def __init__(self, inputs: int, inner: int, stride: int) -> None:
        super().__init__()
        outputs = _EXPANSION * inner
        last_norm = _norm(outputs)
        nn.init.zeros_(last_norm.weight)
        self.added = nn.Sequential(
            _convolution(inputs, inner, 1), _norm(inner), nn.ReLU(inplace=True),
            _convolution(inner, inner, 3, stride), _norm(inner), nn.ReLU(inplace=True),
            _convolution(inner, outputs, 1), last_norm,
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = nn.Sequential(_convolution(inputs, outputs, 1, stride), _norm(outputs))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        summed_BCHW: Tensor = self.shortcut(x_BCHW) + self.added(x_BCHW)
        return summed_BCHW.relu_()


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    std = (inputs * size * size) ** -0.5 / _TRUNCATED_STD
    nn.init.trunc_normal_(convolution.weight, std=std, a=-2 * std, b=2 * std)
    return convolution


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)
