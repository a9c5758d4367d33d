"""Contradictions between the fields of one run: each field is valid, but together they have no meaning.

A matrix refuses such a run before anything is submitted, at the place of the field that is named here.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import NamedTuple

from msgspec import UNSET

from experiments import datasets, library_models, lineage
from experiments.batch_norm import has_batch_norm, single_value
from experiments.spec import (
    AugMix,
    AutoAugment,
    Data,
    LibraryNetwork,
    ObjectivePart,
    PgdAdversary,
    RandAugment,
    Run,
    Sgd,
    Timm,
    TrivialAugment,
    learned_covariance,
)

_POLICIES = {
    "torchvision": (
        ("cifar10", "torchvision"),
        ("imagenet", "torchvision"),
        ("cifar10", "cifar10_authors"),
        ("imagenet", "imagenet_authors"),
    ),
    "dali": (("imagenet", "v0"), ("imagenet", "imagenet_authors")),
}
"""The pairs (policy, family) of AutoAugment that each loader implements."""


class Contradiction(NamedTuple):
    """A field that contradicts another one, by its dotted path, and a message with the allowed values."""

    field: str
    message: str


def contradiction(run: Run) -> Contradiction | None:
    """Return the first contradiction between the fields of a run, None if there is none."""
    return (
        data_contradiction(run.data)
        or _length_contradiction(run)
        or _batch_norm_contradiction(run)
        or _objective_contradiction(run)
        or _optimiser_contradiction(run)
        or _library_contradiction(run)
        or _schedule_contradiction(run)
        or _average_contradiction(run)
        or _label_contradiction(run)
    )


def data_contradiction(data: Data) -> Contradiction | None:
    """Return the first contradiction between the fields of a run's data, None if there is none."""
    if data.loader == "dali" and datasets.info(data.name).crop_padding is not None:
        allowed = ", ".join(name for name, info in datasets.DATASETS.items() if info.crop_padding is None)
        wrong = f"loader: dali is for images that are decoded as they are used, and {data.name} is held in memory"
        return Contradiction("data.loader", f"{wrong}; allowed with it: {allowed}")
    augment = data.augment
    if isinstance(augment, RandAugment | TrivialAugment | AugMix):
        kind = type(augment).__struct_config__.tag
        if data.loader == "dali":
            wrong = f"augment: the loader dali has no {kind}; allowed with it: none, crop_flip, autoaugment"
            return Contradiction("data.augment.name", wrong)
        if datasets.info(data.name).channels not in (1, 3):
            return Contradiction("data.augment.name", f"augment: {kind} is for grey images and for those in colour")
    if not data.mixup and not data.cutmix and data.mix_probability is not UNSET:
        wrong = "mix_probability: without `mixup` or `cutmix` it has no effect; leave it out"
        return Contradiction("data.mix_probability", wrong)
    if not isinstance(augment, AutoAugment):
        return None
    loader = data.loader or "torchvision"
    if (augment.policy, augment.family) not in _POLICIES[loader]:
        allowed = ", ".join(f"{{policy: {policy}, family: {family}}}" for policy, family in _POLICIES[loader])
        wrong = f"{{policy: {augment.policy}, family: {augment.family}}}"
        return Contradiction("data.augment.family", f"augment: the loader {loader} has no {wrong}; allowed: {allowed}")
    info = datasets.info(data.name)
    if info.channels != 3 and augment.family in ("cifar10_authors", "imagenet_authors"):
        wrong = f"family: {augment.family} is for images in colour, and those of {data.name} are grey"
        return Contradiction("data.augment.family", f"{wrong}; allowed: torchvision")
    if info.crop_padding is None:
        for field in ("order", "crop_offsets", "cutout", "fill"):
            if getattr(augment, field) is not UNSET:
                wrong = f"{field}: it is for images that are held in memory, and {data.name} is decoded as it is used"
                return Contradiction(f"data.augment.{field}", f"{wrong}; leave it out")
        if augment.family == "cifar10_authors":
            wrong = f"family: cifar10_authors is for images that are held in memory, and {data.name} is not"
            allowed = "{policy: imagenet, family: imagenet_authors}"
            return Contradiction("data.augment.family", f"{wrong}; allowed: {allowed}")
    elif augment.crop_offsets and augment.crop_offsets > (most := 2 * info.crop_padding + 1):
        wrong = f"crop_offsets: {data.name} has {most} at most, got {augment.crop_offsets}"
        return Contradiction("data.augment.crop_offsets", wrong)
    return None


def _length_contradiction(run: Run) -> Contradiction | None:
    lengths = [*(run.extends or ()), run.epochs]
    if any(later <= earlier for earlier, later in pairwise(lengths)):
        listing = ", ".join(f"{length:g}" for length in lengths[:-1])
        wrong = f"extends: expected rising lengths below epochs, {run.epochs:g}, got {listing}"
        return Contradiction("extends", wrong)
    if not run.epochs and not run.weights:
        wrong = "epochs: expected a number > 0, got 0; only a run with imported `weights` may do without training"
        return Contradiction("epochs", wrong)
    return None


