"""The published images of benchmarks under the data folder: whether they are there, by a look at their folders.

Nothing is read or counted: who measures on them verifies them. Without torch.
"""

from __future__ import annotations

from pathlib import Path

from experiments.benchmarks import (
    CORRUPTIONS,
    CORRUPTIONS_3D,
    EXTRA_CORRUPTIONS,
    AnyBenchmark,
    Cifar101,
    CommonCorruptions,
    ExtraCorruptions,
    Imagenet3dcc,
    OutOfDistribution,
    other_test_set,
)
from experiments.datasets import DATASETS, OTHER_TEST_SETS, OtherTestSet
from jobs.datasets import download

_SEVERITIES = range(1, 6)


def missing_images(benchmark: AnyBenchmark, data: str, root: Path) -> str:
    """Return what is missing of a benchmark's own images, and how to get it; '' if it has none or they are there.

    `data` is the data set of the run that is measured, `root` the data folder.
    """
    if isinstance(benchmark, OutOfDistribution) and benchmark.against in DATASETS:
        status = download.dataset_status(benchmark.against, root)
        return "" if status.state == "ready" else status.detail
    declared, paths = _published(benchmark, data)
    missing = [path for path in paths if not (root / path).exists()]
    if declared is None or not missing:
        return ""
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return f"{root / missing[0]}{more} does not exist; get it with {declared.obtain}"


def _published(benchmark: AnyBenchmark, data: str) -> tuple[OtherTestSet | None, list[Path]]:
    """Return the published test set of a benchmark and the files or folders below the data folder that it reads."""
    if isinstance(benchmark, CommonCorruptions | ExtraCorruptions | Imagenet3dcc):
        if not benchmark.pipeline.startswith("official"):
            return None, []
        names = {CommonCorruptions: CORRUPTIONS, ExtraCorruptions: EXTRA_CORRUPTIONS, Imagenet3dcc: CORRUPTIONS_3D}
        corruptions = names[type(benchmark)]
        if data != "imagenet":
            declared = OTHER_TEST_SETS["cifar10-c"]
            return declared, [Path(declared.folder, f"{name}.npy") for name in (*corruptions, "labels")]
        declared = OTHER_TEST_SETS["imagenet-3dcc" if isinstance(benchmark, Imagenet3dcc) else "imagenet-c"]
        return declared, [Path(declared.folder, name, str(level)) for name in corruptions for level in _SEVERITIES]
    if isinstance(benchmark, OutOfDistribution):
        sample = OTHER_TEST_SETS.get(benchmark.against)
        return sample, [Path(sample.folder)] if sample else []
    other = other_test_set(benchmark)
    if other is None:
        return None, []
    if isinstance(benchmark, Cifar101):
        parts = ("data", "labels")
        return other, [Path(other.folder, f"cifar10.1_{benchmark.version}_{part}.npy") for part in parts]
    return other, [Path(other.folder)]
