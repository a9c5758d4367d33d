"""Evaluators: what a trained network is measured on.

Each is a function in a file of its own that yields `Found` and `Summary`; it prints and writes nothing. A new
benchmark is a struct in `experiments.benchmarks`, a file here and its line in `EVALUATORS`.
"""

from jobs.engine.evaluation.evaluators.registry import EVALUATORS, Evaluator
from jobs.engine.evaluation.evaluators.test_set import Found, Subject, Summary

__all__ = ["EVALUATORS", "Evaluator", "Found", "Subject", "Summary"]
