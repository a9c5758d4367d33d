"""The papers' figures, from the rows of a report."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from msgspec import structs

from cebctl.report import table1
from cebctl.report.cells import Cell, Report, Row
from cebctl.report.columns import Column
from cebctl.report.figures.marks import PUBLISHED, Figure, Kind, Mark, Panel, Series
from cebctl.report.figures.series import (
    cell_mark,
    column_unit,
    family_styles,
    group_by_family,
    published_series,
    series_over_rho,
    short_name,
)
from experiments import own_dataset, published
from experiments.benchmarks import AutoAttack, Pgd, Transfer, default_step_size, describe
from experiments.matrix.planned_run import Matrix
from experiments.published import PublishedNumber
from experiments.published.files import Paper
from experiments.spec import PgdAdversary

RHO = "ρ"
_MADE_ON = " → "
_ATTACKS = 6
"""More could not be told apart in one panel."""


@dataclass(frozen=True)
class FigureData:
    """The input of the papers' figures."""

    matrix: Matrix
    report: Report
    columns: Sequence[Column]

    @property
    def rows(self) -> tuple[Row, ...]:
        """Return the rows with every measure of every run: those of the report's last table."""
        return self.report.tables[-1].rows

    def columns_named(self, short: str) -> list[str]:
        """Return the columns that a short name stands for in the printed table, or else in all."""
        names = [column.name for column in self.columns if column.short == short]
        printed = [name for table in self.report.tables[:-1] for name in table.columns if name in names]
        return printed or names

    def printed(self, name: str, paper: Paper) -> Callable[[Row, Cell], PublishedNumber | None]:
        """Return the function that finds a paper's number for a row of ours in a column, None if there is none that
        may stand beside it."""
        column = next(column for column in self.columns if column.name == name)
        if any(cell.published_text for row in self.rows if (cell := row.cells.get(name))):
            # Of several radii this is the headline's, which is printed nowhere: its numbers have none.
            column = replace(column, published_as=column.short)
        spec = structs.replace(self.matrix.report, published=paper)
        runs = {run.run_id: run for run in self.matrix.runs}

        def find(row: Row, cell: Cell) -> PublishedNumber | None:
            number, _ = column.published(runs[row.run_ids[0]], spec)
            return number and number.as_measure(cell.measure)

        return find


def accuracy_and_rate(source: FigureData) -> Iterator[Figure]:
    """Yield v1 Figure 1: accuracy, the maximum training rate and robustness to both attacks over rho."""
    measures = [("clean", "Clean"), ("rate_train_max", "Maximum training rate"), ("rate", "Rate on the test images")]
    measures += [(f"pgd_{norm}{end}", f"PGD {sign}{label}") for norm, sign in (("l2", "L2"), ("linf", "L∞"))
               for end, label in (("_success", ", success"), ("", ""))]  # fmt: skip
    panels = []
    styles = family_styles(source.rows)
    for short, title in measures:
        for name in source.columns_named(short)[:1]:
            if any(isinstance(row.cells.get(name), Cell) for row in source.rows):
                series = tuple(series_over_rho(source.rows, name, styles, source.printed(name, "v1")))
                panels.append(Panel(title, RHO, column_unit(source.rows, name), series))
    shown = _without_doubles(panels)
    if shown:
        title = "Accuracy, rate and robustness over ρ"
        caption = (
            f"{source.matrix.title}: each objective over ρ, the deterministic network as a line across (v1 Figure 1)."
        )
        yield Figure("v1-1", title, caption, tuple(shown))


def _without_doubles(panels: Sequence[Panel]) -> list[Panel]:
    """Return the panels without a rate on the test images beside the training rate, or accuracy beside success."""
    titles = {panel.title for panel in panels}
    hidden = {"Rate on the test images"} if "Maximum training rate" in titles else set()
    hidden |= {title.removesuffix(", success") for title in titles if title.endswith(", success")}
    return [panel for panel in panels if panel.title not in hidden]


