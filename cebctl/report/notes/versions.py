"""The footnotes of numbers that were made with other versions than today's, or with several: † and ‡."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

from cebctl.report.number_format import FEW
from cebctl.status.staleness import Versions
from experiments.benchmarks import tag
from experiments.matrix.planned_run import Matrix
from store.row_types import ResultRow

TRAIN = "train"
"""The training in `--again`."""
LIBRARIES = ("torch", "torchvision", "timm", "numpy", "pillow", "opencv-python-headless", "scipy")
"""The libraries whose versions may change a number."""


def version_notes(matrix: Matrix, results: Iterable[ResultRow], versions: Versions) -> Iterator[str]:
    """Yield the meaning of the marks, with the command that measures or trains again, and libraries that differ."""
    names = {run.run_id: run.name for run in matrix.runs}
    raised: dict[str, dict[str, None]] = defaultdict(dict)
    unrecorded: dict[str, None] = {}
    newer: dict[str, dict[str, None]] = defaultdict(dict)
    mixed: dict[str, dict[str, None]] = defaultdict(dict)
    results = [row for row in results if row.run_id in names]
    for row in results:
        drift = versions.result_drift(row)
        for selection, difference in ((tag(row.benchmark), drift.evaluation), (TRAIN, drift.training)):
            if difference.raised:
                raised[selection] |= dict.fromkeys(difference.raised)
            if difference.unrecorded:
                unrecorded[selection] = None
            for part in difference.newer:
                newer[part][names[row.run_id]] = None
        for part in drift.mixed:
            mixed[part][names[row.run_id]] = None
    for selection, parts in raised.items():
        yield f"† made before {_listed(sorted(parts))} changed; measure again with {_command(matrix, [selection])}."
    if unrecorded:
        earlier = "† made by an earlier cebctl, which recorded no versions"
        yield f"{earlier}; measure again with {_command(matrix, unrecorded)}."
    if newer:
        runs = {name: None for of_part in newer.values() for name in of_part}
        yield f"† made by a newer cebctl than this one: {_listed(newer)} ({_listed(runs)}); update cebctl."
    for part, runs in mixed.items():
        where = f"‡ trained under several versions, {part}: {_listed(runs)}"
        yield f"{where}; train again with {_command(matrix, [TRAIN])}."
    yield from _libraries(results, versions)


def _command(matrix: Matrix, selections: Iterable[str]) -> str:
    """Return the command that does these stages again; a new training is evaluated anew, so it stands for the rest."""
    chosen = list(selections)
    options = " ".join(f"--again {selection}" for selection in ([TRAIN] if TRAIN in chosen else chosen))
    return f"`cebctl submit {shlex.quote(str(matrix.path))} {options}`"


def _libraries(results: Iterable[ResultRow], versions: Versions) -> Iterator[str]:
    """Yield the libraries of which results, or the trainings behind them, used several versions."""
    made = [row.libraries or {} for row in results] + [row.libraries or {} for row in versions.attempts]
    mixed_libraries = []
    for library in LIBRARIES:
        several = sorted({libraries[library] for libraries in made if library in libraries})
        if len(several) > 1:
            mixed_libraries.append(f"{library} {' and '.join(several)}")
    if mixed_libraries:
        yield f"Made with several versions of libraries: {', '.join(mixed_libraries)}."


def _listed(names: Collection[str]) -> str:
    named = list(names)
    return ", ".join(named) if len(named) <= FEW else f"{', '.join(named[:2])} … {named[-1]} ({len(named)} in all)"
