"""Objectives: the losses of runs. Each is a file with its formula; all are in nats, means over the batch.

A new objective is a struct in `experiments.spec`, a file here and its line in `registry.py`.
"""

from jobs.engine.objectives.registry import from_spec
from jobs.engine.objectives.terms import Objective, Terms

__all__ = ["Objective", "Terms", "from_spec"]