def accuracy_and_attacks(name: str, source: FigureData) -> Iterator[Figure]:
    """Yield v1 Figure 2 or v2 Figure 1: clean accuracy and both attacks over rho, the baselines across."""
    measures = [("clean", "clean"), ("pgd_l2", "PGD L2"), ("pgd_linf", "PGD L∞")]
    titles = {column: title for short, title in measures for column in source.columns_named(short)[:1]}
    paper: Paper = "v1" if name.startswith("v1") else "v2"
    if series := _over_rho_by_column(titles, source, paper):
        theirs = f" Grey, dotted or hollow: {paper}'s numbers, a band for a range, triangles at a bound."
        caption = (
            "Test accuracy on clean images and under L2 and L∞ PGD over ρ; models without ρ as lines across "
            f"({paper} Figure {name[-1]}).{theirs * any(line.kind in PUBLISHED for line in series)}"
        )
        yield Figure(name, "Accuracy and attacks over ρ", caption, (Panel("", RHO, "accuracy, %", series),))


def accuracy_by_attack(source: FigureData) -> Iterator[Figure]:
    """Yield the same figure of the matrix's own attacks, for a matrix that names no figures of the papers."""
    clean = {column.name: "clean" for column in source.columns if column.short == "clean"}
    attacks = {
        column.name: describe(column.benchmark)
        for column in source.columns
        if isinstance(column.benchmark, Pgd | AutoAttack) and not column.short.endswith("success")
    }
    shown = clean | dict(list(attacks.items())[:_ATTACKS])
    if series := _over_rho_by_column(shown, source, source.matrix.report.published):
        more = f" Of {len(attacks)} attacks the first {_ATTACKS}." if len(attacks) > _ATTACKS else ""
        caption = (
            f"{source.matrix.title}: test accuracy on clean images and under attack over ρ; models without ρ as lines "
            f"across.{more}"
        )
        yield Figure("accuracy", "Accuracy and attacks over ρ", caption, (Panel("", RHO, "accuracy, %", series),))


def _over_rho_by_column(titles: Mapping[str, str], source: FigureData, paper: Paper) -> tuple[Series, ...]:
    """Return a series for each column and family: a colour for each column, dashes for each family."""
    families = group_by_family(source.rows)
    return tuple(
        replace(line, name=f"{title}: {line.name}")
        for style, (column, title) in enumerate(titles.items())
        for line in series_over_rho(source.rows, column, dict.fromkeys(families, style), source.printed(column, paper))
    )


def accuracy_over_radius(name: str, source: FigureData) -> Iterator[Figure]:
    """Yield v1 Figure 3 or v2 Figure 2: accuracy over eps, logarithmic past 100 of 255."""
    paper: Paper = "v1" if name.startswith("v1") else "v2" if name.startswith("v2") else source.matrix.report.published
    panels = [_radius_panel(norm, title, source, paper) for norm, title in (("linf", "L∞"), ("l2", "L2"))]
    if any(panel.series for panel in panels):
        figure = f" ({paper} Figure {name[-1]})" * name.startswith(paper)
        theirs = f" Grey and hollow: {paper}'s numbers." * _has_published(panels)
        trained = " Dashed upright: the radius of adversarial training." * any(p.upright is not None for p in panels)
        caption = (
            f"Accuracy under untargeted PGD over the radius on the 0-255 scale, logarithmic past 100{figure}. Lines "
            "are attacks of 20 steps, single marks of more (n); A → B are examples made on A and tested on B."
            f"{trained}{theirs}"
        )
        shown = tuple(panel for panel in panels if panel.series)
        yield Figure(name, "Accuracy over the attack's radius", caption, shown)


def _has_published(panels: Sequence[Panel]) -> bool:
    return any(series.kind in PUBLISHED for panel in panels for series in panel.series)


def _radius_panel(norm: str, title: str, source: FigureData, paper: Paper) -> Panel:
    """Return the panel of the runs that were attacked at more than half as many radii as any run."""
    radii = {row.run_ids: _radii(row, norm, source) for row in source.rows}
    most_radii = max(radii.values(), default=0)
    swept = [row for row in source.rows if radii[row.run_ids] > max(2, most_radii / 2)]
    series = [line for style, row in enumerate(swept) for line in _radius_series(row, norm, style, source, paper)]
    runs = {run.run_id: run.run for run in source.matrix.runs}
    trained = {a.eps * 255 for row in swept for a in [runs[row.run_ids[0]].adversary]
               if isinstance(a, PgdAdversary) and a.norm == norm}  # fmt: skip
    upright = trained.pop() if len(trained) == 1 else None
    return Panel(title, f"{title} ε of 255", "accuracy, %", tuple(series), radius=True, upright=upright)


