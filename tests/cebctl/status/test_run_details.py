"""What the page and the figures are given of each run."""

from __future__ import annotations

from pathlib import Path

import pytest

from cebctl.status.collect import collect_statuses, open_home
from cebctl.status.run_details import TAIL_BYTES, collect_run_details
from experiments.identity import run_id
from experiments.lineage import ancestors
from experiments.matrix.load import load
from jobs.journal.files import Journal
from jobs.journal.records import Metrics, Started
from jobs.paths import Home

CHAIN = """
base: {data: digits, network: small_cnn, optimiser: adam, batch: 256, epochs: 12, extends: [4, 8]}
grids: [{objective: xent}]
evaluate: [clean]
"""


@pytest.mark.parametrize(("there", "begins"), [((4, 8, 12), 1), ((8, 12), 5), ((4, 12), 1), ((12,), 9), ((4, 8), None)])
def test_a_curve_begins_with_those_of_the_runs_it_extends(
    home: Path, tmp_path: Path, there: tuple[int, ...], begins: int | None
) -> None:
    path = tmp_path / "chain.yaml"
    path.write_text(CHAIN)
    matrix = load(path)
    [planned] = matrix.runs
    for run in (*ancestors(planned.run), planned.run):
        if run.epochs in there:
            with Journal(Home(home).run(run_id(run)).journal("train", 1)) as journal:
                epochs = range(int(run.epochs) - 3, int(run.epochs) + 1)
                points = [Metrics(step=5 * epoch, epoch=epoch, values={"loss": 1 / epoch}) for epoch in epochs]
                journal.write(Started(), *points)
    with open_home(Home(home), create=True) as store:
        [found] = collect_run_details(collect_statuses(matrix, store, Home(home)), store, Home(home), ["loss"])
    epochs = [point.epoch for point in found.curves]
    assert epochs == sorted(epochs)
    assert epochs[:1] + epochs[-1:] == ([begins, 12] if begins else [])  # what has not begun has no curve


@pytest.mark.parametrize("lines", [10, 1000])
def test_the_end_of_a_log_begins_with_a_whole_line(home: Path, tmp_path: Path, lines: int) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(CHAIN.replace(", extends: [4, 8]", ""))
    matrix = load(path)
    paths = Home(home).run(matrix.runs[0].run_id)
    with Journal(paths.journal("train", 1)) as journal:
        journal.write(Started())
    printed = [f"line {number:04d} of what the attempt printed" for number in range(lines)]
    paths.log("train", 1).parent.mkdir(parents=True)
    paths.log("train", 1).write_text("\n".join(printed) + "\n")
    with open_home(Home(home), create=True) as store:
        [evidence] = collect_run_details(collect_statuses(matrix, store, Home(home)), store, Home(home), ["loss"])
    shown = evidence.log.splitlines()
    assert shown == printed[-len(shown) :] and (len(shown) == lines or len(evidence.log) <= TAIL_BYTES)
