"""Decide whether one of our numbers may stand beside a published one, in tables and figures and for rho*."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from experiments.benchmarks import AnyBenchmark, CommonCorruptions, Pgd, column, default_step_size, format_eps
from experiments.matrix.report_section import ReportSpec
from experiments.matrix.spec_fields import flatten, schema
from experiments.published.catalogue import lookup, normaliser, prints_number, run_fields, table
from experiments.published.files import Paper
from experiments.published.numbers import PrintedAttack
from experiments.spec import Run, Xent

SETTINGS = (
    "epochs", "batch", "lr", "factor", "drops.1", "drops.2", "drops.3", "start_rho", "hold_rho", "threshold",
    "jump_start.steps", "jump_start.epochs",
)  # fmt: skip
"""The printed settings (`settings.yaml`) that are fields of a run. A run with all of them is the paper's."""

_JUMP_START = ("start_rho", "hold_rho", "threshold", "jump_start.steps", "jump_start.epochs")

_EQUIVALENT_PIPELINES = {
    "official": ("official", "regenerated"),
    "official-recrop": ("official-recrop",),
    "in-memory": ("in-memory",),
}
"""By the paper's pipeline for ImageNet: the pipelines of ours that make the same images. CIFAR-10 needs none, because
CIFAR-10-C was made in memory at the size of its images."""


def reasons_not_comparable(run: Run, benchmark: AnyBenchmark, measure: str, report: ReportSpec) -> str:
    """Return the reasons not to compare this measure of the run with the numbers of the report's paper.

    '' if they may be compared, or if the paper has no number for such a run at any rho.
    """
    reasons: list[str] = []
    if isinstance(benchmark, CommonCorruptions):
        reasons += _corrupted(run, benchmark, measure, report)
    attack = benchmark if isinstance(benchmark, Pgd) else None
    is_printed = prints_number(
        report.published, _axes(run), column(benchmark, measure), lambda other: not attack_differences(attack, other)
    )
    subset = getattr(benchmark, "subset", None)
    if subset and (is_printed or isinstance(benchmark, CommonCorruptions)):
        reasons.append(f"on {subset:,} of the test images only")
    if is_printed:
        reasons += _trained_otherwise(run, report.published)
    return "; ".join(dict.fromkeys(reasons))


def attack_differences(benchmark: Pgd | None, printed: PrintedAttack | None) -> str:
    """Return the differences of an attack from the printed one, '' if there are none in the printed parameters."""
    if benchmark is None or printed is None:
        return ""
    eps = benchmark.eps if printed.eps is None else printed.eps
    steps = [step or default_step_size(eps, count) for step, eps, count in (
        (benchmark.step_size, benchmark.eps, benchmark.steps), (printed.step_size, eps, printed.steps)
    )]  # fmt: skip
    differences = {
        f"eps {format_eps(benchmark.eps)}, not {format_eps(eps)}": not math.isclose(benchmark.eps, eps),
        f"n {benchmark.steps}, not {printed.steps}": benchmark.steps != printed.steps,
        f"target {benchmark.target}, not {printed.target}": benchmark.target != printed.target,
        f"step {steps[0] * 255:.3g}/255, not {steps[1] * 255:.3g}/255": not math.isclose(*steps, rel_tol=1e-6),
        f"loss {benchmark.loss}": benchmark.loss != "cross_entropy",
        f"{benchmark.restarts} restarts": benchmark.restarts != 1,
        "started at the image": not benchmark.random_start,
    }
    return ", ".join(text for text, differs in differences.items() if differs)


def _corrupted(run: Run, benchmark: CommonCorruptions, measure: str, report: ReportSpec) -> Iterator[str]:
    if benchmark.pipeline == "ours":
        yield "pipeline ours, by which nothing was published"
        return
    if run.data.name not in ("imagenet", "cifar10"):
        yield f"data {run.data.name}"
    paper = table(report.published).pipeline
    if run.data.name == "imagenet" and benchmark.pipeline not in _EQUIVALENT_PIPELINES[paper]:
        yield f"pipeline {benchmark.pipeline}, {report.published}'s is {paper}, as far as its numbers tell"
    if not benchmark.pipeline.startswith("official") and measure in ("frost", "average_ce", "mce"):
        yield "frost is drawn, not photographed"
    baseline = normaliser(report.mce_baseline)
    if measure == "mce" and baseline.stand_in and run.data.name.removesuffix("-jpeg") == baseline.data:
        yield f"relative to {baseline.name}, a stand-in for a baseline that could not be found"


@lru_cache(maxsize=4096)
def _axes(run: Run) -> dict[str, Any]:
    """Return the fields for `lookup`. Images saved as JPEG count as the original ones."""
    return run_fields(run) | {"data.name": run.data.name.removesuffix("-jpeg")}


@lru_cache(maxsize=4096)
def _trained_otherwise(run: Run, paper: Paper) -> tuple[str, ...]:
    """Return the differences of the run's images and training from the printed settings."""
    reasons = []
    if run.data.name.endswith("-jpeg"):
        reasons.append(f"data {run.data.name}")
    if run.data.train_subset:
        reasons.append(f"trained on {run.data.train_subset:,} image{'s' * (run.data.train_subset != 1)}")
    if run.data.holdout:
        reasons.append(f"trained without {run.data.holdout:,} held-out image{'s' * (run.data.holdout != 1)}")
    if run.weights and not run.epochs:
        return tuple(reasons)  # its training is not ours, and the matrix declares it
    leaves = dict(flatten(run))
    for name in SETTINGS:
        field, _, index = name.partition(".") if name.startswith("drops") else (name, "", "")
        printed, value = lookup(paper, _axes(run), name), leaves.get(schema(Run).resolve(field))
        if index and value is not None:
            value = value[int(index) - 1] if len(value) >= int(index) else None
        elif value is None and name in _JUMP_START and isinstance(run.objective, Xent):
            continue  # its objective has no jump-start
        if printed is not None and (value is None or not math.isclose(float(value), printed.value)):
            reasons.append(f"{name} {'none' if value is None else f'{value:g}'}, not {printed.value:g}")
    return tuple(reasons)
