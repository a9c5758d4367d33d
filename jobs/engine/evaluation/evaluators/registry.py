"""The evaluator of each benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from experiments import benchmarks
from jobs.engine.evaluation.evaluators import (
    autoattack,
    calibration,
    clean,
    corrupted,
    gradient_audit,
    information,
    ood,
    other_sets,
    own,
    pgd,
    training_rate,
    transfer,
)
from jobs.engine.evaluation.evaluators.context import EvaluationContext, Measurement
from jobs.engine.models import CebModel

Evaluator = Callable[[CebModel, EvaluationContext, Any, int], Iterator[Measurement]]
"""(model in eval mode, images, the benchmark, seed); raises InputError if the benchmark can't be run as asked."""

EVALUATORS: dict[type[benchmarks.Benchmark | benchmarks.BenchmarkPart], Evaluator] = {
    benchmarks.Clean: clean.evaluate,
    benchmarks.CleanHoldout: clean.evaluate,
    benchmarks.Top5: clean.top5,
    benchmarks.Information: information.evaluate,
    benchmarks.TrainInformation: information.evaluate_train,
    benchmarks.TrainingRate: training_rate.evaluate,
    benchmarks.Calibration: calibration.evaluate,
    benchmarks.OutOfDistribution: ood.evaluate,
    benchmarks.Pgd: pgd.evaluate,
    benchmarks.Transfer: transfer.evaluate,
    benchmarks.AutoAttack: autoattack.evaluate,
    benchmarks.GradientAudit: gradient_audit.evaluate,
    benchmarks.CommonCorruptions: corrupted.evaluate,
    benchmarks.ExtraCorruptions: corrupted.evaluate,
    benchmarks.Imagenet3dcc: corrupted.evaluate,
    benchmarks.ImagenetA: other_sets.evaluate,
    benchmarks.ImagenetR: other_sets.evaluate,
    benchmarks.ImagenetSketch: other_sets.evaluate,
    benchmarks.ImagenetV2: other_sets.evaluate,
    benchmarks.Cifar101: other_sets.evaluate,
    benchmarks.BenchmarkPart: own.evaluate,
}
