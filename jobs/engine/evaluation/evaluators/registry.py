"""The evaluator of each benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from experiments.benchmarks import (
    AutoAttack,
    Benchmark,
    Calibration,
    Cifar101,
    Clean,
    CleanHoldout,
    CommonCorruptions,
    ExtraCorruptions,
    GradientAudit,
    ImagenetA,
    ImagenetR,
    ImagenetSketch,
    ImagenetV2,
    Information,
    OutOfDistribution,
    Pgd,
    Top5,
    TrainInformation,
    TrainingRate,
    Transfer,
)
from jobs.engine.evaluation.evaluators import (
    autoattack,
    calibration,
    clean,
    corrupted,
    gradient_audit,
    information,
    ood,
    other_sets,
    pgd,
    training_rate,
    transfer,
)
from jobs.engine.evaluation.evaluators.context import EvaluationContext, Measurement
from jobs.engine.models import CebModel

Evaluator = Callable[[CebModel, EvaluationContext, Any, int], Iterator[Measurement]]
"""(model in eval mode, test images, the benchmark, seed); raises InputError if the benchmark can't be run as asked."""

EVALUATORS: dict[type[Benchmark], Evaluator] = {
    Clean: clean.evaluate,
    CleanHoldout: clean.evaluate,
    Top5: clean.top5,
    Information: information.evaluate,
    TrainInformation: information.evaluate_train,
    TrainingRate: training_rate.evaluate,
    Calibration: calibration.evaluate,
    OutOfDistribution: ood.evaluate,
    Pgd: pgd.evaluate,
    Transfer: transfer.evaluate,
    AutoAttack: autoattack.evaluate,
    GradientAudit: gradient_audit.evaluate,
    CommonCorruptions: corrupted.evaluate,
    ExtraCorruptions: corrupted.evaluate,
    ImagenetA: other_sets.evaluate,
    ImagenetR: other_sets.evaluate,
    ImagenetSketch: other_sets.evaluate,
    ImagenetV2: other_sets.evaluate,
    Cifar101: other_sets.evaluate,
}
