"""`cebctl show`: one run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cebctl.render import output_mode
from cebctl.render.console import (
    fit_columns,
    format_decimals,
    format_duration,
    print_table,
    result_console,
    terminal_width,
)
from cebctl.status.find_run import StoredRun
from cebctl.status.staleness import ResultDrift
from experiments.benchmarks import full_column
from experiments.numerics import VersionDifference
from store.row_types import AttemptRow, ResultRow


def show(found: StoredRun) -> None:
    """Print spec, attempts and results."""
    console = result_console()
    console.print(f"[bold]{found.run.run_id}[/]  {escape(found.run.label)}\n{escape(str(found.paths.folder))}\n")
    flow = False if output_mode.current.plain else None  # None: what is short on one line
    spec = yaml.safe_dump(found.run.spec, sort_keys=False, default_flow_style=flow, width=terminal_width() - _OVERRUN)
    console.print(spec, markup=False)
    if found.off_target:
        console.print(f"[yellow]{escape(found.off_target)}[/]\n")
    _print(console, _ATTEMPTS, [_attempt(job) for job in found.jobs])
    trained = found.versions.training_drift(found.run.run_id)
    if found.results:
        console.print()
        standings = [found.versions.result_drift(row) for row in found.results]
        _print(console, _RESULTS, [_result(*pair) for pair in zip(found.results, standings, strict=True)])
        stale = [standing.difference for standing in standings if standing.difference]
        if stale:
            console.print(f"\n† made with {_versions(reduce(or_, stale))}", markup=False)
    if trained.difference:
        console.print(f"\ntrained with {_versions(trained.difference)}", markup=False)
    if trained.mixed:
        console.print(f"\n‡ trained under several versions: {', '.join(trained.mixed)}", markup=False)


def _versions(difference: VersionDifference) -> str:
    """Return how versions differ from today's, in words."""
    said = []
    if difference.raised:
        said.append(f"earlier versions of {', '.join(difference.raised)}")
    if difference.newer:
        said.append(f"newer versions than this cebctl knows of {', '.join(difference.newer)}: update it")
    if difference.unrecorded:
        said.append("an earlier cebctl that recorded no versions")
    return "; ".join(said)


@dataclass(frozen=True)
class _Heads:
    names: tuple[str, ...]
    spare: tuple[str, ...]
    """Those that go where there is little room, the least useful first."""
    least: Mapping[str, int]
    """The characters that those need which may be broken."""


_ATTEMPTS = _Heads(
    ("attempt", "state", "started", "took", "host", "steps", "error"),
    ("steps", "host", "took"),
    {"started": 10, "error": 16},
)
_RESULTS = _Heads(
    ("measure", "value", "n", "evaluation", "checkpoint"), ("evaluation", "checkpoint", "n"), {"measure": 24}
)
_OVERRUN = 8
"""YAML is broken behind the word that reaches the width."""


def _print(console: Console, heads: _Heads, rows: Sequence[Sequence[str]]) -> None:
    names, rows = fit_columns(heads.names, rows, heads.spare, heads.least)
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, no_wrap=name not in heads.least, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    print_table(console, table)


def _attempt(job: AttemptRow) -> tuple[str, ...]:
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job.started_at)) if job.started_at else ""
    took = format_duration(job.updated_at - job.started_at) if job.started_at and job.updated_at else ""
    at = job.steps if job.state == "succeeded" else job.step  # the last heartbeat was before the end
    steps = f"{at:,}/{job.steps:,}" if at is not None and job.steps else ""
    return (
        f"{job.stage}.{job.attempt}{_generation(job.generation)}",
        job.state,
        began,
        took,
        job.host or "",
        steps,
        job.error or "",
    )


def _result(row: ResultRow, standing: ResultDrift) -> tuple[str, ...]:
    number = "–" if row.number is None else format_decimals(row.number, 4)
    value = number if row.correct is None else f"{row.correct}/{row.total} = {number}"
    value += "†" * bool(standing.difference) + "‡" * bool(standing.mixed)
    name = full_column(row.benchmark, row.name)
    made_of = f"step {row.checkpoint_step}{_generation(row.generation)}"
    return (f"{name} ({row.unit})", value, str(row.total), row.evaluation_id, made_of)


def _generation(number: int) -> str:
    """Of what was done again."""
    return f", generation {number}" if number > 1 else ""