def _library_contradiction(run: Run) -> Contradiction | None:
    network = run.network
    if not isinstance(network, LibraryNetwork):
        return None
    if wrong := library_models.unknown_model(network):
        return Contradiction("network.model", wrong)
    reserved = library_models.RESERVED[library_models.library(network)]
    if names := [name for name in json.loads(network.args) if name in reserved]:
        wrong = f"args: {names[0]} follows from the other fields of a run, or loads weights; leave it out"
        return Contradiction("network.args", wrong)
    if isinstance(network, Timm) and network.normalise and (channels := datasets.info(run.data.name).channels) != 3:
        wrong = f"normalise: the model's mean is of 3 channels, and the images of {run.data.name} have {channels}"
        return Contradiction("network.normalise", f"{wrong}; leave it out")
    return None


def _batch_norm_contradiction(run: Run) -> Contradiction | None:
    if run.batch_norm and not has_batch_norm(run.network):
        return Contradiction("batch_norm", "batch_norm: this network has none; leave it out")
    if run.batch_norm and run.replica_batch:
        wrong = "replica_batch: `batch_norm: sync` takes its statistics over the whole batch at once"
        return Contradiction("replica_batch", f"{wrong}; leave one of the two out")
    if wrong := single_value(run):
        if run.replica_batch and run.batch > 1:
            allowed = "a divisor of the batch above 1" if run.replica_batch > 1 else "2 or more"
            return Contradiction("replica_batch", f"replica_batch: {wrong}; allowed: {allowed}")
        return Contradiction("batch", f"batch: {wrong}; allowed: 2 or more")
    return None


def _objective_contradiction(run: Run) -> Contradiction | None:
    if not learned_covariance(run.objective):
        for field in ("bottleneck_dim", "initial_scale"):
            if getattr(run.objective, field, UNSET):
                wrong = f"{field}: it is for a `covariance` that is learned, and this one is 1; leave it out"
                return Contradiction(f"objective.{field}", wrong)
    return None


def _optimiser_contradiction(run: Run) -> Contradiction | None:
    if isinstance(run.optimiser, Sgd) and not run.optimiser.momentum and run.optimiser.nesterov is not UNSET:
        return Contradiction("optimiser.nesterov", "nesterov: without momentum it has no effect; leave it out")
    if run.decayed and run.epochs and not getattr(run.optimiser, "weight_decay", 1):
        return Contradiction(
            "decayed", "decayed: without a `weight_decay` of the optimiser it has no effect; leave it out"
        )
    return None


def _schedule_contradiction(run: Run) -> Contradiction | None:
    schedule = lineage.resolved_schedule(run)
    horizon = schedule.horizon_epochs
    if not horizon or not run.epochs:
        return None
    if schedule.warmup_epochs >= horizon:
        wrong = f"warmup_epochs: {schedule.warmup_epochs:g}, and the schedule ends at epoch {horizon:g}"
        return Contradiction("schedule.warmup_epochs", f"{wrong}; allowed: fewer than `horizon_epochs`")
    if run.epochs > horizon and not schedule.final_factor:
        wrong = f"horizon_epochs: the learning rate is 0 from epoch {horizon:g} on, and the run has {run.epochs:g}"
        places = "here and in the runs that it extends" if run.extends else "here"
        hint = f"write `horizon_epochs: {run.epochs:g}` {places}, or a `final_factor` > 0"
        return Contradiction("schedule.horizon_epochs", f"{wrong}; {hint}")
    return None


def _average_contradiction(run: Run) -> Contradiction | None:
    if not run.ema_decay:
        for field in ("ema_form", "ema_every", "ema_judged"):
            if getattr(run, field) is not UNSET:
                return Contradiction(field, f"{field}: without `ema_decay` it has no effect; leave it out")
    return None


def _label_contradiction(run: Run) -> Contradiction | None:
    """Return the contradiction of what makes labels soft with what takes one label for each image."""
    for field, value in {"data.mixup": run.data.mixup, "data.cutmix": run.data.cutmix}.items():
        if value and isinstance(run.adversary, PgdAdversary):
            wrong = f"{field}: an adversary attacks images of one label; leave `{field}` or `adversary` out"
            return Contradiction(field, wrong)
    fields = {"data.mixup": run.data.mixup, "data.cutmix": run.data.cutmix, "label_smoothing": run.label_smoothing}
    for field, value in fields.items():
        if value and isinstance(run.objective, ObjectivePart):
            wrong = f"{field}: an objective of one's own is given one label for each image; leave it out"
            return Contradiction(field, wrong)
    return None
