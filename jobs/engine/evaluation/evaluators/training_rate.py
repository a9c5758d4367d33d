"""The largest rate that training reported (v1 Figure 1)."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.benchmarks import TrainingRate
from experiments.errors import InputError
from experiments.jump_start_checks import rates_behind_jump_start
from jobs.engine.evaluation.evaluators.context import EvaluationContext, Summary
from jobs.engine.models import CebModel


def evaluate(model: CebModel, context: EvaluationContext, benchmark: TrainingRate, seed: int) -> Iterator[Summary]:
    """Yield `rate_train_epochs`, the number of epochs that reported a rate after the jump-start, and
    `rate_train_max`, the largest rate of these. There is none for xent, which has no rate, nor for a run in which no
    epoch began with the target rho in force.

    Raises InputError if the journals of the training have no epoch with a rate.
    """
    epochs = [] if model.marginal is None else [epoch for epoch in context.epochs() if epoch.get("rate") is not None]
    if model.marginal is not None and not epochs:
        raise InputError("training_rate", "the journals of this run's training have no rate at the end of an epoch")
    rates = rates_behind_jump_start(context.objective, epochs)
    yield Summary("rate_train_epochs", "epochs", len(epochs), len(rates))
    if rates:
        yield Summary("rate_train_max", "nats", len(rates), max(rates))
