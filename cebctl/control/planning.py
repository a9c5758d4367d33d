"""What `submit` would do: the claims it would take and what they cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from cebctl.control.states import RunStatus, counts
from cebctl.control.submit import wanted
from cebctl.control.survey import read_only, survey
from experiments import datasets
from experiments.matrix import Matrix, PlannedRun
from experiments.spec import Run
from jobs.home import Home
from jobs.journal import Claim
from store import queries
from store.opening import Store

Cost = Mapping[str, float]
"""Hours of training by run_id, on the kind of device that was measured."""


@dataclass(frozen=True)
class Plan:
    """A matrix, what is there, and what would be submitted."""

    matrix: Matrix
    runs: tuple[RunStatus, ...]
    claims: tuple[Claim, ...]
    hours: Cost
    basis: str

    @property
    def arrays(self) -> list[dict[str, Any]]:
        """What would be submitted, by stage."""
        stages = Counter(claim.stage for claim in self.claims)
        after = {"train": None, "evaluate": "train"}
        return [{"stage": stage, "runs": size, "after": after[stage]} for stage, size in stages.items()]

    def to_json(self) -> dict[str, Any]:
        """DESIGN's contract of `plan --json`."""
        return {
            "matrix": self.matrix.name,
            "runs": [
                {
                    "run_id": run.planned.run_id,
                    "name": run.planned.name,
                    "spec": msgspec.to_builtins(run.planned.run),
                    "state": run.state,
                    "stages": [{"stage": stage.stage, "state": stage.state} for stage in run.stages],
                    "gpu_hours": self.hours.get(run.planned.run_id),
                }
                for run in self.runs
            ],
            "arrays": self.arrays,
            "totals": {
                "runs": len(self.runs),
                **counts(self.runs),
                "submitted": len(self.claims),
                "gpu_hours": sum(self.hours.values()) if self.hours else None,
                "gpu_hours_basis": self.basis,
            },
        }


def make_plan(matrix: Matrix, home: Home, *, retry_failed: bool) -> Plan:
    """Look, and change nothing."""
    with read_only(home) as store:
        runs = survey(matrix, store, home, fresh=False)
        claims = wanted(runs, retry_failed=retry_failed)
        hours = _hours(matrix, store)
    return Plan(matrix, tuple(runs), tuple(claims), hours, _basis(hours, matrix))


def _hours(matrix: Matrix, store: Store) -> dict[str, float]:
    """Training hours of every run whose network, data and batch were measured in this store."""
    specs = {row.run_id: msgspec.convert(row.spec, Run) for row in queries.runs(store)}
    speeds: dict[Any, list[float]] = {}
    for job in queries.jobs(store):
        if job.stage == "train" and job.images_per_second and job.run_id in specs:
            speeds.setdefault(_workload(specs[job.run_id]), []).append(job.images_per_second)
    return {
        run.run_id: _images(run) / (sum(found) / len(found)) / 3600
        for run in matrix.runs
        if (found := speeds.get(_workload(run.run)))
    }


def _workload(run: Run) -> tuple[Any, ...]:
    return run.data.name, run.network, run.batch, run.precision, type(run.adversary)


def _images(planned: PlannedRun) -> float:
    run = planned.run
    return run.epochs * (run.data.train_subset or datasets.info(run.data.name).train)


def _basis(hours: Cost, matrix: Matrix) -> str:
    if not hours:
        return "unknown: no run of the same network, data and batch was measured in this store"
    known = f"measured in this store for {len(hours)} of {len(matrix.runs)} runs"
    return f"{known}, training only, per worker or GPU"
