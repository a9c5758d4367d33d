"""The kinds of parts of one's own: what the engine gives to each, and the spec that stands for it in a run."""

from __future__ import annotations

from typing import NamedTuple

from experiments.benchmarks import BenchmarkPart
from experiments.spec import MarginalPart, ObjectivePart, Part, SchedulePart


class PartKind(NamedTuple):
    """What the engine gives to a part by position; every further parameter is a field."""

    given: tuple[str, ...]
    spec: type[Part] = Part
    reserved: tuple[str, ...] = ()
    """Words that a matrix needs beside the fields."""


PART_KINDS = {
    "network": PartKind(("image",)),
    "objective": PartKind(("model", "f", "z", "y", "gamma"), ObjectivePart),
    "marginal": PartKind(("z_dim", "classes"), MarginalPart),
    "optimiser": PartKind(("parameters",)),
    "schedule": PartKind(("progress",), SchedulePart),
    "augment": PartKind(("images", "rng")),
    "data": PartKind(("split", "root")),
    "loss": PartKind(("logits", "labels")),
    "benchmark": PartKind(("model", "images", "labels", "rng"), BenchmarkPart, ("only", "source")),
}
"""By the section of a run that chooses the part; `loss` is that of an attack."""
