"""The metrics that the training of a run reported, epoch by epoch, from the journals alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from jobs.journal.history import training_attempts
from jobs.journal.ownership import attempt_records
from jobs.journal.records import Metrics
from jobs.paths import RunPaths

_EPOCH_END_METRIC = "collapsed"
"""A metric that is written at the ends of epochs only."""

Epochs = list[Mapping[str, float | None]]
"""The metrics over each epoch, in order; None for a mean that was not finite."""


def epochs(lineage: Iterable[RunPaths]) -> Epochs:
    """Return the metrics of the epochs that ended, a last one that was cut short included; an epoch that was run twice
    counts as last run.

    `lineage` are the folders of the run and, before it, of those that it extends, each with the generation of its
    training that counts.
    """
    metrics: dict[int, Mapping[str, float | None]] = {}
    for paths in lineage:
        for attempt in training_attempts(paths):
            records = (record for record in attempt_records(paths, "train", attempt) if isinstance(record, Metrics))
            metrics |= {record.step: record.values for record in records if _EPOCH_END_METRIC in record.values}
    return [metrics[step] for step in sorted(metrics)]
