"""The objective of each spec."""

from __future__ import annotations

from experiments import spec
from jobs.engine.objectives.cceb import CCEB
from jobs.engine.objectives.ceb import CEB
from jobs.engine.objectives.own import own_objective
from jobs.engine.objectives.terms import Objective
from jobs.engine.objectives.vib import VIB
from jobs.engine.objectives.xent import XENT


def from_spec(objective: spec.Objective) -> Objective:
    """Return the objective that a spec names; `jobs.engine.training.schedules` applies its rho and schedule."""
    match objective:
        case spec.Xent():
            return XENT
        case spec.Vib():
            return VIB
        case spec.Ceb():
            return CEB
        case spec.Cceb():
            return CCEB
        case spec.ObjectivePart():
            return own_objective(objective)
