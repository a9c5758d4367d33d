"""A matrix in a home: runs on one's own images under the ids that they have there.

Earlier versions made the label of a data set, its folder's name, part of a run's identity. Their runs count as those on
the same images under any label: where the home has such a run, it stands for the run of the matrix.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from experiments import lineage, own_dataset
from experiments.atomic_files import write_atomic
from experiments.benchmarks import AnyBenchmark, Transfer
from experiments.errors import InputError
from experiments.identity import run_id
from experiments.matrix import load as matrix_file
from experiments.matrix.planned_run import Matrix, PlannedRun, with_data
from experiments.spec import Run
from jobs.paths import Home


def load(path: Path, home: Home | None = None) -> Matrix:
    """Read a matrix file for a home, the command line's unless it is given. Raises as `experiments.matrix.load`."""
    home = home or Home.from_environment()
    own_dataset.look_into(home.descriptions)
    return in_home(matrix_file.load(path), home)


def in_home(matrix: Matrix, home: Home) -> Matrix:
    """Return a matrix with the ids and specs that its runs have in a home."""
    names = {run.run.data.name for run in matrix.runs if own_dataset.is_own(run.run.data.name)}
    if not names:
        return matrix
    begun = {path.name for path in home.runs.glob("r*")}
    in_order = {name: _names_in_home(name, matrix, begun) for name in names}
    runs = [
        _as_in_home(run, in_order[run.run.data.name], begun) if run.run.data.name in names else run
        for run in matrix.runs
    ]
    if twice := [name for name, count in Counter(run.run_id for run in runs).items() if count > 1]:
        both = " and ".join(run.name for run in runs if run.run_id == twice[0])
        raise InputError(matrix.path, f"{both} are one run: their data sets are of the same images", "leave one out")
    ids = {before.run_id: run.run_id for before, run in zip(matrix.runs, runs, strict=True)}
    runs = [replace(run, benchmarks=_with_sources(run.benchmarks, ids)) for run in runs]
    return replace(matrix, runs=tuple(runs), benchmarks=_with_sources(matrix.benchmarks, ids))


def keep_descriptions(matrix: Matrix, home: Home) -> None:
    """Copy the descriptions of the user's own images into the home, so that it can be read wherever it is moved."""
    names = {run.data.name for planned in matrix.runs for run in (planned.run, planned.spelled or planned.run)}
    for path in {own_dataset.description_path(name) for name in names if own_dataset.is_own(name)}:
        copy, content = home.descriptions / path.name, path.read_bytes()
        if not copy.is_file() or copy.read_bytes() != content:
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(copy, content)


def _names_in_home(name: str, matrix: Matrix, begun: Container[str]) -> list[str]:
    """Return the names of a data set in specs, in the order of preference: those first under which the home has runs of
    this matrix, so that its other runs are called alike."""
    alike = own_dataset.alike(name)
    runs = [run.run for run in matrix.runs if run.run.data.name == name]
    used = [other for other in alike if any(_is_begun(with_data(run, other), begun) for run in runs)]
    used.sort(key=lambda other: (other == alike[0], other != name))  # first as the matrix calls it, if it did so before
    return [*used, *(other for other in alike if other not in used)]


def _as_in_home(planned: PlannedRun, names: Sequence[str], begun: Container[str]) -> PlannedRun:
    variants = [with_data(planned.run, name) for name in names]
    run = next((variant for variant in variants if _is_begun(variant, begun)), variants[0])
    return planned if run == planned.run else replace(planned, run=run, run_id=run_id(run))


def _is_begun(run: Run, begun: Container[str]) -> bool:
    """Return whether a home has the run, or one that it extends."""
    return any(run_id(member) in begun for member in (run, *lineage.ancestors(run)))


def _with_sources(benchmarks: Sequence[AnyBenchmark], ids: dict[str, str]) -> tuple[AnyBenchmark, ...]:
    return tuple(
        msgspec.structs.replace(benchmark, source=ids.get(benchmark.source, benchmark.source))
        if isinstance(benchmark, Transfer)
        else benchmark
        for benchmark in benchmarks
    )
