"""BatchNorm: what `Run.batch_norm` can be asked for, and where resources decide what its statistics are over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from experiments.resources import Resources
from experiments.spec import Network, ResNet, Run, WideResNet


def has_batch_norm(network: Network) -> bool:
    """Whether the network normalises by statistics of the batch."""
    return isinstance(network, ResNet) or (isinstance(network, WideResNet) and network.norm == "batch")


def problem(run: Run) -> tuple[str, str] | None:
    """The field that contradicts another, and in words what is wrong and what is allowed."""
    if not run.batch_norm:
        return None
    if not has_batch_norm(run.network):
        return "batch_norm", "batch_norm: this network has none; leave it out"
    if run.replica_batch:
        wrong = "replica_batch: `batch_norm: sync` takes its statistics over the whole batch at once"
        return "replica_batch", f"{wrong}; leave one of the two out"
    return None


def images_at_once(run: Run, gpus: int) -> int:
    """Return how many images one of so many GPUs (0: a CPU) computes at a time, and BatchNorm's statistics are over,
    if nothing synchronises them."""
    return min(-(-run.batch // max(gpus, 1)), run.replica_batch or run.batch)  # unset is false


def warnings(planned: Sequence[tuple[Run, Resources]]) -> list[str]:
    """Return what the numbers of GPUs that these runs ask for would do to them, a line each: change what BatchNorm's
    statistics are over, where nothing but that number decides it, or leave a GPU without images."""
    return [*_dependence(planned), *_too_many(planned)]


def _dependence(planned: Sequence[tuple[Run, Resources]]) -> Iterator[str]:
    """One line for all runs whose statistics are over what the number of GPUs leaves each: how many images that is for
    every set of resources. None where each has one GPU."""
    shares: dict[int, dict[int, None]] = {}
    for run, resources in planned:
        if has_batch_norm(run.network) and not run.batch_norm and not run.replica_batch:
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


def _too_many(planned: Sequence[tuple[Run, Resources]]) -> Iterator[str]:
    """A line for every number of GPUs that a batch has fewer parts than: such a job ends at once."""
    wrong: dict[tuple[int, int, int, int], None] = {}
    for run, resources in planned:
        parts = -(-run.batch // (run.replica_batch or 1))
        if resources.gpus > parts:
            wrong[run.batch, run.replica_batch or 1, parts, resources.gpus] = None
    for batch, unit, parts, gpus in wrong:
        few = f"a batch of {batch:,} images in {parts} parts of {unit}"
        yield f"{few} is too little for {gpus} GPUs: ask for at most {parts}"
