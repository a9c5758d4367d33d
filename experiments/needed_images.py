"""The published images that a benchmark reads beside the test images of its run."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.benchmarks import (
    CORRUPTIONS,
    CORRUPTIONS_3D,
    EXTRA_CORRUPTIONS,
    AnyBenchmark,
    CommonCorruptions,
    ExtraCorruptions,
    Imagenet3dcc,
    OutOfDistribution,
    other_test_set,
)

_PUBLISHED = ("official", "official-recrop")
"""The pipelines that read files; the others corrupt the test images themselves."""


@dataclass(frozen=True)
class NeededImages:
    """A set of images that has to be at hand."""

    name: str
    """Of `OTHER_TEST_SETS`, or of a data set."""
    corruptions: tuple[str, ...] = ()
    """Those that are read, of a set of corrupted images."""


def needed_images(benchmark: AnyBenchmark, data: str) -> NeededImages | None:
    """Return the images that a benchmark of a run on `data` reads beside its test images; None if it reads no others,
    or only some that come with a package."""
    if other := other_test_set(benchmark):
        return NeededImages(other.name)
    match benchmark:
        case CommonCorruptions(pipeline=pipeline) if pipeline in _PUBLISHED:
            return NeededImages(_corrupted(data), CORRUPTIONS)
        case ExtraCorruptions(pipeline=pipeline) if pipeline in _PUBLISHED:
            return NeededImages(_corrupted(data), EXTRA_CORRUPTIONS)
        case Imagenet3dcc():
            return NeededImages("imagenet-3dcc", CORRUPTIONS_3D)
        case OutOfDistribution(against=name) if name != "photographs":
            return NeededImages(name)
        case _:
            return None


def _corrupted(data: str) -> str:
    return "imagenet-c" if data == "imagenet" else "cifar10-c"
