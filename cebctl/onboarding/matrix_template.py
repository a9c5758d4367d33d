"""The first matrix for a user's own images: the deterministic network and CEB at a few rho, each choice explained."""

from __future__ import annotations

import shlex
from pathlib import Path

from experiments.own_dataset import Description

NETWORKS = {
    "small_cnn": "{name: small_cnn, width: 16, z_dim: 16} # three convolutions",
    "wide_resnet": "{name: wide_resnet, blocks: 1, width: 2} # depth 6 blocks + 4",
    "resnet": "{name: resnet, depth: 50} # for images of about 224 pixels",
}
"""By name, as the YAML of a matrix."""
STEPS = 1500
"""The optimiser steps of a training, about: enough for a first impression of a small network."""
MAX_AUDITED = 200
"""The test images of the audit of gradients, which takes a thousand passes and more for each."""
SMALL_PIXELS = 32
"""Images up to this size suit the small network, which a CPU trains in minutes."""
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
{alternatives}
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
  # - gradient_audit: {{norm: linf, eps: 8/255, subset: {audited}}} # can those be trusted? slow
  # - common_corruptions: {{pipeline: ours}} # errors under 15 corruptions at 5 severities

# resources: # what jobs ask of a cluster; without it, one core of one machine
#   train: {{gpus_per_node: 1, cpus_per_gpu: 8, memory: 32G, time: 12:00:00, partition: gpu}}
#   evaluate: {{gpus_per_node: 1, time: 2:00:00, partition: gpu}}
"""


def small_trial_command(matrix: Path, data: Path, size: int) -> str:
    """Return the command for a matrix of the same images that a CPU trains in minutes."""
    pixels = min(size, SMALL_PIXELS)
    path = matrix.with_stem(f"{matrix.stem}-{pixels}")
    return f"cebctl init {shlex.quote(str(path))} --data {shlex.quote(str(data))} --size {pixels}"


def network_for(size: int) -> str:
    """Return the network to begin with on images of this size, in pixels."""
    return "small_cnn" if size <= SMALL_PIXELS else "wide_resnet" if size <= 96 else "resnet"


def render_matrix(name: str, slug: str, data: Description, network: str) -> str:
    """Return the text of the matrix; `network` is a key of NETWORKS."""
    batch = max(size for size in _BATCHES if size <= max(data.train // 8, _BATCHES[0]))
    epochs = min(max(round(STEPS * batch / data.train), _EPOCHS[0]), _EPOCHS[1])
    alternatives = [text.replace(" # ", ": ") for name, text in NETWORKS.items() if name != network]
    text = _TEXT.format(
        slug=slug, name=name, classes=len(data.class_names), train=data.train, test=data.test,
        channels=data.channels, size=data.size, network=NETWORKS[network],
        alternatives="\n".join(f"{'':<{_COLUMN}} # or {text}" for text in alternatives),
        augment="crop_flip" if data.flips else "none",
        mirrors=" (which mirrors)" if data.flips else " (which does not mirror grey images)",
        holdout=max(data.train // 10, 1), epochs=epochs, batch=min(batch, data.train), drop=round(epochs * 0.75),
        audited=min(data.test, MAX_AUDITED),
        few="`subset: 1000` takes fewer images" if data.test > 1000 else "eps as 8/255 or 0.03",
    )  # fmt: skip
    return "\n".join(map(_align_remark, text.splitlines())) + "\n"


_COLUMN = 48


def _align_remark(line: str) -> str:
    """Return the line with the remark behind it in the column of all remarks."""
    head, _, remark = line.rpartition(" # ")
    return f"{head.rstrip():<{_COLUMN}} # {remark}" if head.strip() else line
