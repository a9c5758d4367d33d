"""Which function runs which benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from experiments.benchmarks import AutoAttack, Benchmark, Clean, GradientAudit, Information, Pgd, Transfer
from jobs.engine.evaluators import autoattack, clean, gradient_audit, information, pgd, transfer
from jobs.engine.evaluators.subject import Found, Subject
from jobs.engine.models import CebModel

Evaluator = Callable[[CebModel, Subject, Any, int], Iterator[Found]]
"""(model in eval mode, test images, the benchmark, seed); raises InputError if the benchmark can't be run as asked."""

EVALUATORS: dict[type[Benchmark], Evaluator] = {
    Clean: clean.evaluate,
    Information: information.evaluate,
    Pgd: pgd.evaluate,
    Transfer: transfer.evaluate,
    AutoAttack: autoattack.evaluate,
    GradientAudit: gradient_audit.evaluate,
}
