"""Objectives: what a run minimises. Each is a file with its formula; all are in nats, means over the batch.

A new objective is a struct in `experiments.spec`, a file here and its line in `of`.
"""

from jobs.engine.objectives.registry import of
from jobs.engine.objectives.terms import Objective, Terms

__all__ = ["Objective", "Terms", "of"]
