"""`cebctl plan` on a terminal: families with their axes and states on one screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from cebctl.control.planning import Plan
from cebctl.control.states import STATES, RunStatus, counts
from cebctl.render.console import STATE_STYLE, duration, out
from experiments.benchmarks import AnyBenchmark, Pgd, eps_text


def show(plan: Plan) -> None:
    """Print the plan."""
    console = out()
    matrix = plan.matrix
    console.print(f"[bold]{matrix.path}[/]  {matrix.title}: {len(plan.runs)} runs", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("objective")
    table.add_column("axes", overflow="fold")
    table.add_column("runs", justify="right")
    for state in STATES:
        table.add_column(state, justify="right", style=STATE_STYLE[state])
    for family, members in _families(plan.runs).items():
        states = [str(n) if n else "·" for n in counts(members).values()]
        table.add_row(family, _axes(members), str(len(members)), *states)
    console.print(table)
    if matrix.benchmarks:
        console.print(f"evaluate: {', '.join(_benchmark(b) for b in matrix.benchmarks)}", soft_wrap=True)
    console.print(f"submit would send: {_arrays(plan)}", soft_wrap=True)
    total = duration(sum(plan.hours.values()) * 3600) if plan.hours else "unknown"
    basis = plan.basis.removeprefix("unknown: ")
    console.print(f"training time on one worker or GPU: {total} ({basis})", soft_wrap=True)


def _families(runs: Sequence[RunStatus]) -> dict[str, list[RunStatus]]:
    families: dict[str, list[RunStatus]] = {}
    for run in runs:
        families.setdefault(str(run.planned.axes["objective"]), []).append(run)
    return families


def _axes(runs: Sequence[RunStatus]) -> str:
    values: dict[str, dict[Any, None]] = {}
    for run in runs:
        for key, value in run.planned.axes.items():
            if key != "objective":
                values.setdefault(key, {})[value] = None
    return "; ".join(f"{key} {_series(list(found))}" for key, found in values.items())


def _series(values: Sequence[Any]) -> str:
    shown = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    return ", ".join(shown) if len(shown) <= 8 else f"{shown[0]}, {shown[1]} … {shown[-1]} ({len(shown)})"


def _benchmark(benchmark: AnyBenchmark) -> str:
    name = str(type(benchmark).__struct_config__.tag)
    if isinstance(benchmark, Pgd):
        return f"{name} {benchmark.norm} eps {eps_text(benchmark.eps)} n {benchmark.steps}"
    return name


def _arrays(plan: Plan) -> str:
    if not plan.claims:
        return "nothing, all is done or under way"
    parts = [f"{a['runs']} x {a['stage']}{' after ' + a['after'] if a['after'] else ''}" for a in plan.arrays]
    return ", ".join(parts)
