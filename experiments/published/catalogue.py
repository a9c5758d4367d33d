"""Read the published numbers once and look them up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, cast, get_args

from msgspec import Struct

from experiments.errors import InputError, expected
from experiments.matrix import selection
from experiments.matrix.spec_fields import Path, flatten, schema
from experiments.published import files
from experiments.published.files import ModelData, Paper, RhoStar, RowData, TableFile, ValueData
from experiments.published.numbers import PrintedAttack, PublishedNumber, Reading, in_units, published_number, reading
from experiments.spec import Run

_FREE_FIELDS = (("objective", "rho"), ("data", "train_subset"))
"""Fields whose values `prints_number` does not compare."""

_TEXTS = ("cifar10.yaml", "imagenet.yaml", "fashion_mnist.yaml", "settings.yaml")


class PaperRow(Struct, frozen=True):
    """One printed row of a table."""

    column: str
    """The report's name: `gaussian_noise`."""
    label: str
    """The paper's: `Gauss. Noise`."""


class PaperModel(Struct, frozen=True, kw_only=True):
    """One printed column of a table."""

    subject: str
    """A name that is unique in the table: `ResNet152x2 cCEB`."""
    heads: tuple[str, ...]
    """The printed heads of the column, one for each of the table's heads."""
    architecture: str
    """Models of one architecture are printed side by side, `-aa` without AutoAugment."""
    objective: str
    rho_star: float | None
    """None for the baseline."""
    where: str
    """The runs of the column, in the selection language."""
    cells: Mapping[str, PublishedNumber]
    """By column, in the printed order."""


class PaperTable(Struct, frozen=True, kw_only=True):
    """A Table 1 in its printed layout: models across, measures down."""

    paper: Paper
    title: str
    source: str
    heads: tuple[str, ...]
    rho_label: str
    rows: tuple[PaperRow, ...]
    models: tuple[PaperModel, ...]
    rho_star: RhoStar
    pipeline: str
    """The pipeline of the corrupted images. `pipeline_note` has the evidence for it."""
    pipeline_note: str


class Dispute(Struct, frozen=True, kw_only=True):
    """One place where a paper contradicts itself."""

    name: str
    says: str
    cells: tuple[tuple[str, str], ...]
    """The disputed numbers, as pairs (subject, column)."""
    readings: tuple[Reading, ...]


class Normaliser(Struct, frozen=True, kw_only=True):
    """The errors of the baseline that mCE is relative to."""

    name: str
    data: str
    stand_in: bool
    """Not the paper's, which can't be found."""
    source: str
    errors: Mapping[str, float]
    """By corruption, fractions, mean over the five severities."""


@dataclass(frozen=True)
class _Entry:
    column: str
    where: selection.Selection | None
    number: PublishedNumber

    @cached_property
    def study(self) -> selection.Selection | None:
        """Return the selection of its runs at any rho and on any number of training images."""
        if self.where is None:
            return None
        return selection.Selection(tuple(c for c in self.where.conditions if c.path not in _FREE_FIELDS))


def lookup(paper: Paper, axes: Mapping[str, object], column: str) -> PublishedNumber | None:
    """Return the number that a version of the paper prints for a run in a column of the report, or None.

    `axes` are all the fields of a run by any unique name (`run_fields(run)`, or short names); fields that the published
    number doesn't depend on are ignored. Or they are `{"subject": name}` with a name of our files.
    `column` is `clean`, `mce`, `gaussian_noise`, …; `pgd_linf@eps=8/255,n=20` is a number for this threat model only
    (`,target=random` for random targets), `pgd_linf` for any. If a run is in Table 1 and in a statement on several
    runs, the number of the table is returned. Raises InputError for an unknown version or unreadable parameters.
    """
    name, _, parameters = column.partition("@")
    entries = _index(_check_version(paper)).get(name, ())
    subject = axes.get("subject")
    leaves = {} if subject is not None else {_path(key): value for key, value in axes.items()}
    for entry in entries:
        if subject is not None:
            is_about = entry.number.subject == subject
        else:
            is_about = entry.where is not None and entry.where.matches(leaves)
        attack = entry.number.attack
        if is_about and (attack.fits(parameters) if attack else not parameters):
            return entry.number
    return None


def prints_number(
    paper: Paper,
    axes: Mapping[str, object],
    column: str,
    fits: Callable[[PrintedAttack | None], bool] = lambda attack: True,
) -> bool:
    """Return whether the paper has a number for such a run at any rho, in this column and for an attack that fits.

    `column` has no parameters.
    """
    leaves = {_path(key): value for key, value in axes.items()}
    entries = _index(paper).get(column, ())
    return any(entry.study and entry.study.matches(leaves) and fits(entry.number.attack) for entry in entries)


def run_fields(run: Run) -> dict[str, Any]:
    """Return every field of a run by its dotted path, the axes for `lookup`."""
    return {".".join(path): value for path, value in flatten(run)}


