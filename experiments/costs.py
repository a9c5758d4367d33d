"""Estimate the costs of a run before it starts: operations, memory per GPU, and the size of a checkpoint.

The counts per network are in `flops.json`, which `python -m jobs.engine.flops --write experiments` regenerates;
a test compares it. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import msgspec
from msgspec import UNSET, Struct, UnsetType

from experiments import datasets, lineage
from experiments.benchmarks import (
    AnyBenchmark,
    AutoAttack,
    CleanHoldout,
    CommonCorruptions,
    ExtraCorruptions,
    GradientAudit,
    Imagenet3dcc,
    OutOfDistribution,
    Pgd,
    TrainInformation,
    TrainingRate,
    Transfer,
    other_test_set,
)
from experiments.spec import (
    Adagrad,
    Cceb,
    Ceb,
    Network,
    ObjectivePart,
    PgdAdversary,
    RmsProp,
    Run,
    Sgd,
    Vib,
    Xent,
    learned_covariance,
)

TABLE = Path(__file__).parent / "flops.json"

_FP32_BYTES = 4
_GPU_FIXED_GIB = 1.5
"""The memory of CUDA, cuDNN's workspaces and the allocator's rounding on any GPU: a guess."""


class NetworkCount(Struct, frozen=True):
    """The counts of one network without its head, per image of one shape."""

    network: Network
    channels: int
    size: int
    macs: int
    """Multiplications with an addition, forward."""
    parameters: int
    z_dim: int
    activations: int
    """Elements of the tensors that the forward pass keeps for the backward pass."""
    largest: int
    """Elements of the largest of them."""
    batch_norm: bool | UnsetType = UNSET
    """Whether a library's network has BatchNorm; that of the others, their fields say."""


def count_key(run: Run) -> tuple[Network, int, int]:
    """Return the key of a run's `NetworkCount`: the network, and the channels and size of its images."""
    info = datasets.info(run.data.name)
    return run.network, info.channels, info.size


@cache
def network_counts() -> dict[tuple[Network, int, int], NetworkCount]:
    """Return the counts of every network of the matrices in this folder."""
    counts = msgspec.json.decode(TABLE.read_bytes(), type=list[NetworkCount])
    return {(count.network, count.channels, count.size): count for count in counts}


def encode_counts(counts: list[NetworkCount]) -> bytes:
    """Encode counts as `flops.json` has them, a line for each network."""
    return b"[\n" + b",\n".join(msgspec.json.encode(count) for count in counts) + b"\n]\n"


def training_flops(run: Run, count: NetworkCount) -> float:
    """Return the floating-point operations of the training that the run does itself.

    An image takes a forward pass and a backward pass of twice its operations. Each step of an adversary adds a forward
    pass, and a backward pass to the image alone; each step with the marginal `vamp` its learned images. The head is
    left out: it is below 1%.
    """
    passes: float = 3 + (2 * run.adversary.steps if isinstance(run.adversary, PgdAdversary) else 0)
    if not isinstance(run.objective, Xent) and run.objective.marginal.name == "vamp":
        passes += (6 if isinstance(run.objective, Vib) else 3) * _components(run) / run.batch
    return 2.0 * count.macs * passes * training_images(run)


def evaluation_flops(run: Run, count: NetworkCount, benchmarks: tuple[AnyBenchmark, ...]) -> float:
    """Return the floating-point operations of the benchmarks, on all test images or on their subsets."""
    return 2.0 * count.macs * evaluation_passes(run, benchmarks)


def evaluation_passes(run: Run, benchmarks: Iterable[AnyBenchmark]) -> float:
    """Return the forward passes over single images that the benchmarks need together."""
    return sum(_passes(benchmark, run) for benchmark in benchmarks)


def training_images(run: Run) -> float:
    """Return the number of images that the run trains on itself, counted again in every epoch."""
    return lineage.own_epochs(run) * images_per_epoch(run)


