"""Evaluators: the functions that measure a trained network.

Each is a function in a file of its own that yields `ImageValues` and `Summary`; it prints and writes nothing. A new
benchmark is a struct in `experiments.benchmarks`, a file here and its line in `EVALUATORS`.
"""

from jobs.engine.evaluation.evaluators.context import EvaluationContext, ImageValues, Measurement, Summary
from jobs.engine.evaluation.evaluators.registry import EVALUATORS, Evaluator

__all__ = ["EVALUATORS", "EvaluationContext", "Evaluator", "ImageValues", "Measurement", "Summary"]
