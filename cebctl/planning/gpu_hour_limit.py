"""Limit the cost of a submission, in the GPU-hours that `plan` shows as to do."""

from __future__ import annotations

from collections import Counter

from cebctl.planning.plan import Plan
from cebctl.status.families import family_axes
from experiments.errors import InputError
from experiments.matrix.planned_run import format_value

_MAX_FAMILIES = 4
"""The families that a message names."""


def check_gpu_hours(plan: Plan, allowed: float) -> None:
    """Raise InputError if what `submit` would send is estimated to take more GPU-hours than `allowed`.

    Jobs that ask for no GPU cost nothing here, if none of the matrix asks for one.
    """
    if not any(job.gpus for job in plan.pending_jobs) or plan.hours_to_do <= allowed:
        return
    wrong = f"would take {_hours(plan.hours_to_do)} GPU-hours ({'; '.join(_shares(plan))})"
    raise InputError(
        plan.matrix.path, wrong, f"--max-gpu-hours allows {allowed:,g}: raise it, or take a part with --only"
    )


def _shares(plan: Plan) -> list[str]:
    """Return the share of each family, the most costly first: `ceb 152: 21 runs, 8,000`."""
    axes = family_axes(plan.matrix)
    names = {
        run.planned.run_id: " ".join(format_value(run.planned.axes[key]) for key in axes if key in run.planned.axes)
        for run in plan.runs
    }
    hours: Counter[str] = Counter()
    runs: dict[str, set[str]] = {}
    for job in plan.pending_jobs:
        hours[names[job.run_id]] += job.hours * max(job.gpus, 1)  # type: ignore[assignment]
        runs.setdefault(names[job.run_id], set()).add(job.run_id)
    shares = [
        f"{name}: {len(runs[name])} run{'s' * (len(runs[name]) > 1)}, {_hours(total)}"
        for name, total in hours.most_common(_MAX_FAMILIES)
    ]
    more = len(hours) - len(shares)
    return [*shares, f"{more} more families"] if more else shares


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.3g}"