def training_left(run: Run, step: int) -> float:
    """Return the share of a run's own training, in [0, 1], that is left after so many optimiser steps."""
    epochs_done = step / max(1, images_per_epoch(run) // run.batch)
    own_epochs = lineage.own_epochs(run)
    return min(max((run.epochs - epochs_done) / own_epochs, 0.0), 1.0) if own_epochs else 0.0


def images_per_epoch(run: Run) -> int:
    """Return the number of training images of an epoch."""
    return run.data.train_subset or datasets.info(run.data.name).train - (run.data.holdout or 0)


def head_parameters(run: Run, count: NetworkCount) -> tuple[int, int]:
    """Return the parameters of the head without the marginal, and those of the marginal; one of one's own counts as
    none, since nothing is known of it."""
    info, objective = datasets.info(run.data.name), run.objective
    covariance = learned_covariance(objective)
    z_dim = getattr(objective, "bottleneck_dim", UNSET) or count.z_dim
    linear = 0 if isinstance(objective, Cceb) else (z_dim + 1) * info.classes
    backward = (info.classes + 1) * z_dim if isinstance(objective, Ceb | Cceb | ObjectivePart) else 0
    encoder = 0
    if covariance:
        scales = z_dim if covariance == "diagonal" else z_dim * (z_dim + 1) // 2
        encoder, backward = (count.z_dim + 1) * (z_dim + scales), 2 * backward
    if isinstance(objective, Xent):
        return linear, 0
    values = {"diagonal_mixture": 2 * z_dim + 1, "vamp": info.channels * info.size**2}
    marginal = 0 if objective.marginal.own else _components(run) * values.get(objective.marginal.name or "", z_dim + 1)
    return linear + encoder + backward, marginal


def _components(run: Run) -> int:
    assert not isinstance(run.objective, Xent)
    return run.objective.marginal.components or 2 * datasets.info(run.data.name).classes


def checkpoint_bytes(run: Run, count: NetworkCount) -> int:
    """Return the size of one checkpoint: weights, what the optimiser keeps for each, and their average."""
    head, marginal = head_parameters(run, count)
    states = 1 + slots(run) + _averages(run)
    return _value_bytes(run) * ((count.parameters + head) * states + (3 + _averages(run)) * marginal)


def slots(run: Run) -> int:
    """Return the values that the optimiser keeps for each parameter."""
    match run.optimiser:
        case Sgd(momentum=momentum):
            return int(momentum > 0)
        case RmsProp(momentum=momentum):
            return 1 + int(momentum > 0)
        case Adagrad():
            return 1
        case _:
            return 2


def memory_gib(run: Run, count: NetworkCount, batch_per_gpu: int) -> float:
    """Return an estimate of the memory of one GPU in training, in GiB:

        fixed + parameters x (weight, gradient, optimiser's slots, average) x 4 bytes
              + images per GPU x (activations kept + 3 x the largest one) x 2 bytes in bf16, 4 in fp32

    The largest ones stand for the tensors that live only in the backward pass: gradients coming in, going out, and on
    the shortcut. A test compares the estimate with torch's allocations on the CPU (`tests/jobs/engine/test_flops.py`):
    it is 0 to 25% above. `parameters` has the head. DDP's buckets, fragmentation and the savings of torch.compile are
    not included.
    """
    return _GPU_FIXED_GIB + network_bytes(run, count, batch_per_gpu) / 2**30


def network_bytes(run: Run, count: NetworkCount, batch_per_gpu: int) -> float:
    """Return the part of `memory_gib` that depends on the network and the batch, in bytes."""
    head, marginal = head_parameters(run, count)
    copies = 2 + slots(run) + _averages(run)
    parameters = _value_bytes(run) * ((count.parameters + head) * copies + (4 + _averages(run)) * marginal)
    per_image = (2 if run.precision == "bf16" else _value_bytes(run)) * (count.activations + 3 * count.largest)
    return parameters + batch_per_gpu * per_image


def fitting_batch(run: Run, count: NetworkCount, gib: float) -> int:
    """Return the largest number of images at once whose estimate fits into this much memory; 0 if none does."""
    without_images, with_one_image = memory_gib(run, count, 0), memory_gib(run, count, 1)
    return max(0, int((gib - without_images) / (with_one_image - without_images)))


def _averages(run: Run) -> int:
    return int(bool(run.ema_decay))


def _value_bytes(run: Run) -> int:
    return 2 * _FP32_BYTES if run.precision == "fp64" else _FP32_BYTES


def _passes(benchmark: AnyBenchmark, run: Run) -> float:
    """Return the forward passes over single images of a benchmark; a backward pass to the image counts as one."""
    images = datasets.info(run.data.name).test
    match benchmark:
        case CleanHoldout():
            return benchmark.subset or run.data.holdout or 0
        case Pgd():
            return (benchmark.subset or images) * (2 * benchmark.steps + 1) * benchmark.restarts
        case Transfer():
            return (benchmark.subset or images) * (2 * benchmark.steps + 1)
        case AutoAttack():  # as if no image fell early: APGD's 100 steps, FAB's as two of them each, Square's queries;
            # untargeted FAB goes back for every class; the draws of `rand` share one pass of the network
            steps = {"rand": 2 * 100, "standard": 100 + 9 * 100 + 2 * 9 * 100, "plus": 10 * 100 + 9 * 100 + 2 * 9 * 100}
            queries = {"rand": 0, "standard": 5000, "plus": 5000 + 5 * 100 * (2 + datasets.info(run.data.name).classes)}
            return (benchmark.subset or images) * (2 * steps[benchmark.version] + queries[benchmark.version])
        case GradientAudit():  # three losses and a huge radius; five restarts of five times the steps; Square
            return (benchmark.subset or images) * (2 * benchmark.steps * (4 + 25) + benchmark.queries)
        case CommonCorruptions():
            return (benchmark.subset or images) * 75
        case ExtraCorruptions():
            return (benchmark.subset or images) * 20
        case Imagenet3dcc():
            return (benchmark.subset or images) * 60
        case OutOfDistribution():
            return (benchmark.subset or images) * 2
        case TrainInformation():
            return benchmark.subset or run.data.train_subset or datasets.info(run.data.name).train
        case TrainingRate():  # read from the journal
            return 0
        case _:
            test_set = other_test_set(benchmark)
            return getattr(benchmark, "subset", UNSET) or (test_set.images if test_set else images)