def _radius_series(row: Row, norm: str, style: int, source: FigureData, paper: Paper) -> Iterator[Series]:
    curves: dict[str, list[Mark]] = {}
    numbers: list[tuple[float, PublishedNumber]] = []
    for column in source.columns:
        cell, attack = row.cells.get(column.name), column.benchmark
        if isinstance(cell, Cell) and isinstance(attack, Pgd | Transfer) and attack.norm == norm:
            kind = _kind_of_attack(attack, source)
            if kind is not None:
                curves.setdefault(kind, []).append(cell_mark(row, cell, attack.eps * 255))
                if not kind and (number := source.printed(column.name, paper)(row, cell)):
                    numbers.append((attack.eps * 255, number))
    clean, name = row.cells.get("clean"), short_name(row)
    if isinstance(clean, Cell) and curves and (number := source.printed("clean", paper)(row, clean)):
        numbers.append((0.0, number))
    for dash, (kind, marks) in enumerate(curves.items()):
        is_more_steps, is_part = kind.startswith("n "), "subset=" in kind
        # The clean accuracy is that of all images.
        from_zero = isinstance(clean, Cell) and not is_more_steps and not is_part
        start = [cell_mark(row, clean, 0.0)] if isinstance(clean, Cell) and from_zero else []
        ordered = tuple(sorted([*start, *marks], key=lambda radius_mark: radius_mark.at))
        source_model, _, rest = kind.partition(_MADE_ON)
        label = f"{source_model}{_MADE_ON}{name}{rest}" if _MADE_ON in kind else f"{name}, {kind}" if kind else name
        yield Series(label, "points" if is_more_steps else "line", style, ordered, style if not kind else dash + 3)
    yield from published_series([(at, number) for at, number in numbers if number.upper is None], True, style)


def _radii(row: Row, norm: str, source: FigureData) -> int:
    """Return at how many radii a run was attacked alike, in 20 steps."""
    radii: dict[str, set[float]] = {}
    for column in source.columns:
        attack = column.benchmark
        if isinstance(attack, Pgd) and attack.norm == norm and isinstance(row.cells.get(column.name), Cell):
            kind = _kind_of_attack(attack, source)
            if kind is not None and not kind.startswith("n "):
                radii.setdefault(kind, set()).add(attack.eps)
    return max(map(len, radii.values()), default=0)


def _kind_of_attack(attack: Pgd | Transfer, source: FigureData) -> str | None:
    """Return '' for the plain attack of 20 steps, `n 50` for more, `A → ` for a transfer from A, each with what else
    its threat model has: attacks of one kind differ in the radius alone. None for any other attack."""
    other = []
    if attack.step_size is not None and not math.isclose(
        attack.step_size, default_step_size(attack.eps, attack.steps), rel_tol=1e-6
    ):
        other.append(f"step {attack.step_size * 255:.3g}/255")
    other += ["from the image"] * (not attack.random_start)
    other += [f"subset={attack.subset}"] * (attack.subset is not None)
    if isinstance(attack, Transfer):
        made_on = next((short_name(row) for row in source.rows if attack.source in row.run_ids), None)
        steps = [f"n {attack.steps}"] * (attack.steps != 20)
        return made_on and made_on + _MADE_ON + "".join(f", {part}" for part in [*steps, *other])
    if attack.target != "none" or attack.loss != "cross_entropy" or attack.restarts != 1:
        return None
    return ", ".join([f"n {attack.steps}"] * (attack.steps != 20) + other)


