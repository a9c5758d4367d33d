"""The steps of a rehearsal: a small matrix through the ordinary submission, then its report, figures and page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from cebctl.maintenance import checkpoint_gc
from cebctl.planning.rehearsed_speeds import RehearsedSpeed, write_speeds
from cebctl.rehearsal.reduction import MARK, Missing, reduce_matrix
from cebctl.rehearsal.stage_costs import StageCost, stage_costs
from cebctl.report.cells import Report
from cebctl.report.collect import collect_report
from cebctl.report.figures import build, draw
from cebctl.report.figures.marks import Figure
from cebctl.report.figures.runs import PANEL_METRICS
from cebctl.report.page import build as page
from cebctl.status.collect import collect_statuses
from cebctl.status.polling import Snapshot
from cebctl.status.run_details import collect_run_details
from cebctl.status.states import RunStatus
from cebctl.study import submitting
from cebctl.study.submitting import Request, Warn
from cebctl.submission import cancel
from cebctl.submission.needed_data import benchmark_data
from cebctl.submission.pretrained_weights import weights_file
from cebctl.submission.submit import Submission
from experiments.atomic_files import write_atomic
from experiments.matrix.planned_run import Matrix
from jobs.paths import Home, data_folder


@dataclass(frozen=True)
class Rehearsal:
    """A matrix at a small size, the one that it was made of, and the home that it has to itself."""

    full: Matrix
    matrix: Matrix
    home: Home
    missing: Missing
    """The benchmarks that are left out, each with what is missing of its images."""


@dataclass(frozen=True)
class Outcome:
    """The end of a rehearsal."""

    rehearsal: Rehearsal
    runs: Sequence[RunStatus]
    costs: Sequence[StageCost]
    report: Report
    figures: Sequence[Figure]

    @property
    def failed(self) -> list[RunStatus]:
        return [run for run in self.runs if run.state != "done"]

    @property
    def page(self) -> Path:
        return self.rehearsal.home.folder / "rehearsal.html"

    @property
    def figure_folder(self) -> Path:
        return self.rehearsal.home.folder / "figures"


def prepare(matrix: Matrix, home: Home, request: Request, images: int) -> Rehearsal:
    """Return the rehearsal of a matrix. Writes nothing."""
    missing = {
        (benchmark, run.run.data.name): needed.status.detail
        for needed in benchmark_data(matrix, data_folder())
        if needed.status.state != "ready"
        for run in matrix.runs
        if run.run_id in needed.run_ids
        for benchmark in needed.benchmarks
    }
    reduced = reduce_matrix(matrix, images, full_batch=request.executor_name == "slurm", without=missing)
    return Rehearsal(matrix, reduced, home.new_rehearsal(matrix.name), missing)


def run(
    rehearsal: Rehearsal,
    home: Home,
    request: Request,
    warn: Warn,
    introduce: Callable[[str], None],
    announce: Callable[[Submission], None],
    watch: Callable[[Callable[[], Snapshot]], Snapshot],
) -> Outcome:
    """Submit all of it, stay until it has ended, and write its figures and its page. Its checkpoints are removed.

    `home` is the user's, which has the imported weights; `watch` polls until no run is queued or running. A Ctrl-C
    cancels what was submitted. Raises what `submit` raises, before anything is written.
    """
    matrix, own = rehearsal.matrix, rehearsal.home
    _bring_weights(matrix, home, own)
    with submitting.submit_missing(matrix, own, request, warn, introduce) as outcome:
        store = outcome.store
        try:
            if outcome.submission:
                announce(outcome.submission)
            # Not by `poll`: the user's hook is for real runs.
            runs = submitting.follow(
                matrix, own, outcome, lambda: watch(lambda: Snapshot(collect_statuses(matrix, store, own))), announce
            )
        except KeyboardInterrupt:
            cancel.cancel(matrix, store, own)
            raise KeyboardInterrupt(f"interrupted: the rehearsal in {own.folder} was cancelled") from None
        collected = collect_report(matrix, store, own)
        details = collect_run_details(collected.runs, store, own, PANEL_METRICS)
        costs = stage_costs(rehearsal.full, matrix, runs, store, own)
        write_speeds(
            [
                RehearsedSpeed(cost.run.planned.run, cost.gpu, 1 / cost.seconds)
                for cost in costs
                if cost.stage.stage == "train" and cost.seconds
            ],
            own,
        )
        report = mark(collected.report)
        curves = {run.status.planned.run_id: run.curves for run in details}
        figures = [
            replace(figure, title=_marked(figure.title), heading=MARK)
            for figure in build.build_figures(matrix, report, collected.rows, curves)
        ]
        ended = Outcome(rehearsal, runs, costs, report, figures)
        draw.save(figures, ended.figure_folder)
        text = page.render_page(report, figures, details, collected.rows, collected.versions)
        write_atomic(ended.page, text.encode("utf-8"))
        removable = checkpoint_gc.plan_removals(matrix, store, own, "none")
        checkpoint_gc.remove(removable, matrix, store, own, "none")
    return ended


def mark(report: Report) -> Report:
    """Return a report that says of itself, and in each of its tables and its notes, that it is a rehearsal's."""
    tables = tuple(replace(table, name=_marked(table.name)) for table in report.tables)
    note = f"{MARK}: a few steps and a few images; no number here is a result."
    return replace(report, title=_marked(report.title), tables=tables, notes=(note, *report.notes))


def _marked(text: str) -> str:
    return text if text.startswith(MARK) else f"{MARK}: {text}"


def _bring_weights(matrix: Matrix, home: Home, own: Home) -> None:
    """Link the imported weights of the user's home into that of the rehearsal, or copy them where links can't be."""
    for run in {run.run.weights: run.run for run in matrix.runs if run.run.weights}.values():
        source, target = weights_file(run, home), own.weights(str(run.weights))
        if source != home.weights(str(run.weights)) or not source.exists():
            continue  # `submit` takes it from the hub's cache, or says that it is missing
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            with suppress(FileExistsError):
                shutil.copyfile(source, target)
