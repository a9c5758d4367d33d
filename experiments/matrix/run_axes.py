"""Choose the axes of a matrix: the fields that tell its runs apart and give them their names.

The objective and rho are always axes, and so is a field that varies and that a grid names. Of the other fields that
vary, because a variant or an `include` sets them, only those are axes that tell runs apart which no other axis does:
where an adversarially trained run also has another optimiser and schedule, `adversary` says enough.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from msgspec import UNSET, Struct

from experiments.matrix.spec_fields import TAG, Path, Schema, flatten
from experiments.spec import Run

ALWAYS: frozenset[Path] = frozenset({("objective", TAG), ("objective", "rho")})
_BEST_SECTIONS = ("adversary", "network", "data", "objective", "optimiser")
"""The sections whose fields describe a variant best, in this order; the others follow in the order of the spec."""


def label_axes(runs: Sequence[Run], axis_paths: Collection[Path], tree: Schema) -> list[dict[str, Any]]:
    """Return for each run its axes under their short names, in the order of the spec.

    `axis_paths` are the fields that grids name as axes.
    """
    columns = _Columns(runs)
    sections = list(dict.fromkeys(path[0] for path in tree.leaves))  # the fields of parts are behind all others
    order = {path: sections.index(path[0]) * len(tree.leaves) + index for index, path in enumerate(tree.leaves)}
    paths = sorted(_choose_axes(columns, frozenset(axis_paths), order), key=order.__getitem__)
    return columns.select({path: tree.short(path) for path in paths})


class _Columns:
    """The leaves of many runs by section. Equal sections are mostly one object, and each is flattened once."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs
        self._leaves: dict[tuple[str, Any], dict[Path, Any]] = {}
        """By the run's field and the id of its section; of a field that is no section, the value itself."""
        for name in Run.__struct_fields__:
            for value in {_key(value): value for run in runs for value in (getattr(run, name),)}.values():
                leaves = flatten(value, (name,), unset=True) if isinstance(value, Struct) else [((name,), value)]
                self._leaves[name, _key(value)] = dict(leaves)

    def varied(self) -> list[Path]:
        """Return the leaves that differ among the runs that have them, and those that are always axes."""
        values: dict[Path, set[Any]] = {}
        for section in self._leaves.values():
            for path, value in section.items():
                values.setdefault(path, set()).add(value)
        return [path for path, distinct in values.items() if len(distinct) > 1 or path in ALWAYS]

    def is_determined(self, path: Path, by: Sequence[Path]) -> bool:
        """Return whether runs with equal values of the leaves `by` have equal values of `path`."""
        values: dict[tuple[Any, ...], Any] = {}
        for run in self._runs:
            value = self._value(run, path)
            if values.setdefault(tuple([self._value(run, other) for other in by]), value) != value:
                return False
        return True

    def select(self, shorts: dict[Path, str]) -> list[dict[str, Any]]:
        """Return for each run its values of these leaves, under their short names, in this order."""
        names = list(dict.fromkeys(path[0] for path in shorts))
        parts = {
            key: {short: section[path] for path, short in shorts.items() if section.get(path, UNSET) is not UNSET}
            for key, section in self._leaves.items()
        }
        labels = []
        for run in self._runs:
            axes: dict[str, Any] = {}
            for name in names:
                axes.update(parts[name, _key(getattr(run, name))])
            labels.append(axes)
        return labels

    def _value(self, run: Run, path: Path) -> Any:
        return self._leaves[path[0], _key(getattr(run, path[0]))].get(path)


def _key(value: Any) -> Any:
    # The runs hold their sections, so that no id is used again.
    return id(value) if isinstance(value, Struct) else value


def _choose_axes(columns: _Columns, axis_paths: frozenset[Path], order: dict[Path, int]) -> list[Path]:
    """Return the varied leaves without those that follow from the others."""
    varied = columns.varied()
    ranks = {name: rank for rank, name in enumerate(_BEST_SECTIONS)}
    chosen = [path for path in varied if path in axis_paths and path not in ALWAYS]
    candidates = [path for path in varied if path not in axis_paths and path not in ALWAYS]
    for path in sorted(candidates, key=lambda path: (ranks.get(path[0], len(ranks)), order[path])):
        if not columns.is_determined(path, chosen):
            chosen.append(path)
    # Last, because a field that follows from the objective or rho alone still belongs in a name.
    return chosen + [path for path in varied if path in ALWAYS]