def errors_by_corruption(name: str, depth: str, source: FigureData) -> Iterator[Figure]:
    """Yield v1 Figure 4 or v2 Figure 3 or 4: for each summary and corruption the baseline and a dot for each rho."""
    paper = published.table(source.matrix.report.published)
    shown = [model for model in paper.models if model.architecture.startswith(depth)]
    consistent = {model.architecture for model in shown if model.objective == "cceb"}
    swept = [m for m in shown if m.objective == ("cceb" if m.architecture in consistent else "ceb")]
    # The papers draw the networks from light to dark: with AutoAugment first, the widest last.
    light_to_dark = sorted(swept, key=lambda model: ("x2" in model.architecture, "-aa" not in model.architecture))
    order = {model.architecture: index for index, model in enumerate(light_to_dark)}
    above = max((row.axes["rho"] for row in source.rows if "rho" in row.axes), default=10.0) + 1  # the baselines' marks
    panels = []
    for printed in paper.rows:
        series: list[Series] = []
        for model in shown:
            if model in swept or model.objective == "xent":
                series += _ladder_series(model, printed.column, order[model.architecture], above, source)
        panels.append(Panel(printed.label, "error, %" if printed.column != "mce" else "mCE, %", RHO, tuple(series)))
    if any(series.kind not in PUBLISHED for panel in panels for series in panel.series):
        caption = (
            "Errors, lower is better. Upright lines are the cross-entropy baselines, dots CEB at each ρ, 10 at the top "
            "and 1 at the bottom, large at ρ*; the widest network is cCEB where there is one. Hollow signs, dotted "
            f"uprights with a triangle: {paper.paper}'s CEB and its baselines, where ours may be compared with them "
            f"({paper.paper} Figure {name[-1]})."
        )
        title = f"Errors of {depth} by corruption"
        yield Figure(name, title, caption, tuple(panels), ladder=True, summary=3)


def _ladder_series(
    model: published.PaperModel, column: str, style: int, above: float, source: FigureData
) -> Iterator[Series]:
    family = table1.model_rows(model, source.rows, {run.run_id: run for run in source.matrix.runs})
    shown = table1.column_for(model, column, family, source.columns)
    starred = {selected_rho.run_ids for selected_rho in source.report.selected.values()}
    marks = []
    for row in family:
        cell = row.cells.get(shown.name if shown else column)
        if isinstance(cell, Cell):
            marks.append(cell_mark(row, cell.as_error(), row.axes.get("rho", 0.0), row.run_ids in starred))
    ordered = tuple(sorted(marks, key=lambda rho_mark: rho_mark.at))
    baseline = model.objective == "xent"
    if ordered:
        name = f"{model.architecture} {model.objective}"
        yield Series(name, "baseline", style, ordered, style) if baseline else Series(name, "line", style, ordered)
    if shown and table1.why_not_beside(model, family, shown):
        return
    at = above if baseline else float(model.rho_star or 0)
    hollow = Mark(at, model.cells[column].value * 100, label=f"{model.subject}, published")
    kind: Kind = "published_line" if baseline else "published"
    yield Series(f"{model.architecture} {model.objective}", kind, style, (hollow,))


BUILDERS: Mapping[str, Callable[[FigureData], Iterator[Figure]]] = {
    "v1-1": accuracy_and_rate,
    "v1-2": partial(accuracy_and_attacks, "v1-2"),
    "v2-1": partial(accuracy_and_attacks, "v2-1"),
    "v1-3": partial(accuracy_over_radius, "v1-3"),
    "v2-2": partial(accuracy_over_radius, "v2-2"),
    "v1-4": partial(errors_by_corruption, "v1-4", "ResNet50"),
    "v2-3": partial(errors_by_corruption, "v2-3", "ResNet50"),
    "v2-4": partial(errors_by_corruption, "v2-4", "ResNet152"),
}
"""By the name in a matrix's `report.figures`."""


def paper_figures(source: FigureData) -> Iterator[Figure]:
    """Yield the figures that the matrix names.

    If it names none and its runs differ in rho or objective: accuracy over rho by attack, and over the radius.
    """
    # A figure of the papers is not one of a user's own images, whatever the matrix calls it.
    own = all(own_dataset.is_own(run.run.data.name) for run in source.matrix.runs)
    names = () if own else source.matrix.report.figures
    for name in names:
        yield from BUILDERS[name](source)
    models = {(row.axes["objective"], row.axes.get("rho")) for row in source.rows}
    if not names and len(models) > 1:
        yield from accuracy_by_attack(source)
        yield from accuracy_over_radius("accuracy-radius", source)
