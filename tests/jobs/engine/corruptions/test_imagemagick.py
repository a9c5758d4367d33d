"""Motion blur and snow, whose published forms call ImageMagick, against that program itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.random import PCG64, Generator
from numpy.typing import NDArray

from jobs.engine.corruptions import FUNCTIONS, SEVERITIES, parameters
from tests.jobs.engine.corruptions import imagemagick, plain
from tests.jobs.engine.corruptions.photographs import photographs

pytestmark = pytest.mark.skipif(bool(imagemagick.program()[1]), reason=imagemagick.program()[1])

SIDES = (224, 64, 32)


class Angle(Generator):
    """Draws one angle."""

    def __init__(self, angle: float) -> None:
        super().__init__(PCG64(0))
        self._angle = angle

    def uniform(self, *_: Any) -> float:  # type: ignore[override]
        return self._angle


def images(side: int) -> list[NDArray[np.uint8]]:
    """Return real photographs, noise, and what a PNG stores otherwise: two colours, one colour, all grey."""
    draw = np.random.default_rng(side)
    photograph = photographs(side, 2)[0]
    return [
        *photographs(side, 2),
        draw.integers(256, size=(side, side, 3), dtype=np.uint8),
        draw.integers(2, size=(side, side, 3), dtype=np.uint8) * np.uint8(255),
        np.full((side, side, 3), 77, np.uint8),
        np.repeat(photograph[..., :1], 3, axis=2),
    ]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_motion_blur_is_imagemagicks(severity: int, side: int) -> None:
    """On every pixel, at the ends of the range of angles, at 0, and at two between."""
    c = parameters.lookup("motion_blur", severity, side)
    for number, image in enumerate(images(side)):
        for angle in (-45.0, -12.345, 0.0, 31.4159, 45.0)[: 5 if number == 0 or side < 224 else 2]:
            ours = FUNCTIONS["motion_blur"](image, c, Angle(angle))
            theirs = imagemagick.motion_blur(image, *c, angle)
            different = (ours != theirs).mean()
            assert different == 0, (number, angle, different, (ours.astype(int) - theirs).mean())


def test_motion_blur_of_grey_images_too() -> None:
    image = photographs(32, 2)[0][..., 0]
    blurred = FUNCTIONS["motion_blur"](image[..., None], (6, 1.5), Angle(20.0))
    assert np.array_equal(blurred[..., 0], imagemagick.motion_blur(image, 6, 1.5, 20.0))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_snow_is_blown_by_imagemagick(severity: int, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published method around the program's motion blur: to one grey level, and on 99.5% of the values exactly."""

    def blown(flakes: NDArray[np.uint8], radius: int, sigma: float, angle: float) -> Any:
        return imagemagick.motion_blur(flakes[..., 0], radius, sigma, angle)[..., None]

    c = parameters.lookup("snow", severity, side)
    image = photographs(side, 2)[0]
    ours = FUNCTIONS["snow"](image, c, Generator(PCG64(7))).astype(int)
    monkeypatch.setattr(plain, "_motion", blown)
    theirs = plain.snow(image, c, Generator(PCG64(7))).astype(int)
    assert np.abs(ours - theirs).max() <= 1
    assert (ours != theirs).mean() < 0.005, (ours - theirs).mean()
