"""Table 1 in the papers' layout: the baseline and CEB at rho* of every architecture across, the measures down.

All numbers are errors, lower is better. The `where` of a published model selects our runs, except for rho: ours is our
own rho*, and the paper's number beside it is that of the paper's rho*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cebctl.report import number_format
from cebctl.report.cells import Cell, Missing, Row, Table
from cebctl.report.columns import Column
from cebctl.report.selection import Selected
from experiments import published
from experiments.benchmarks import Pgd
from experiments.matrix import selection
from experiments.matrix.planned_run import Matrix, PlannedRun
from experiments.published import PaperModel

_NOT_THERE = "not in this matrix"
RHO, TRAIN_SUBSET = ("objective", "rho"), ("data", "train_subset")


def build_table1(
    matrix: Matrix, rows: Sequence[Row], selected: Mapping[str, Selected], columns: Sequence[Column]
) -> tuple[Table, ...]:
    """Return the table of the version of the paper that the matrix's `report` section names; none where none of its
    models is in the matrix."""
    paper = published.table(matrix.report.published)
    planned = {run.run_id: run for run in matrix.runs}
    families = [model_rows(model, rows, planned) for model in paper.models]
    if not any(families):
        return ()
    models = []
    for model, members in zip(paper.models, families, strict=True):
        left_out = any(_selects(model, run) for run in matrix.left_out)
        models.append(_model(model, members, selected, columns, "left out by --only" if left_out else _NOT_THERE))
    architectures = [model.architecture for model in paper.models]
    same_rule = paper.rho_star.column == matrix.report.rho_star
    table = Table(
        f"Table 1 of {paper.paper}, errors: {paper.title}",
        tuple(row.column for row in paper.rows),
        tuple(_with_best(models, architectures)),
        heads=(*paper.heads, paper.rho_label if same_rule else f"{paper.rho_label} by {matrix.report.rho_star}"),
        labels={row.column: row.label for row in paper.rows},
    )
    return (table,)


def model_rows(model: PaperModel, rows: Sequence[Row], planned: Mapping[str, PlannedRun]) -> list[Row]:
    """Return our rows of this architecture and objective, for any rho and any number of training images."""
    return [row for row in rows if _selects(model, planned[row.run_ids[0]])]


def _selects(model: PaperModel, run: PlannedRun) -> bool:
    conditions = tuple(c for c in selection.parse(model.where).conditions if c.path not in (RHO, TRAIN_SUBSET))
    return selection.Selection(conditions).matches(run.leaves)


def _choose(model: PaperModel, members: Sequence[Row], selected: Mapping[str, Selected]) -> Row | None:
    """Return the row at rho*, or the only one; of several, of which the paper has one, that which is trained as the
    paper's, None if that is none or several."""
    if len(members) == 1:
        return members[0]
    starred = {choice.run_ids for choice in selected.values()}
    candidates = [row for row in members if model.rho_star is None or row.run_ids in starred]
    if len(candidates) > 1:
        candidates = [row for row in candidates if not _why_no_number_beside(row, model)]
    return candidates[0] if len(candidates) == 1 else None


def _why_no_number_beside(row: Row, model: PaperModel) -> str:
    clean = row.cells.get("clean")
    cells = [clean] if clean else [cell for name, cell in row.cells.items() if name.partition("@")[0] in model.cells]
    return next((cell.not_comparable for cell in cells if cell.not_comparable), "")


def _model(
    model: PaperModel,
    members: Sequence[Row],
    selected: Mapping[str, Selected],
    columns: Sequence[Column],
    why_no_members: str,
) -> Row:
    chosen = _choose(model, members, selected)
    rho = chosen.axes.get("rho") if chosen else None
    axes: dict[str, str | float] = {"architecture": model.architecture, "objective": model.objective}
    axes |= {} if rho is None else {"rho": rho}
    axes |= {} if model.rho_star is None else {"published_rho": model.rho_star}
    cells = {name: _cell(model, name, members, chosen, columns, why_no_members) for name in model.cells}
    last_rho = chosen.last_rho if chosen else {}
    head = _rho_text(model, rho) + number_format.OFF_TARGET * bool(last_rho)
    return Row(chosen.run_ids if chosen else (), axes, cells, (*model.heads, head), last_rho)


