"""From the spec of an objective to the objective."""

from __future__ import annotations

from experiments import spec
from jobs.engine.objectives.cceb import CCEB
from jobs.engine.objectives.ceb import CEB
from jobs.engine.objectives.terms import Objective
from jobs.engine.objectives.vib import VIB
from jobs.engine.objectives.xent import XENT


def of(objective: spec.Objective) -> Objective:
    """The objective that a spec names; its rho and schedule are `jobs.engine.training.schedules`' concern."""
    match objective:
        case spec.Xent():
            return XENT
        case spec.Vib():
            return VIB
        case spec.Ceb():
            return CEB
        case spec.Cceb():
            return CCEB
