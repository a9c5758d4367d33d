"""The list that a rehearsal ends in: what ran, what it took, what failed, what is missing, what stays empty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import to_builtins
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cebctl.rehearsal.gaps import Gap, gaps
from cebctl.rehearsal.reduction import MARK
from cebctl.rehearsal.rehearse import Outcome, Rehearsal
from cebctl.rehearsal.stage_costs import StageCost
from cebctl.render.console import (
    error_console,
    pluralize,
    print_json,
    print_table,
    progress_console,
    result_console,
)
from cebctl.render.state_styles import STATE_STYLES
from cebctl.render.status_view import state_reason
from cebctl.report.number_format import join_or_count
from experiments.benchmarks import describe

_UNKNOWN = "–"


def print_prepared(rehearsal: Rehearsal) -> None:
    """Say what will be rehearsed, and what can't be for want of its images."""
    small, full = rehearsal.matrix, rehearsal.full
    console = progress_console()
    runs = f"{len(small.runs)} of {pluralize(len(full.runs), 'run')}"
    measured = pluralize(len(small.benchmarks), "benchmark")
    console.print(
        f"{MARK} of {full.path}: {runs} in a few steps, {measured}; home {rehearsal.home.folder}", markup=False
    )
    for line in _missing_lines(rehearsal):
        error_console().print(f"[yellow]missing[/] {escape(line)}")


def print_outcome(outcome: Outcome) -> None:
    """Print the list on stdout."""
    console = result_console()
    rehearsal = outcome.rehearsal
    print_table(console, _cost_table(outcome), label=2)
    lines = [
        *(("failed", line) for line in _failures(outcome)),
        *(("memory", f"{cost.run.planned.name}, {cost.stage.stage}: {fault}")
          for cost in outcome.costs for fault in cost.faults),
        *(("missing", line) for line in _missing_lines(rehearsal)),
        *(("empty", _gap_line(gap)) for gap in _gaps(outcome)),
    ]  # fmt: skip
    for word, line in lines:
        console.print(f"[{'red' if word in ('failed', 'memory') else 'yellow'}]{word}[/] {escape(line)}")
    _print_end(console, outcome)


def _print_end(console: Console, outcome: Outcome) -> None:
    done = sum(run.state == "done" for run in outcome.runs)
    figures = pluralize(len(outcome.figures), "figure")
    console.print(
        f"{MARK} of {outcome.rehearsal.full.path}: {done} of {pluralize(len(outcome.runs), 'run')} done, {figures}; "
        f"see {outcome.page}",
        markup=False,
    )


def print_document(outcome: Outcome) -> None:
    """Print the list as JSON."""
    print_json(outcome_json(outcome))


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """Return the document of `rehearse --json`, whose keys scripts rely on."""
    rehearsal = outcome.rehearsal
    stages: dict[str, list[dict[str, Any]]] = {}
    for cost in outcome.costs:
        stages.setdefault(cost.run.planned.run_id, []).append(_stage_json(cost, outcome))
    return {
        "matrix": rehearsal.full.name,
        "home": str(rehearsal.home.folder),
        "page": str(outcome.page),
        "figures": [str(outcome.figure_folder / f"{figure.name}.png") for figure in outcome.figures],
        "runs": [
            {
                "run_id": run.planned.run_id,
                "name": run.planned.name,
                "state": run.state,
                "stages": stages[run.planned.run_id],
            }
            for run in outcome.runs
        ],
        "missing": [
            {"benchmark": to_builtins(benchmark), "data": data, "reason": reason}
            for (benchmark, data), reason in rehearsal.missing.items()
        ],
        "empty": [
            {"table": gap.table, "column": gap.column, "rows": gap.rows, "reason": gap.reason}
            if gap.table
            else {"figure": gap.column, "reason": gap.reason}
            for gap in _gaps(outcome)
        ],
    }


def _stage_json(cost: StageCost, outcome: Outcome) -> dict[str, Any]:
    failed = cost.stage is cost.run.current and cost.run.state != "done"
    return {
        "stage": cost.stage.stage,
        "state": cost.stage.state,
        "error": (state_reason(cost.run) or cost.run.state) if failed else None,
        "device": cost.gpu or "CPU",
        "seconds_per_image": cost.seconds,
        "planned_seconds_per_image": cost.planned_seconds,
        "memory_mb": cost.memory_mb,
        "planned_memory_mb": cost.planned_memory_mb,
        "faults": cost.faults,
    }


def _gaps(outcome: Outcome) -> list[Gap]:
    rehearsal = outcome.rehearsal
    return gaps(rehearsal.matrix, outcome.report, outcome.figures, rehearsal.missing)


def _cost_table(outcome: Outcome) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("run", "stage", "state", "device", "ms an image", "by plan", "memory, MB", "by plan"):
        is_number = name in ("ms an image", "by plan", "memory, MB")
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for cost in outcome.costs:
        state = cost.stage.state
        style = STATE_STYLES[state].terminal
        table.add_row(
            escape(cost.run.planned.name), cost.stage.stage, f"[{style}]{state}[/]", escape(cost.gpu or "CPU"),
            _number(cost.seconds, 1000), _number(cost.planned_seconds, 1000), _number(cost.memory_mb),
            _number(cost.planned_memory_mb),
        )  # fmt: skip
    return table


def _number(value: float | None, factor: float = 1.0) -> str:
    if value is None:
        return _UNKNOWN
    scaled = value * factor
    return f"{scaled:,.0f}" if scaled >= 100 else f"{scaled:.3g}"


def _failures(outcome: Outcome) -> Iterator[str]:
    home = outcome.rehearsal.home
    for run in outcome.failed:
        current = run.current
        job = current.job
        log = f" (log: {home.run(run.planned.run_id).log(current.stage, job.attempt)})" if job else ""
        yield f"{run.planned.name}, {current.stage}: {state_reason(run) or run.state}{log}"


def _missing_lines(rehearsal: Rehearsal) -> list[str]:
    """Return a line for each thing that is missing, with the benchmarks that need it."""
    needed_by: dict[str, dict[str, None]] = {}
    for (benchmark, _), reason in rehearsal.missing.items():
        needed_by.setdefault(reason, {})[describe(benchmark)] = None
    return [f"{', '.join(names)}: {reason}" for reason, names in needed_by.items()]


def _gap_line(gap: Gap) -> str:
    if not gap.table:
        return f"figure {gap.column}: {gap.reason}"
    return f"{gap.column}: {join_or_count(gap.rows, 'rows')}: {gap.reason}"
