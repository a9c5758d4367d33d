"""The footnotes of a report: the origin of its numbers and their limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from cebctl.render.console import pluralize
from cebctl.report import number_format
from cebctl.report.cells import Cell, Row
from cebctl.report.notes import attacks, papers
from cebctl.report.notes.versions import version_notes
from cebctl.report.selection import Selected
from cebctl.status import off_target
from cebctl.status.staleness import Versions
from experiments import own_dataset
from experiments.benchmarks import Attack, Information, tag
from experiments.matrix.planned_run import Matrix, PlannedRun, format_value
from store.row_types import ResultRow


def footnotes(
    matrix: Matrix,
    rows: Sequence[Row],
    selected: Mapping[str, Selected],
    results: Iterable[ResultRow],
    versions: Versions,
) -> tuple[str, ...]:
    """Return the footnotes that apply, in a fixed order."""
    cells = [cell for row in rows for cell in row.cells.values() if isinstance(cell, Cell)]
    if not cells:
        return ()
    results = list(results)
    lines = [
        *_intervals(cells),
        *attacks.attack_notes(matrix, results),
        *attacks.audit_notes(matrix, attacks.audit_verdicts(results)),
        _encodings(matrix),
        *_subsets(matrix),
    ]
    last_rho = {run_id: rho for row in rows for run_id, rho in row.last_rho.items()}
    lines += [
        off_target_note(matrix.runs, last_rho),
        *_origins(matrix),
        *_selection(selected),
        *papers.paper_notes(matrix, rows),
    ]
    lines += version_notes(matrix, results, versions)
    for data in sorted({run.run.data.name for run in matrix.runs}):
        if data == "cifar10-jpeg":
            lines.append("cifar10-jpeg is CIFAR-10 saved as JPEG of quality 75: not comparable with CIFAR-10.")
        subsets = {run.run.data.train_subset for run in matrix.runs if run.run.data.name == data} - {None}
        if subsets:
            sizes = [f"{size:,}" for size in sorted(subsets)]  # type: ignore[type-var]
            images = f"{', '.join(sizes)} image{'s' * (sizes != ['1'])}"
            lines.append(f"{own_dataset.labelled(data)}: trained on a subset of {images}.")
    return tuple(note for note in (*lines, *matrix.report.notes) if note)


def _intervals(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield the method of each kind of interval in these cells."""
    counts = sorted({cell.seeds for cell in cells if cell.interval_over == "seeds"})
    if counts:
        numbers = " or ".join(filter(None, (", ".join(map(str, counts[:-1])), str(counts[-1]))))
        bounds = "cut at 0 and 100% where nothing beyond is possible"
        yield (
            f"Mean ± standard deviation over {numbers} seeds [95% interval over seeds on the same images, Student's "
            f"t, {bounds}]."
        )
    single = {cell.interval for cell in cells if cell.interval_over == "images"}
    if single:
        kinds = "Wilson for accuracies, Student's t for means" if "student_t" in single else "Wilson for accuracies"
        mark = f"[…]{number_format.IMAGES} of one seed" if counts else "One seed"
        yield f"{mark}: 95% intervals over the test images ({kinds}), not over training runs."


def off_target_note(runs: Iterable[PlannedRun], last_rho: Mapping[str, float | None]) -> str:
    """Return a note on the runs that ended at another rho than their name says; '' if there are none."""
    endings = [
        f"{run.name} ended at {off_target.last_rho_text(last_rho[run.run_id])}"
        for run in runs
        if run.run_id in last_rho
    ]
    if not endings:
        return ""
    return f"{number_format.OFF_TARGET} The target rho was not in force when training ended: {'; '.join(endings)}."


def _origins(matrix: Matrix) -> Iterator[str]:
    """Yield the runs that did not begin from random weights."""
    names_by_origin: dict[str, list[str]] = {}
    for run in matrix.runs:
        epochs, weights = run.run.epochs, run.run.weights
        if weights:
            origin = "Trained on" if epochs else "Imported and not trained here,"
            names_by_origin.setdefault(f"{origin} from the weights {weights[:19]}…", []).append(run.name)
        if run.run.extends:
            lengths = " and ".join(f"{length}" for length in run.run.extends)
            names_by_origin.setdefault(f"Extended to {epochs:g} epochs from a run of {lengths}", []).append(run.name)
    yield from (f"{origin}: {', '.join(names)}." for origin, names in names_by_origin.items())


def _selection(selected: Mapping[str, Selected]) -> list[str]:
    if not selected:
        return []
    lines = [f"* rho: {next(iter(selected.values())).rule}."]
    for name, choice in selected.items():
        among = ", ".join(map(format_value, choice.among))
        if choice.without:
            lines.append(
                f"* rho of {name} is that among {among}; without a number of that rho yet: {len(choice.without)} more."
            )
        if choice.incomplete:
            incomplete = ", ".join(map(format_value, choice.incomplete))
            rule = (
                f"is chosen among complete rows ({among}); left out, because seeds are missing: {incomplete}."
                if choice.complete
                else f"is chosen among rows that lack seeds ({incomplete}): too few have all that the matrix asks for."
            )
            lines.append(f"* rho of {name} {rule}")
    for why_not in dict.fromkeys(choice.not_comparable for choice in selected.values() if choice.not_comparable):
        names = ", ".join(name for name, choice in selected.items() if choice.not_comparable == why_not)
        column = next(iter(selected.values())).column
        lines.append(f"* rho of {names} was chosen by {column}, which may not be compared with the paper's: {why_not}.")
    return lines


def _subsets(matrix: Matrix) -> Iterator[str]:
    """Yield which benchmarks are on a part of their images; an attack's own note says so."""
    names: dict[int, dict[str, None]] = {}
    for benchmark in matrix.benchmarks:
        subset = getattr(benchmark, "subset", None)
        if subset and not isinstance(benchmark, Attack):
            names.setdefault(subset, {})[tag(benchmark)] = None
    for subset, tags in names.items():
        yield f"{', '.join(tags)}: on {pluralize(subset, 'image')} only, drawn evenly from the classes."


def _encodings(matrix: Matrix) -> str:
    if any(isinstance(benchmark, Information) for benchmark in matrix.benchmarks):
        return "rate, residual information and H(Y|Z) in nats, over sampled z; accuracies over the mean of z."
    return ""
