"""Wide ResNet (Zagoruyko & Komodakis, 2016), with BatchNorm or without any norm.

Shapes: B images, C channels, H by W pixels, Z dimensions of z.
"""

from __future__ import annotations

from torch import Tensor, nn

from experiments import spec


class WideResNet(nn.Module):
    """Three groups of n pre-activation blocks of 16k, 32k and 64k channels after a 3x3 convolution of 16; the second
    and third group begin with stride 2. z is the mean over pixels, or a dense layer of it.

    Depth is 6n + 4, counting shortcuts. No convolution has a bias, with norm or without.
    """

    def __init__(self, network: spec.WideResNet, channels: int) -> None:
        super().__init__()
        batch_norm = network.norm == "batch"
        widths = (16, 16 * network.width, 32 * network.width, 64 * network.width)
        self.stem = _convolution(channels, widths[0], 3)
        blocks = []
        for group in range(3):
            for number in range(network.blocks):
                inputs = widths[group] if number == 0 else widths[group + 1]
                stride = 2 if group > 0 and number == 0 else 1
                blocks.append(Block(inputs, widths[group + 1], stride, batch_norm))
        self.blocks = nn.Sequential(*blocks)
        self.last = _activation(widths[3], batch_norm)
        self.dense = nn.Identity() if network.z_dim is None else nn.Linear(widths[3], network.z_dim)
        self._initialise(network.init)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return f of normalised images, of shape (B, Z)."""
        features_BCHW = self.last(self.blocks(self.stem(x_BCHW)))
        f_BZ: Tensor = self.dense(features_BCHW.mean(dim=(2, 3)))
        return f_BZ

    def _initialise(self, init: str) -> None:
        """Initialise He-normal (fan in). Without a norm each of L blocks then doubles the variance, which explodes at
        28x10; `scaled` multiplies each block's last convolution by L^-1/2, so that all of them together add a factor e
        at most."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if init == "scaled":
            for block in self.blocks:
                assert isinstance(block, Block)
                block.second.weight.data *= len(self.blocks) ** -0.5
        if isinstance(self.dense, nn.Linear):
            nn.init.xavier_uniform_(self.dense.weight)
            nn.init.zeros_(self.dense.bias)


class Block(nn.Module):
    """Norm, ReLU, 3x3 convolution, twice, added to the input; where the number of channels changes, the shortcut
    is a 1x1 convolution of the activated input."""

    def __init__(self, inputs: int, outputs: int, stride: int, batch_norm: bool) -> None:
        super().__init__()
        self.activate_1 = _activation(inputs, batch_norm)
        self.first = _convolution(inputs, outputs, 3, stride)
        self.activate_2 = _activation(outputs, batch_norm)
        self.second = _convolution(outputs, outputs, 3)
        self.shortcut = None if inputs == outputs else _convolution(inputs, outputs, 1, stride)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        active_BCHW = self.activate_1(x_BCHW)
        shortcut_BCHW = x_BCHW if self.shortcut is None else self.shortcut(active_BCHW)
        added_BCHW: Tensor = self.second(self.activate_2(self.first(active_BCHW)))
        return shortcut_BCHW + added_BCHW


def _activation(channels: int, batch_norm: bool) -> nn.Module:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU()) if batch_norm else nn.ReLU()


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
