"""The largest rate that training saw, read from what it reported (v1 Figure 1)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from experiments.benchmarks import TrainingRate
from experiments.errors import InputError
from jobs.engine.evaluators.subject import Subject, Summary
from jobs.engine.history import Epochs
from jobs.engine.models import CebModel


def evaluate(model: CebModel, subject: Subject, benchmark: TrainingRate, seed: int) -> Iterator[Summary]:
    """Yield `rate_train_max`, over as many epochs as its total says; nothing for xent, which has no rate.

    InputError if the journals of the training have no epoch with a rate.
    """
    if model.marginal is None:
        return
    rates = _behind_the_jump_start(subject.epochs())
    if not rates:
        raise InputError("training_rate", "the journals of this run's training have no rate at the end of an epoch")
    yield Summary("rate_train_max", "nats", len(rates), max(rates))


def _behind_the_jump_start(epochs: Epochs) -> list[float]:
    """The rates of the epochs that began with the last rho in force, or of the last one if none did."""
    rated = [(epoch["rate"], epoch.get("rho")) for epoch in epochs if epoch.get("rate") is not None]
    last = rated[-1][1] if rated else None
    begun = [rate for (_, before), (rate, _) in pairwise(rated) if before == last]
    return [rate for rate in begun or [rate for rate, _ in rated[-1:]] if rate is not None]
