"""What the training of a run reported, epoch by epoch, from its journals alone."""

from __future__ import annotations

from collections.abc import Mapping

from jobs.home import RunPaths
from jobs.journal import Metrics, read

_AT_THE_END = "collapsed"
"""A metric that is written at the ends of epochs only."""

Epochs = list[Mapping[str, float | None]]
"""The metrics over each epoch, in order; None for a mean that was not finite."""


def epochs(paths: RunPaths) -> Epochs:
    """Those that ended, a last one that was cut short included; an epoch that was run twice counts as last run."""
    found: dict[int, Mapping[str, float | None]] = {}
    for attempt in paths.attempts("train"):
        offset = 0
        while (chunk := read(paths.journal("train", attempt), offset)).offset > offset:
            offset = chunk.offset
            ends = (record for record in chunk.records if isinstance(record, Metrics) and _AT_THE_END in record.values)
            found |= {record.step: record.values for record in ends}
    return [found[step] for step in sorted(found)]