def all_numbers(paper: Paper) -> Iterator[tuple[str, PublishedNumber]]:
    """Yield the pairs (column, number) of a version: those of Table 1, then those of the text."""
    for entry in _entries(_check_version(paper)):
        yield entry.column, entry.number


@cache
def table(paper: Paper) -> PaperTable:
    """Return Table 1 of a version, in the printed layout. Raises InputError for an unknown version."""
    data = files.read(f"table1_{_check_version(paper)}.yaml", TableFile)
    models = tuple(_model(data, index, model) for index, model in enumerate(data.models))
    return PaperTable(
        paper=data.paper,
        title=data.title,
        source=f"{data.paper} {data.source}",
        heads=data.heads,
        rho_label=data.rho_label,
        rows=tuple(PaperRow(row.column, row.label) for row in data.rows),
        models=models,
        rho_star=data.rho_star,
        pipeline=data.pipeline,
        pipeline_note=data.pipeline_note,
    )


@cache
def disputes(paper: Paper) -> tuple[Dispute, ...]:
    """Return the contradictions within a version. Raises InputError for an unknown version."""
    _check_version(paper)
    return tuple(
        Dispute(
            name=data.name,
            says=data.says,
            cells=tuple((cell.subject, column) for cell in data.cells for column in cell.columns),
            readings=tuple(map(reading, data.readings)),
        )
        for data in files.read("disputed.yaml", files.DisputesFile).disputes
        if data.paper == paper
    )


@cache
def normaliser(name: str) -> Normaliser:
    """Return `alexnet` (ImageNet) or `robustbench-standard` (CIFAR-10, a stand-in). InputError for another name."""
    by_name = {data.name: data for data in files.read("normalisers.yaml", files.NormalisersFile).normalisers}
    if name not in by_name:
        raise InputError("normaliser", f"unknown {name!r}", expected(by_name, name))
    data = by_name[name]
    errors = {corruption: in_units(error, data.unit) for corruption, error in data.errors.items()}
    return Normaliser(name=name, data=data.data, stand_in=data.stand_in, source=data.source, errors=errors)


def _check_version(paper: str) -> Paper:
    # A caller without type checks, such as a notebook, may pass any text.
    if paper in get_args(Paper):
        return cast(Paper, paper)
    raise InputError("paper", f"unknown version {paper!r}", expected(get_args(Paper), paper))


@cache
def _path(name: str) -> Path:
    """Return the path of a field, and of any other name a path that no number has a condition on."""
    try:
        return schema(Run).resolve(name)
    except LookupError:
        return (name,)


@cache
def _index(paper: Paper) -> dict[str, list[_Entry]]:
    index: dict[str, list[_Entry]] = {}
    for entry in _entries(paper):
        index.setdefault(entry.column, []).append(entry)
    return index


@cache
def _entries(paper: Paper) -> tuple[_Entry, ...]:
    entries: list[_Entry] = []
    for model in table(paper).models:
        where = selection.parse(model.where)
        entries += [_Entry(column, where, number) for column, number in model.cells.items()]
    for name in _TEXTS:
        entries += _text_entries(name, paper)
    return tuple(entries)


def _text_entries(file: str, paper: Paper) -> Iterator[_Entry]:
    data = files.read(file, files.SubjectsFile)
    for subject in data.subjects:
        where = selection.parse(_joined(data.where, subject.where)) if subject.where is not None else None
        for value in subject.values:
            if paper in value.source:
                for column in (value.column, *value.also):
                    disputed = _readings(paper).get((subject.name, column), ())
                    yield _Entry(
                        column, where, published_number(value, paper, value.source[paper], subject.name, disputed)
                    )


def _model(data: TableFile, index: int, model: ModelData) -> PaperModel:
    return PaperModel(
        subject=model.subject,
        heads=model.heads,
        architecture=model.architecture,
        objective=model.objective,
        rho_star=model.rho,
        where=_joined(data.where, model.where),
        cells={row.column: _cell(data, row, index, model.subject) for row in data.rows},
    )


def _cell(data: TableFile, row: RowData, index: int, subject: str) -> PublishedNumber:
    value = ValueData(
        column=row.column,
        value=row.values[index],
        measure=row.measure or data.measure,
        unit=data.unit,
        attack=row.attack,
        source={data.paper: data.source},
    )
    return published_number(
        value, data.paper, data.source, subject, _readings(data.paper).get((subject, row.column), ())
    )


@cache
def _readings(paper: Paper) -> dict[tuple[str, str], tuple[Reading, ...]]:
    """Return the readings of each disputed cell, in the order of the disputes."""
    readings: dict[tuple[str, str], tuple[Reading, ...]] = {}
    for dispute in disputes(paper):
        for cell in dispute.cells:
            readings[cell] = (*readings.get(cell, ()), *dispute.readings)
    return readings


def _joined(*selections: str) -> str:
    return ", ".join(text for text in selections if text)
