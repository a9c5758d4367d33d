"""The texts of one run on the page."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import yaml

from cebctl.render.console import format_decimals, format_duration
from cebctl.render.status_view import state_reason
from cebctl.report.cells import Audit
from cebctl.report.figures.runs import PANEL_METRICS, curve_marks
from cebctl.status.run_details import RunDetails
from cebctl.status.staleness import ResultDrift, Versions
from cebctl.status.states import State
from experiments.benchmarks import full_column
from store.row_types import AttemptRow, ResultRow

_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""libyaml's where PyYAML was built with it: ten times faster."""


@dataclass(frozen=True)
class PageRun:
    """Everything below the name of a run."""

    run_id: str
    name: str
    state: State
    error: str
    spec: str
    results: tuple[tuple[str, str, str], ...]
    attempts: tuple[tuple[str, ...], ...]
    audits: Mapping[str, str]
    provenance: str
    traceback: str
    log: str
    has_curves: bool


def page_run(
    details: RunDetails, results: Sequence[ResultRow], audits: Mapping[str, Audit], versions: Versions, mark: str
) -> PageRun:
    """Return a run with its results and the verdicts of its gradient audits; `mark` stands behind its name."""
    status = details.status
    failed = status.current.job if status.state in ("failed", "lost") else None
    provenance = _yaml(dict(details.provenance)) if details.provenance else ""
    return PageRun(
        run_id=status.planned.run_id,
        name=status.planned.name + mark,
        state=status.state,
        error=state_reason(status) if failed else "",
        spec=_yaml(msgspec.to_builtins(status.planned.run), default_flow_style=None),
        results=tuple(
            _result(row, versions.result_drift(row))
            for row in results
            if "/" not in row.name and not row.name.startswith("bin_")  # parts of others: severities, calibration bins
        ),
        attempts=tuple(_attempt(job) for job in details.jobs),
        audits={threat: str(audit) for threat, audit in audits.items()},
        provenance=provenance,
        traceback=(failed.traceback or "") if failed else "",
        log=details.log,
        has_curves=any(curve_marks(name, "", "", details.curves) for name in PANEL_METRICS),
    )


def _yaml(value: object, default_flow_style: bool | None = False) -> str:
    text: str = yaml.dump(
        value, Dumper=_SafeDumper, sort_keys=False, default_flow_style=default_flow_style, allow_unicode=True
    )
    return text


def _result(row: ResultRow, standing: ResultDrift) -> tuple[str, str, str]:
    value = row.correct / row.total if row.correct is not None and row.total else row.value
    marks = "†" * bool(standing.difference) + "‡" * bool(standing.mixed)
    return (
        full_column(row.benchmark, row.name),
        "–" if value is None else f"{format_decimals(value, 4)} {row.unit}{marks}",
        f"{row.total:,}",
    )


def _attempt(job: AttemptRow) -> tuple[str, ...]:
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job.started_at)) if job.started_at else ""
    took = format_duration(job.updated_at - job.started_at) if job.started_at else ""
    at = job.steps if job.state == "succeeded" else job.step  # the last heartbeat was before the end
    steps = f"{at:,}/{job.steps:,}" if at is not None and job.steps else ""
    return f"{job.stage}.{job.attempt}", job.state, began, took, job.host or "", steps