def _rho_text(model: PaperModel, rho: float | None) -> str:
    if model.rho_star is None:
        return "NA"
    text = "?" if rho is None else f"{rho:g}"
    return text if rho == model.rho_star else f"{text} (paper {model.rho_star:g})"


def _cell(
    model: PaperModel,
    name: str,
    members: Sequence[Row],
    chosen: Row | None,
    columns: Sequence[Column],
    why_no_members: str,
) -> Cell | Missing:
    rows = [chosen] if chosen else members
    column = column_for(model, name, rows, columns)
    cell = chosen.cells.get(column.name) if chosen and column else None
    why_not = why_not_beside(model, rows, column) if column else ""
    printed = None if why_not else model.cells[name]
    value, text = (printed.value, printed.text) if printed else (None, "")
    if isinstance(cell, Cell):
        return replace(cell.as_error(), published=value, published_text=text, not_comparable=why_not)
    reason = cell.reason if cell else _why_not_chosen(model, column, members) if members else why_no_members
    return Missing(reason, value, text, why_not)


def column_for(model: PaperModel, name: str, rows: Sequence[Row], columns: Sequence[Column]) -> Column | None:
    """Return the column for one of the paper's: of several, by their attack or pipeline, the first that may be compared
    with the model's printed number."""
    named = [column for column in columns if column.short == name]
    return next((column for column in named if not why_not_beside(model, rows, column)), named[0] if named else None)


def why_not_beside(model: PaperModel, rows: Sequence[Row], column: Column) -> str:
    """Return why the model's printed number may not stand beside these rows' in a column; '' if it may."""
    if isinstance(column.benchmark, Pgd):
        other = published.attack_differences(column.benchmark, model.cells[column.short].attack)
        if other:
            return f"another attack than the paper's: {other}"
    cells = [row.cells[column.name] for row in rows if column.name in row.cells]
    return next((cell.not_comparable for cell in cells if cell.not_comparable), "")


def _why_not_chosen(model: PaperModel, column: Column | None, members: Sequence[Row]) -> str:
    """Return why there is no number of a family: the benchmark is not asked for, several runs are there and none or
    more than one is the paper's, or there is no rho* yet, for the most frequent reason in the family."""
    if column is None:
        return "not asked for"
    cells = [row.cells.get(column.name) for row in members]
    reasons = Counter(cell.reason for cell in cells if isinstance(cell, Missing))
    if reasons:
        return reasons.most_common(1)[0][0]
    return f"{len(members)} such rows" if model.rho_star is None else "no rho* yet"


def _with_best(models: Sequence[Row], architectures: Sequence[str]) -> list[Row]:
    """Return the models, the best of each architecture marked where all its models have a number.

    Numbers are compared at the printed precision.
    """
    marked = []
    for row, architecture in zip(models, architectures, strict=True):
        same_architecture = [other for other, name in zip(models, architectures, strict=True) if name == architecture]
        marked.append(
            replace(row, cells={name: _mark(name, cell, same_architecture) for name, cell in row.cells.items()})
        )
    return marked


def _mark(column: str, cell: Cell | Missing, same_architecture: Sequence[Row]) -> Cell | Missing:
    cells = [row.cells[column] for row in same_architecture]
    # 0.1 point, as the papers print: what reads the same is equally bold.
    values = [round(other.value, 3) for other in cells if isinstance(other, Cell)]
    if not isinstance(cell, Cell) or len(values) < len(cells):
        return cell
    return replace(cell, best=round(cell.value, 3) == min(values))
