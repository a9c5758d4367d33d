"""Read the YAML files in this folder by a strict schema: an unknown field is an error."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, TypeVar

import msgspec
import yaml
from msgspec import Struct

from experiments.errors import InputError
from experiments.matrix import yaml_nodes

FOLDER = Path(__file__).parent

Paper = Literal["v1", "v2"]
Measure = Literal["accuracy", "error", "relative_error", "difference", "ratio", "nats", "setting"]
"""`relative_error` is mCE, a mean of ratios of errors. `difference` is of two accuracies. `setting` is no result."""
Unit = Literal[
    "percent", "points", "nats", "times", "count", "epochs", "steps", "pixels", "side", "divisor", "sign", "none"
]
"""As printed. `pixels` are of the scale 0-255, `side` is an image's width, and a `divisor` divides a rate."""
Relation = Literal["equal", "about", "above", "below", "range"]
Number = int | float
"""int or float as it stands in the file, so that the number of printed decimals is known."""

T = TypeVar("T")


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping in a file."""


class AttackData(_File, frozen=True, kw_only=True):
    """PGD with the parameters that the text prints; null: not printed."""

    eps: Number | None = None
    scale: Literal[1, 255]
    """The divisor that brings eps and step_size to [0, 1] pixel units."""
    steps: int
    step_size: Number | None = None
    target: Literal["none", "random"] = "none"
    guess: str = ""
    """The parameters that are our reading."""


class ValueData(_File, frozen=True, kw_only=True):
    """One number as printed."""

    column: str
    also: tuple[str, ...] = ()
    """Other columns of the same number."""
    value: Number
    upper: Number | None = None
    relation: Relation = "equal"
    measure: Measure
    unit: Unit
    attack: AttackData | None = None
    note: str = ""
    source: dict[Paper, str]
    """The place in each version that prints it."""


class SubjectData(_File, frozen=True, kw_only=True):
    """The subject of numbers: the runs that `where` selects, or without it something that is no run of ours."""

    name: str
    where: str | None = None
    values: tuple[ValueData, ...]


class SubjectsFile(_File, frozen=True, kw_only=True):
    """The numbers of the running text and the captions."""

    where: str = ""
    """Conditions of every subject that has conditions."""
    subjects: tuple[SubjectData, ...]


class ModelData(_File, frozen=True, kw_only=True):
    """One printed column of a Table 1."""

    subject: str
    heads: tuple[str, ...]
    architecture: str
    objective: Literal["xent", "ceb", "cceb"]
    rho: Number | None
    where: str


class RowData(_File, frozen=True, kw_only=True):
    """One printed row of a Table 1, a value for each model."""

    column: str
    label: str
    measure: Measure | None = None
    attack: AttackData | None = None
    values: tuple[Number, ...]


class Tie(_File, frozen=True, kw_only=True):
    """A tie that the text decides: the chosen one among equally accurate models."""

    subject: str
    chosen: Number
    equal: tuple[Number, ...]


class RhoStar(_File, frozen=True, kw_only=True):
    """The choice of rho*: among the values whose `column` is within `within` points of the best, `prefer`."""

    column: str
    best: Literal["lowest"]
    """Errors are printed: the lowest is the best."""
    within: Number
    """Percentage points, inclusive."""
    prefer: Literal["the lowest rho"]
    says: str
    source: str
    ties: tuple[Tie, ...] = ()


class TableFile(_File, frozen=True, kw_only=True):
    """One Table 1."""

    paper: Paper
    source: str
    title: str
    measure: Measure
    unit: Unit
    pipeline: Literal["official", "official-recrop", "in-memory"]
    pipeline_note: str
    where: str
    heads: tuple[str, ...]
    rho_label: str
    rho_star: RhoStar
    models: tuple[ModelData, ...]
    rows: tuple[RowData, ...]


class CellData(_File, frozen=True, kw_only=True):
    """Columns of one subject."""

    subject: str
    columns: tuple[str, ...]


class ReadingData(_File, frozen=True, kw_only=True):
    """One side of a contradiction; without a value where it is about words."""

    says: str
    source: str
    value: Number | None = None
    upper: Number | None = None
    relation: Relation = "equal"
    measure: Measure | None = None
    unit: Unit | None = None


class DisputeData(_File, frozen=True, kw_only=True):
    """One contradiction within a paper."""

    name: str
    paper: Paper
    says: str
    cells: tuple[CellData, ...]
    readings: tuple[ReadingData, ...]


class DisputesFile(_File, frozen=True, kw_only=True):
    """All contradictions."""

    disputes: tuple[DisputeData, ...]


class NormaliserData(_File, frozen=True, kw_only=True):
    """The errors that mCE is relative to."""

    name: str
    data: Literal["imagenet", "cifar10"]
    stand_in: bool = False
    source: str
    unit: Literal["percent"]
    errors: dict[str, Number]


class NormalisersFile(_File, frozen=True, kw_only=True):
    """All normalisers."""

    normalisers: tuple[NormaliserData, ...]


# A user's matrix is read with checks that our own files don't need, because tests/ check them. libyaml is ten times as
# fast as PyYAML's own parser.
_FastLoader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_FastLoader):  # type: ignore[misc, valid-type]
    """Leaves scalars as text, for `yaml_nodes` to read."""

    yaml_implicit_resolvers: ClassVar[dict[str, object]] = {}


def read(name: str, kind: type[T]) -> T:
    """Read a file of this folder. Raises InputError with the file and the place in it that the schema refuses."""
    path = FOLDER / name
    try:
        root = yaml.compose(path.read_text("utf-8"), Loader=_Loader)
        return msgspec.convert(yaml_nodes.plain(root) if root else {}, kind, strict=True)
    except msgspec.ValidationError as error:
        raise InputError(path, str(error)) from None
