"""AutoAugment (Cubuk et al., 2018) on a batch of images of one size, each under a transform of its own.

torchvision gives a whole batch one transform. Here the images that get the same kind of operation get it together, each
with a magnitude of its own: shifts, shears and rotations are a look-up of pixels, Brightness, Posterize and the like
one of values, in tables; the rest are formulae with a ratio for each image. So a thousand images take as few
operations as ten, and none waits for the device. Each image is the one that its family makes under the same draw:
torchvision's `transforms.AutoAugment`, or Pillow as the two public codes of AutoAugment's authors call it
(`autoaugment_pillow.py`). The draw is a function of (seed, epoch, sample).

Images may carry an alpha channel after their colours, as they do in the authors' CIFAR code: 0 where a move or Cutout
leaves nothing, 255 elsewhere, and 255 everywhere again after the operations that code converts to RGB for.

Shapes: B images of a batch, A of them that are changed, T that get one kind of operation, O operations (a name and a
magnitude), C channels, H by W pixels, S = H W of them in a row; uint8 throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchvision import transforms
from torchvision.transforms import functional

from jobs.engine import randomness
from jobs.engine.data.augmentation import autoaugment_pillow as pillow
from jobs.engine.data.augmentation.autoaugment_policies import CIFAR10_AUTHORS, IMAGENET_AUTHORS, SubPolicy
from jobs.engine.device import to_device

Policy = Literal["cifar10", "imagenet"]
Family = Literal["torchvision", "cifar10_authors", "imagenet_authors"]
"""The values of `AutoAugment.family` that this module makes; `v0` is DALI's."""
Operation = tuple[str, float]
"""Name and magnitude, with its sign where it has one."""

POLICIES = {"cifar10": transforms.AutoAugmentPolicy.CIFAR10, "imagenet": transforms.AutoAugmentPolicy.IMAGENET}
GREY = 128
"""The value that shears, shifts and rotations move in, as in the authors' TPU code."""

_LEVELS = 10
_SIGNED = {
    "ShearX": 0.3, "ShearY": 0.3, "TranslateX": 150 / 331, "TranslateY": 150 / 331, "Rotate": 30.0,
    "Brightness": 0.9, "Color": 0.9, "Contrast": 0.9, "Sharpness": 0.9,
}  # fmt: skip
"""The largest magnitude of the operations that have a sign; the shifts' as a share of the image."""


def autoaugment(
    images_BCHW: Tensor,
    policy: Policy,
    seed: int,
    epoch: int,
    samples_B: Tensor,
    family: Family = "torchvision",
    *,
    alpha: bool = False,
) -> Tensor:
    """Return the images, square, wherever they lie, under the policy's two operations each, as they are drawn for
    samples_B (int64, on the CPU). With `alpha` the last channel is alpha."""
    return transform(images_BCHW, _statement(policy, family), seed, epoch, samples_B, alpha=alpha)


