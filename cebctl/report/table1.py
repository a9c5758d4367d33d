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
    models = [_model(*pair, selected, columns) for pair in zip(paper.models, families, strict=True)]
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
    conditions = tuple(c for c in selection.parse(model.where).conditions if c.path not in (RHO, TRAIN_SUBSET))
    where = selection.Selection(conditions)
    return [row for row in rows if where.matches(planned[row.run_ids[0]].leaves)]


def _model(
    model: PaperModel, members: Sequence[Row], selected: Mapping[str, Selected], columns: Sequence[Column]
) -> Row:
    choice = next(
        (
            selected_rho
            for selected_rho in selected.values()
            if any(row.run_ids == selected_rho.run_ids for row in members)
        ),
        None,
    )
    chosen = next((row for row in members if len(members) == 1 or (choice and row.run_ids == choice.run_ids)), None)
    rho = chosen.axes.get("rho") if chosen else None
    axes: dict[str, str | float] = {"architecture": model.architecture, "objective": model.objective}
    axes |= {} if rho is None else {"rho": rho}
    axes |= {} if model.rho_star is None else {"published_rho": model.rho_star}
    cells = {name: _cell(model, name, members, chosen, columns) for name in model.cells}
    last_rho = chosen.last_rho if chosen else {}
    head = _rho_text(model, rho) + number_format.OFF_TARGET * bool(last_rho)
    return Row(chosen.run_ids if chosen else (), axes, cells, (*model.heads, head), last_rho)


def _rho_text(model: PaperModel, rho: float | None) -> str:
    if model.rho_star is None:
        return "NA"
    text = "?" if rho is None else f"{rho:g}"
    return text if rho == model.rho_star else f"{text} (paper {model.rho_star:g})"


def _cell(
    model: PaperModel, name: str, members: Sequence[Row], chosen: Row | None, columns: Sequence[Column]
) -> Cell | Missing:
    rows = [chosen] if chosen else members
    column = column_for(model, name, rows, columns)
    cell = chosen.cells.get(column.name) if chosen and column else None
    why_not = why_not_beside(model, rows, column) if column else ""
    printed = None if why_not else model.cells[name]
    value, text = (printed.value, printed.text) if printed else (None, "")
    if isinstance(cell, Cell):
        return replace(cell.as_error(), published=value, published_text=text, not_comparable=why_not)
    reason = cell.reason if cell else _why_not_chosen(column.name if column else name, members)
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


def _why_not_chosen(column: str, members: Sequence[Row]) -> str:
    """Return why there is no rho* yet: the most frequent reason in the family, or that the matrix has none of it."""
    reasons = Counter(cell.reason for row in members if isinstance(cell := row.cells.get(column), Missing))
    if not members or not any(column in row.cells for row in members):
        return "not in this matrix"
    return reasons.most_common(1)[0][0] if reasons else "no rho* yet"


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
