"""Top-1 accuracy on the images as they are."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from experiments.benchmarks import Clean
from jobs.engine.evaluators.subject import Found, Subject, found
from jobs.engine.models import CebModel


@torch.no_grad()
def evaluate(model: CebModel, subject: Subject, benchmark: Clean, seed: int) -> Iterator[Found]:
    """Yield `clean`: whether the largest logit over the mean encoding is the label's."""
    parts = []
    for samples_B, x_BCHW, y_B in subject.batches():
        parts.append(("clean", "accuracy", samples_B, model.classify(x_BCHW).argmax(dim=1) == y_B))
    yield from found(parts)