def transform(
    images_BCHW: Tensor, statement: Statement, seed: int, epoch: int, samples_B: Tensor, *, alpha: bool
) -> Tensor:
    """Return the images of `autoaugment` under any statement."""
    size = images_BCHW.shape[-1]
    _, numbers_P22, kinds_O = _operations(statement, size)
    tables = _tables(statement, size, images_BCHW.device, alpha)
    chosen_B, chances_B2, signs_B2 = draw(len(statement.sub_policies), seed, epoch, samples_B)
    centres_B22 = draw_centres(seed, epoch, samples_B, size) if statement.cuts_out else None
    images_BCHW = images_BCHW.clone()
    for stage in range(2):
        probabilities_B = _probabilities(statement)[chosen_B, stage]
        chances_B = chances_B2[:, stage]
        applied_B = chances_B < probabilities_B if statement.strict else chances_B <= probabilities_B
        places_A = applied_B.nonzero()[:, 0]
        numbers_A = numbers_P22[chosen_B[places_A], stage, signs_B2[places_A, stage]]
        centres_2A = centres_B22[places_A, stage].unbind(1) if centres_B22 is not None else ()
        kinds_A = kinds_O[numbers_A]
        sizes = kinds_A.bincount(minlength=len(statement.kinds)).tolist()
        drawn_RA = to_device(torch.stack([places_A, numbers_A, *centres_2A])[:, kinds_A.argsort()], images_BCHW.device)
        for (names, operate), drawn_RT in zip(statement.kinds, torch.split(drawn_RA, sizes, dim=1), strict=True):
            places_T, numbers_T, *centres_2T = drawn_RT
            if not len(places_T):
                continue
            group_TCHW = images_BCHW[places_T]
            if not alpha or names & _OF_ALPHA_TOO:
                images_BCHW[places_T] = operate(group_TCHW, numbers_T, tables, *centres_2T)
            else:
                colours_TCHW = operate(group_TCHW[:, :-1], numbers_T, tables)
                alpha_T1HW = group_TCHW[:, -1:].maximum(tables.opaque_O[numbers_T][:, None, None, None])
                images_BCHW[places_T] = torch.cat([colours_TCHW, alpha_T1HW], dim=1)
    return images_BCHW


