"""The parts of the check, in the order in which they run: what decides whether the rest means anything comes first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One row: what runs in a process of its own."""

    name: str
    function: str
    """`module:function`: (device, small) to an iterator of results."""
    seconds: int
    """It is ended after so many seconds."""


PARTS = [
    Part("device", "benchmarks.gpu.speed:device", 60),
    Part("objectives", "benchmarks.gpu.numbers:objectives", 90),
    Part("attacks", "benchmarks.gpu.numbers:attacks", 150),
    Part("augmentations", "benchmarks.gpu.numbers:augmentations", 60),
    Part("corruptions", "benchmarks.gpu.numbers:corruptions", 60),
    Part("evaluators", "benchmarks.gpu.numbers:evaluators", 150),
    Part("settings", "benchmarks.gpu.settings:settings", 200),
    Part("resnet-50", "benchmarks.gpu.speed:resnet_50", 90),
    Part("wrn-28-10", "benchmarks.gpu.speed:wrn_28_10", 90),
    Part("resnet-152x2", "benchmarks.gpu.speed:resnet_152x2", 150),
    Part("training", "benchmarks.gpu.training:training", 120),
    Part("groups", "benchmarks.gpu.training:groups", 90),
    Part("resident", "benchmarks.gpu.scripts:resident", 90),
    Part("dali", "benchmarks.gpu.scripts:dali", 90),
    Part("steps", "benchmarks.gpu.scripts:steps", 240),
]
