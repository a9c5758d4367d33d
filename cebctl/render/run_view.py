"""`cebctl show`: one run."""

from __future__ import annotations

import time

import yaml
from rich.markup import escape
from rich.table import Table

from cebctl.control.one_run import OneRun
from cebctl.render import manner
from cebctl.render.console import duration, out, print_table
from experiments.benchmarks import full_column
from store.rows import JobRow, ResultRow


def show(found: OneRun) -> None:
    """Print spec, attempts and results."""
    console = out()
    console.print(f"[bold]{found.run.run_id}[/]  {escape(found.run.label)}\n{escape(str(found.paths.folder))}\n")
    flow = False if manner.NOW.plain else None  # None: what is short on one line
    console.print(escape(yaml.safe_dump(found.run.spec, sort_keys=False, default_flow_style=flow)))
    attempts = Table(box=None, pad_edge=False)
    for name in ("attempt", "state", "started", "took", "host", "steps", "error"):
        attempts.add_column(name, overflow="fold")
    for job in found.jobs:
        attempts.add_row(*_attempt(job))
    print_table(console, attempts)
    if found.results:
        console.print()
        results = Table(box=None, pad_edge=False)
        for name in ("measure", "value", "n", "evaluation", "checkpoint"):
            results.add_column(name)
        for row in found.results:
            results.add_row(*_result(row))
        print_table(console, results)


def _attempt(job: JobRow) -> tuple[str, ...]:
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job.started_at)) if job.started_at else ""
    took = duration(job.updated_at - job.started_at) if job.started_at and job.updated_at else ""
    at = job.steps if job.state == "succeeded" else job.step  # the last heartbeat was before the end
    steps = f"{at:,}/{job.steps:,}" if at is not None and job.steps else ""
    return (f"{job.stage}.{job.attempt}", job.state, began, took, job.host or "", steps, escape(job.error or ""))


def _result(row: ResultRow) -> tuple[str, ...]:
    value = (
        f"{row.correct}/{row.total} = {row.correct / row.total:.4f}" if row.correct is not None else f"{row.value:.4f}"
    )
    name = full_column(row.benchmark, row.name)
    return (f"{name} ({row.unit})", value, str(row.total), row.evaluation_id, f"step {row.checkpoint_step}")
