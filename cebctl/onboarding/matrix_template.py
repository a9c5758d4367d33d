"""A first matrix for a user's own images: the deterministic network and CEB at a few rho, every choice explained."""

from __future__ import annotations

import shlex
from pathlib import Path

from experiments.own_dataset import Description

NETWORKS = {
    "small_cnn": "{name: small_cnn, width: 16, z_dim: 16} # three convolutions",
    "wide_resnet": "{name: wide_resnet, blocks: 1, width: 2} # depth 6 blocks + 4",
    "resnet": "{name: resnet, depth: 50} # for images of about 224 pixels",
}
"""As a matrix says them."""
STEPS = 1500
"""Of the optimiser, about: enough for a first look at a small network."""
AUDITED = 200
"""Test images, at most, for the audit of gradients, which takes a thousand passes and more for each."""
SMALL = 32
"""Pixels: images up to this size are suited to the small network, which a CPU trains in minutes."""
_EPOCHS = (5, 100)
_BATCHES = (8, 16, 32, 64, 128)

_TEXT = """\
# {slug}: {classes} classes, {train:,} + {test:,} images of {channels}x{size}x{size}
# Written by `cebctl init` as a start: change what you like, `cebctl plan` says what is wrong and what it would cost.
# The language: experiments/README.md. Every field there is, with its meaning: experiments/spec.py, benchmarks.py.
title: {slug}

base:                                   # what all runs share
  data:
    name: {name}
    augment: {augment}                  # none, crop_flip{mirrors}
    # holdout: {holdout} # keep so many training images back, to choose rho on (evaluate: clean_holdout)
  network: {network}
{others}
  optimiser: {{name: adam, lr: 1e-3}}   # or {{name: sgd, lr: 0.1, weight_decay: 5e-4}}
  epochs: {epochs}                      # passes over the training images; a fraction is allowed
  batch: {batch}                        # images per step
  # schedule: {{warmup_epochs: 2, drops: [{drop}]}} # the learning rate: linear at first, a tenth after each drop

grids:                                  # each is the product of its axes; a list is an axis
  - objective: xent                     # the deterministic baseline
  - objective: ceb                      # -log c(y|z) + e^-rho Rex: the smaller rho, the tighter the bottleneck
    rho: [5, 3, 1, 0]                   # or {{from: 0, to: 5, by: 0.5}}; deep networks want a jump_start as well

seeds: [0]                              # more, such as [0, 1, 2], give means over training runs with their intervals

evaluate:                               # on the test images
  - clean                               # accuracy
  - information                         # the rate R, the residual information Rex, H(Y|Z)
  - calibration
  - pgd: {{norm: linf, eps: [2/255, 8/255], steps: 20}} # accuracy under attack; {few}
  # - gradient_audit: {{norm: linf, eps: 8/255, subset: {audited}}} # can those be trusted? slow; {extra}
  # - common_corruptions: {{pipeline: ours}} # errors under 15 corruptions at 5 severities

# resources: # what jobs ask of a cluster; without it, one core of one machine
#   train: {{gpus_per_node: 1, cpus_per_gpu: 8, memory: 32G, time: 12:00:00, partition: gpu}}
#   evaluate: {{gpus_per_node: 1, time: 2:00:00, partition: gpu}}
"""


def first_try(matrix: Path, data: Path, size: int) -> str:
    """The command for a matrix of the same images that a CPU trains in minutes."""
    name = matrix.with_stem(f"{matrix.stem}-{min(size, SMALL)}")
    return f"cebctl init {shlex.quote(str(name))} --data {shlex.quote(str(data))} --size {min(size, SMALL)}"


def suited(size: int) -> str:
    """The network for a first look at images of this size, in pixels."""
    return "small_cnn" if size <= SMALL else "wide_resnet" if size <= 96 else "resnet"


def text(name: str, slug: str, found: Description, network: str) -> str:
    """The matrix, as a file; `network` is one of NETWORKS."""
    batch = max(size for size in _BATCHES if size <= max(found.train // 8, _BATCHES[0]))
    epochs = min(max(round(STEPS * batch / found.train), _EPOCHS[0]), _EPOCHS[1])
    others = [what.replace(" # ", ": ") for other, what in NETWORKS.items() if other != network]
    filled = _TEXT.format(
        slug=slug, name=name, classes=len(found.class_names), train=found.train, test=found.test,
        channels=found.channels, size=found.size, network=NETWORKS[network],
        others="\n".join(f"{'':<{_COLUMN}} # or {other}" for other in others),
        augment="crop_flip" if found.flips else "none",
        mirrors=" (which mirrors)" if found.flips else " (which does not mirror grey images)",
        holdout=max(found.train // 10, 1), epochs=epochs, batch=min(batch, found.train), drop=round(epochs * 0.75),
        audited=min(found.test, AUDITED), extra="pip install 'cebctl[autoattack]'",
        few="`subset: 1000` takes fewer images" if found.test > 1000 else "eps as 8/255 or 0.03",
    )  # fmt: skip
    return "\n".join(map(_aligned, filled.splitlines())) + "\n"


_COLUMN = 48


def _aligned(line: str) -> str:
    """Remarks behind a line below each other, whatever was filled in."""
    head, _, remark = line.rpartition(" # ")
    return f"{head.rstrip():<{_COLUMN}} # {remark}" if head.strip() else line
