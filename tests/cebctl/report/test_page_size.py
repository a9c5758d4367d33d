"""The page of the largest matrix, every run of it with all it can have, stays small enough to be sent."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from cebctl.report.figures.build import build_figures as figures_of
from cebctl.report.figures.runs import PANEL_METRICS
from cebctl.report.page.build import render_page
from cebctl.report.table import build_report
from cebctl.status.collect import collect_statuses, open_home
from cebctl.status.run_details import POINTS, TAIL_BYTES, collect_run_details
from cebctl.status.staleness import Versions
from experiments.identity import evaluation_id
from experiments.matrix.load import load
from jobs.journal.files import Journal
from jobs.journal.records import Metrics, Result, Started, Succeeded
from jobs.paths import Home
from store import queries

ROOT = Path(__file__).parents[3]
LIMIT = 5_000_000


def test_a_page_of_86_runs_is_under_5_megabytes(home: Path, printed: Any) -> None:
    matrix, jobs_home = load(ROOT / "experiments" / "imagenet.yaml"), Home(home)
    numbers = printed.numbers("v2")
    for order, run in enumerate(matrix.runs):
        points = [
            Metrics(
                step=step, epoch=step / 3, values={name: math.exp(-step / 9.7) + order / 97 for name in PANEL_METRICS}
            )
            for step in range(2 * POINTS)
        ]
        results = [
            Result(evaluation_id=evaluation_id(benchmark, "imagenet"), benchmark=benchmark, data_digest="d",
                   checkpoint_step=1, engine="e", measures=measures)
            for benchmark, measures in numbers(run).items()
        ]  # fmt: skip
        for stage, records in (("train", points), ("evaluate", results)):
            with Journal(jobs_home.run(run.run_id).journal(stage, 1)) as journal:  # type: ignore[arg-type]
                journal.write(Started(), *records, Succeeded())
        log = jobs_home.run(run.run_id).log("evaluate", 1)
        log.parent.mkdir()
        log.write_text("a line of the log & more\n" * TAIL_BYTES)
    with open_home(jobs_home, create=True) as store:
        runs = collect_statuses(matrix, store, jobs_home)
        rows = queries.results(store, [run.run_id for run in matrix.runs])
        run_details = collect_run_details(runs, store, jobs_home, PANEL_METRICS)
    report = build_report(matrix, {run.planned.run_id: run for run in runs}, rows, "e")
    curves = {details.status.planned.run_id: details.curves for details in run_details}
    page = render_page(report, figures_of(matrix, report, rows, curves), run_details, rows, Versions({}, (), "e"))
    assert len(page.encode()) < LIMIT
    assert page.count("a line of the log &amp; more") > 86 * 100
    assert page.count('<details class="run"') == 86
