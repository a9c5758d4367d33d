"""The matrix that judges a public network for robustness, on a user's own images."""

from __future__ import annotations

from cebctl.onboarding.matrix_template import MAX_AUDITED
from experiments import pretrained
from experiments.errors import InputError
from experiments.matrix.network_text import read_network
from experiments.own_dataset import Description
from experiments.spec import LibraryNetwork

_SUBSET = 1000
_TEXT = """\
# {model} of {library} on {slug}: {classes} classes, {test:,} test images of {channels}x{size}x{size}
# Written by `cebctl init --model`; `cebctl plan` says what it would cost and whether the weights fit.
# Images are resized to {size} pixels at the short side and cropped in the centre, which may differ a little from how
# the network's publishers evaluated it. Fields: experiments/spec.py, benchmarks.py; experiments/NETWORKS.md.
title: {model} on {slug}

base:
  data: {name}
  network: {{name: {library}, model: {model}, pretrained: true, normalise: model}}
  objective: xent
  epochs: 0                             # judge the published weights as they are
  optimiser: adam                       # without effect, as nothing is trained
  batch: 64

evaluate:
  - clean                               # accuracy{top5}
  - calibration
  - common_corruptions: {{pipeline: ours{subset}}} # errors under 15 corruptions at 5 severities, made in memory
  - pgd: {{norm: linf, eps: [1/255, 4/255], steps: 20{subset}}}
{autoattack}
  - gradient_audit: {{norm: linf, eps: 4/255, subset: {audited}}} # can these be trusted?

# resources: # what jobs ask of a cluster; without it, one core of one machine
#   train: {{time: 0:10:00}} # only takes the weights
#   evaluate: {{gpus_per_node: 1, time: 12:00:00, partition: gpu}}
"""


def judged_network(model: str, other: object) -> LibraryNetwork:
    """Return the network that `--model` names, whose weights are in the hub's cache.

    Raises InputError for a name that no library has, for weights that are not there, and beside `--network`.
    """
    if other is not None:
        raise InputError("--model", "is a network already", "leave out --network")
    network = read_network("--model", model)
    if not isinstance(network, LibraryNetwork):
        raise InputError(f"--model {model}", "is no public network", "timm:MODEL or torchvision:MODEL")
    try:
        pretrained.cached_file(network)
    except LookupError as error:
        raise InputError(f"--model {model}", str(error).removeprefix("pretrained: ")) from None
    return network


def render_matrix(name: str, slug: str, data: Description, network: LibraryNetwork) -> str:
    """Return the text of the matrix."""
    classes = len(data.class_names)
    subset = f", subset: {_SUBSET}" if data.test > _SUBSET else ""
    audited = min(data.test, MAX_AUDITED)
    autoattack = f"autoattack: {{norm: linf, eps: 4/255, subset: {audited}}}"
    return _TEXT.format(
        model=network.model, library=type(network).__struct_config__.tag, slug=slug, classes=classes, test=data.test,
        channels=data.channels, size=data.size, name=name, subset=subset, audited=audited,
        top5=", and\n  - top5" if classes > 5 else "",
        autoattack=f"  - {autoattack}" if classes >= 4 else f"  # - {autoattack} # needs four classes",
    )  # fmt: skip
