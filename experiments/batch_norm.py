"""BatchNorm's statistics: over how many images they are taken, where the number of GPUs decides it.

A number of GPUs is no part of a run's identity, so that a plan warns where it changes the trained network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from experiments import datasets
from experiments.resources import Resources
from experiments.spec import LibraryNetwork, Network, Part, ResNet, Run, WideResNet


def has_batch_norm(network: Network) -> bool:
    """Return whether the network may normalise by statistics of the batch: one of a library's or of one's own may."""
    if isinstance(network, LibraryNetwork | Part):
        return True
    return isinstance(network, ResNet) or (isinstance(network, WideResNet) and network.norm == "batch")


def images_at_once(run: Run, gpus: int) -> int:
    """Return the number of images that one of `gpus` GPUs (0: a CPU) computes at a time.

    BatchNorm's statistics are over these images, unless they are synchronised.
    """
    return min(-(-run.batch // max(gpus, 1)), run.replica_batch or run.batch)  # unset is false


def fewest_values(network: Network, size: int) -> int | None:
    """Return the fewest values per channel that BatchNorm normalises of one image of this size: those in front of the
    mean over pixels. None for a network without BatchNorm, or of which only its library or its author knows."""
    if isinstance(network, ResNet):
        return (-(-size // 32)) ** 2
    if isinstance(network, WideResNet) and network.norm == "batch":
        return (-(-size // 4)) ** 2
    return None


def single_value(run: Run, gpus: int = 1) -> str:
    """Return a message if BatchNorm has one value per channel, of which there is no deviation; '' if it has more.

    That is where it normalises one image alone, at a layer of a single pixel."""
    if not run.epochs or fewest_values(run.network, datasets.info(run.data.name).size) != 1:
        return ""
    if run.batch_norm:
        images = run.batch
    elif run.replica_batch:
        images = run.batch % run.replica_batch or min(run.replica_batch, run.batch)
    else:
        images = run.batch // max(gpus, 1)
    if images != 1:
        return ""
    return f"BatchNorm has one value per channel: one image of a batch of {run.batch} is normalised alone"


def gpu_count_warnings(planned: Sequence[tuple[Run, Resources, bool]]) -> list[str]:
    """Return a line for each way in which the numbers of GPUs change a result or stop a job; the third of each run says
    whether its network has BatchNorm."""
    return [
        *_statistics_warning([(run, resources) for run, resources, normed in planned if normed]),
        *_too_many_gpus([(run, resources) for run, resources, _ in planned]),
    ]


def _statistics_warning(planned: Sequence[tuple[Run, Resources]]) -> Iterator[str]:
    """Yield one line for all runs whose statistics are over each GPU's share of the batch, none if all have one GPU.
    The networks of the runs have BatchNorm."""
    shares: dict[int, dict[int, None]] = {}
    for run, resources in planned:
        if not run.batch_norm and not run.replica_batch:
            gpus = max(resources.gpus, 1)
            shares.setdefault(gpus, {})[images_at_once(run, gpus)] = None
    if max(shares, default=1) == 1:
        return
    sets = [f"{' or '.join(map(str, counts))} on {gpus} GPU{'s' * (gpus > 1)}" for gpus, counts in shares.items()]
    fewest = min(min(counts) for counts in shares.values())
    yield (
        f"BatchNorm's statistics depend on the number of GPUs: images per GPU are {', '.join(sets)}, and with another "
        f"number the same run ids stand for other networks; `replica_batch: {fewest}` or `batch_norm: sync` fixes them"
    )


def _too_many_gpus(planned: Sequence[tuple[Run, Resources]]) -> Iterator[str]:
    """Yield a line for each number of GPUs that leaves some without images: such a job ends at once."""
    cases: dict[tuple[int, int, int, int], None] = {}
    for run, resources in planned:
        replica_batch = run.replica_batch or 1
        parts = -(-run.batch // replica_batch)
        if resources.gpus > parts:
            cases[run.batch, replica_batch, parts, resources.gpus] = None
    for batch, replica_batch, parts, gpus in cases:
        few = f"a batch of {batch:,} images in {parts} parts of {replica_batch}"
        yield f"{few} is too little for {gpus} GPUs: ask for at most {parts}"