def draw(pairs: int, seed: int, epoch: int, samples_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each sample the number of one of the pairs of operations (B,), two chances in [0, 1) and two signs, 0
    or 1 (B, 2). An operation is applied if its chance is at most its probability, and goes backward if its sign is 0.
    In the authors' families the chance has to be below the probability."""
    drawn_B5 = randomness.uniform(seed, "autoaugment", epoch, samples_B, 5)
    return (drawn_B5[:, 0] * pairs).long(), drawn_B5[:, 1:3], (drawn_B5[:, 3:] < 0.5).long()


def draw_centres(seed: int, epoch: int, samples_B: Tensor, size: int) -> Tensor:
    """Return the row and column that the operation Cutout is centred at in each of two stages, int64 of shape
    (B, 2, 2)."""
    drawn_B4 = randomness.uniform(seed, "autoaugment_cutout", epoch, samples_B, 4)
    return (drawn_B4 * size).long().view(-1, 2, 2)


def square(size: int, rows_T: Tensor, columns_T: Tensor, sides_T: Tensor) -> Tensor:
    """Return a mask of each image of so many pixels a side: True in a square with this centre and even side, cut at the
    edges; bool of shape (T, 1, H, W)."""
    pixels_S = torch.arange(size, device=rows_T.device)
    down_TH, right_TW = (
        (pixels_S >= (centres_T - sides_T // 2)[:, None]) & (pixels_S < (centres_T + sides_T // 2)[:, None])
        for centres_T in (rows_T, columns_T)
    )
    return (down_TH[:, :, None] & right_TW[:, None, :])[:, None]


# --- the operations ---


@dataclass(frozen=True)
class _Tables:
    """The tables of the operations, each with a row for its number; operations that do not use a table have a row
    too."""

    sources_OS: Tensor
    """int64: the pixel that each is taken from, S for one outside the image."""
    values_OV: Tensor
    """uint8: the new value for each of the 256."""
    ratios_2O: Tensor
    """float32: the weights of the image and of the one it is blended with; Cutout's side in place of the first."""
    opaque_O: Tensor
    """uint8: 255 for an operation that makes every pixel opaque, else 0."""
    outside: int
    """The value of every channel where a move leaves nothing."""


Operate = Callable[..., Tensor]
"""(images_TCHW, the numbers of their operations, the tables, and the rows and columns of centres where these are drawn)
-> images_TCHW."""


def _take_pixels(images_TCHW: Tensor, numbers_T: Tensor, tables: _Tables, *_: Tensor) -> Tensor:
    framed_TCS = pad(images_TCHW.flatten(2), (0, 1), value=tables.outside)
    sources_TCS = tables.sources_OS[numbers_T][:, None].expand(-1, images_TCHW.shape[1], -1)
    return framed_TCS.gather(2, sources_TCS).view_as(images_TCHW)


def _take_values(images_TCHW: Tensor, numbers_T: Tensor, tables: _Tables, *_: Tensor) -> Tensor:
    return tables.values_OV[numbers_T].gather(1, images_TCHW.flatten(1).long()).view_as(images_TCHW)


def _color(images_TCHW: Tensor, numbers_T: Tensor, tables: _Tables) -> Tensor:
    if images_TCHW.shape[1] == 1:  # torchvision leaves these alone, and blended with itself an image is rounded down
        return images_TCHW
    return _blended(images_TCHW, functional.rgb_to_grayscale(images_TCHW), numbers_T, tables)


def _contrast(images_TCHW: Tensor, numbers_T: Tensor, tables: _Tables) -> Tensor:
    mean_T111 = functional.rgb_to_grayscale(images_TCHW).float().mean(dim=(1, 2, 3), keepdim=True)
    return _blended(images_TCHW, mean_T111, numbers_T, tables)


def _sharpness(images_TCHW: Tensor, numbers_T: Tensor, tables: _Tables) -> Tensor:
    if images_TCHW.shape[-1] <= 2:
        return images_TCHW
    return _blended(images_TCHW, functional.adjust_sharpness(images_TCHW, 0), numbers_T, tables)


def _blended(images_TCHW: Tensor, others_TCHW: Tensor, numbers_T: Tensor, tables: _Tables) -> Tensor:
    weight_T111, other_weight_T111 = tables.ratios_2O[:, numbers_T, None, None, None]
    blended_TCHW: Tensor = weight_T111 * images_TCHW + other_weight_T111 * others_TCHW
    return blended_TCHW.clamp(0, 255).to(torch.uint8)


def equalize(images_TCHW: Tensor) -> Tensor:
    """Return the histogram equalisation of each channel of each image, in the rounding of Pillow and torchvision, which
    takes the channels one by one."""
    pixels_RN = images_TCHW.flatten(0, 1).flatten(1).long()
    counts_RV = pixels_RN.new_zeros(len(pixels_RN), 256).scatter_add_(1, pixels_RN, torch.ones_like(pixels_RN))
    brightest_R1 = pixels_RN.amax(dim=1, keepdim=True)
    step_R1 = (pixels_RN.shape[1] - counts_RV.gather(1, brightest_R1)) // 255
    below_RV = counts_RV.cumsum(dim=1) - counts_RV
    table_RV = ((below_RV + step_R1 // 2) // step_R1.clamp(min=1)).clamp(0, 255)
    table_RV[:, :1] = 0
    equal_RN = torch.where(step_R1 > 0, table_RV.gather(1, pixels_RN), pixels_RN)
    return equal_RN.to(torch.uint8).view_as(images_TCHW)


# --- torchvision's functions of one operation, which the tables are made by ---


def _affine(image_CHW: Tensor, **how: Any) -> Any:
    still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    return functional.affine(image_CHW, **still | how, fill=[_outside(image_CHW)])


def _outside(image_CHW: Tensor) -> float:
    return float(image_CHW.numel())


def _angle(slope: float) -> float:
    return math.degrees(math.atan(slope))


_MOVES: dict[str, Callable[[Tensor, float], Any]] = {
    "ShearX": lambda x_CHW, slope: _affine(x_CHW, shear=[_angle(slope), 0.0], center=[0, 0]),
    "ShearY": lambda x_CHW, slope: _affine(x_CHW, shear=[0.0, _angle(slope)], center=[0, 0]),
    "TranslateX": lambda x_CHW, pixels: _affine(x_CHW, translate=[int(pixels), 0]),
    "TranslateY": lambda x_CHW, pixels: _affine(x_CHW, translate=[0, int(pixels)]),
    "Rotate": lambda x_CHW, degrees: functional.rotate(x_CHW, degrees, fill=[_outside(x_CHW)]),
}
_RECOLOURINGS: dict[str, Callable[[Tensor, float], Any]] = {
    "Brightness": lambda x_CHW, more: functional.adjust_brightness(x_CHW, 1 + more),
    "Posterize": lambda x_CHW, bits: functional.posterize(x_CHW, int(bits)),
    "Solarize": lambda x_CHW, threshold: functional.solarize(x_CHW, threshold),
    "Invert": lambda x_CHW, _: functional.invert(x_CHW),
}
_KINDS: list[tuple[set[str], Operate]] = [
    (set(_MOVES), _take_pixels),
    (set(_RECOLOURINGS), _take_values),
    ({"Color"}, _color),
    ({"Contrast"}, _contrast),
    ({"Sharpness"}, _sharpness),
    ({"AutoContrast"}, lambda images_TCHW, *_: functional.autocontrast(images_TCHW)),
    ({"Equalize"}, lambda images_TCHW, *_: equalize(images_TCHW)),
]


def _sources(name: str, by: float, size: int) -> Tensor:
    positions_1HW = torch.arange(size * size, dtype=torch.float32).view(1, size, size)
    moved_1HW: Tensor = _MOVES[name](positions_1HW, by)
    return moved_1HW.flatten().long()


def _values(name: str, by: float) -> Tensor:
    recoloured_1HW: Tensor = _RECOLOURINGS[name](torch.arange(256, dtype=torch.uint8).view(1, 16, 16), by)
    return recoloured_1HW.flatten()


def _magnitude(name: str, level: int | None, size: int, sign: int) -> float:
    """Return the magnitude of a level from 0 to 9; linear, from torchvision's numbers in fp32."""
    if level is None:
        return 0.0
    if name == "Posterize":  # the number of remaining bits
        return 8.0 - round(level / ((_LEVELS - 1) / 4))
    if name == "Solarize":
        return torch.linspace(255.0, 0.0, _LEVELS)[level].item()
    largest = _SIGNED[name] * (size if name.startswith("Translate") else 1)
    return sign * torch.linspace(0.0, largest, _LEVELS)[level].item()


# --- Pillow's ---


def _factors(numbers_T: Tensor, tables: _Tables) -> Tensor:
    return tables.ratios_2O[0, numbers_T]


def _by_factor(enhance: Callable[[Tensor, Tensor], Tensor]) -> Operate:
    return lambda images_TCHW, numbers_T, tables, *_: enhance(images_TCHW, _factors(numbers_T, tables))


def _cut_out(images_TCHW: Tensor, numbers_T: Tensor, tables: _Tables, rows_T: Tensor, columns_T: Tensor) -> Tensor:
    covered_T1HW = square(images_TCHW.shape[-1], rows_T, columns_T, _factors(numbers_T, tables).long())
    value_C = images_TCHW.new_tensor((*pillow.CUTOUT_VALUE, 0)[: images_TCHW.shape[1]])
    return torch.where(covered_T1HW, value_C[:, None, None], images_TCHW)


_PILLOW_KINDS: list[tuple[set[str], Operate]] = [
    (pillow.MOVES, _take_pixels),
    (pillow.RECOLOURINGS, _take_values),
    ({"Color"}, _by_factor(pillow.color)),
    ({"Contrast"}, _by_factor(pillow.contrast)),
    ({"Sharpness"}, _by_factor(pillow.sharpness)),
    ({"AutoContrast"}, lambda images_TCHW, *_: pillow.autocontrast(images_TCHW)),
    ({"Equalize"}, lambda images_TCHW, *_: equalize(images_TCHW)),
    ({"Cutout"}, _cut_out),
]
_OF_ALPHA_TOO = {*pillow.MOVES, "Cutout"}
"""Operations that change the alpha channel as they do the colours; of the others all but enhancements make it 255."""


# --- the families ---


@dataclass(frozen=True, eq=False)
class Statement:
    """A policy as one family states it."""

    sub_policies: tuple[SubPolicy, ...]
    magnitude: Callable[[str, int | None, int, int], float]
    """(operation, level, pixels a side, sign)"""
    sources: Callable[[str, float, int], Tensor]
    """(move, magnitude, pixels a side) -> the pixel that each is taken from, int64 of shape (S,); S for outside"""
    values: Callable[[str, float], Tensor]
    """(recolouring, magnitude) -> the new value for each, uint8 of shape (256,)"""
    kinds: list[tuple[set[str], Operate]]
    ratio: Callable[[float], float]
    """An enhancement's factor by its magnitude."""
    strict: bool
    """True if the chance has to be below the probability."""

    @property
    def cuts_out(self) -> bool:
        """Return True if an operation has a centre of its own."""
        return any(name == "Cutout" for pair in self.sub_policies for name, *_ in pair)


def authors(code: pillow.Code, sub_policies: tuple[SubPolicy, ...]) -> Statement:
    """Return the statement of one of the authors' two public codes of these sub-policies."""
    return Statement(
        sub_policies=sub_policies,
        magnitude=lambda name, level, _, sign: pillow.magnitude(code, name, level or 0, sign),
        sources=pillow.sources,
        values=pillow.values,
        kinds=_PILLOW_KINDS,
        ratio=lambda by: by,
        strict=True,
    )


@cache
def _statement(policy: Policy, family: Family) -> Statement:
    if family == "cifar10_authors":
        return authors(family, CIFAR10_AUTHORS)
    if family == "imagenet_authors":
        return authors(family, IMAGENET_AUTHORS)
    return Statement(
        sub_policies=tuple(transforms.AutoAugment(POLICIES[policy]).policies),
        magnitude=_magnitude,
        sources=_sources,
        values=_values,
        kinds=_KINDS,
        ratio=lambda by: 1 + by,
        strict=False,
    )


@cache
def _tables(statement: Statement, size: int, device: torch.device, alpha: bool) -> _Tables:
    """Return the tables for images of so many pixels in height and width."""
    operations = _operations(statement, size)[0]
    moves, recolourings = statement.kinds[0][0], statement.kinds[1][0]
    still_S, same_V = torch.arange(size * size), torch.arange(256, dtype=torch.uint8)
    sources = [statement.sources(name, by, size) if name in moves else still_S for name, by in operations]
    values = [statement.values(name, by) if name in recolourings else same_V for name, by in operations]
    ratios = [statement.ratio(by) for _, by in operations]
    keeping = pillow.ENHANCEMENTS | _OF_ALPHA_TOO
    opaque = [0 if name in keeping else 255 for name, _ in operations]
    return _Tables(
        torch.stack(sources).to(device),
        torch.stack(values).to(device),
        torch.tensor([ratios, [1 - ratio for ratio in ratios]], device=device),
        torch.tensor(opaque, dtype=torch.uint8, device=device),
        0 if alpha else GREY,
    )


@cache
def _probabilities(statement: Statement) -> Tensor:
    pairs = [[probability for _, probability, _ in pair] for pair in statement.sub_policies]
    return torch.tensor(pairs, dtype=torch.float64)


@cache
def _operations(statement: Statement, size: int) -> tuple[list[Operation], Tensor, Tensor]:
    """Return the distinct operations, the number of each by (pair, stage, sign), and the kind of each."""
    operations: list[Operation] = []
    numbers = []
    for pair in statement.sub_policies:
        for name, _, level in pair:
            for sign in (-1, 1):
                operation = (name, statement.magnitude(name, level, size, sign))
                if operation not in operations:
                    operations.append(operation)
                numbers.append(operations.index(operation))
    kind_of = {name: kind for kind, (names, _) in enumerate(statement.kinds) for name in names}
    return operations, torch.tensor(numbers).view(-1, 2, 2), torch.tensor([kind_of[name] for name, _ in operations])
