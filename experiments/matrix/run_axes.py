"""The axes of a matrix: the fields that tell its runs apart, by which people name them.

A field that a grid names as an axis is one if it varies, the objective and rho always. Of the fields that vary
because a bundle (a variant, an `include`) sets them, only those that tell something new are: where an adversarially
trained run also has another optimiser and schedule, `adversary` says it all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from msgspec import UNSET, Struct

from experiments.matrix.spec_fields import TAG, Path, flatten, schema
from experiments.spec import Run

ALWAYS: frozenset[Path] = frozenset({("objective", TAG), ("objective", "rho")})
_TELLING = ("adversary", "network", "data", "objective", "optimiser")
"""Sections whose fields name a bundle best, in this order; then the others as the spec has them."""


def label_axes(runs: Sequence[Run], named: Collection[Path]) -> list[dict[str, Any]]:
    """For each run its axes under their short names, in the order of the spec."""
    tree = schema(Run)
    columns = _Columns(runs)
    order = {path: index for index, path in enumerate(tree.leaves)}
    found = sorted(_telling(columns, frozenset(named), order), key=order.__getitem__)
    shorts = {path: tree.short(path) for path in found}
    return columns.fragments(shorts)


class _Columns:
    """The leaves of many runs by section. Equal sections are mostly one object, so each is taken apart once."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs
        self._leaves: dict[tuple[str, Any], dict[Path, Any]] = {}
        """By field of the run and the section's id, or the value itself where the field is no section."""
        for name in Run.__struct_fields__:
            for value in {_key(value): value for run in runs for value in (getattr(run, name),)}.values():
                leaves = flatten(value, (name,), unset=True) if isinstance(value, Struct) else [((name,), value)]
                self._leaves[name, _key(value)] = dict(leaves)

    def varied(self) -> list[Path]:
        """The leaves that differ among the runs that have them, and those that always count."""
        values: dict[Path, set[Any]] = {}
        for section in self._leaves.values():
            for path, value in section.items():
                values.setdefault(path, set()).add(value)
        return [path for path, seen in values.items() if len(seen) > 1 or path in ALWAYS]

    def follows(self, path: Path, kept: Sequence[Path]) -> bool:
        """Whether the runs' values of `kept` say what each one's value of `path` is."""
        known: dict[tuple[Any, ...], Any] = {}
        for run in self._runs:
            value = self._value(run, path)
            if known.setdefault(tuple([self._value(run, key) for key in kept]), value) != value:
                return False
        return True

    def fragments(self, shorts: dict[Path, str]) -> list[dict[str, Any]]:
        """For each run its values of these leaves, under these names, in this order."""
        names = list(dict.fromkeys(path[0] for path in shorts))
        parts = {
            key: {short: section[path] for path, short in shorts.items() if section.get(path, UNSET) is not UNSET}
            for key, section in self._leaves.items()
        }
        found = []
        for run in self._runs:
            mine: dict[str, Any] = {}
            for name in names:
                mine.update(parts[name, _key(getattr(run, name))])
            found.append(mine)
        return found

    def _value(self, run: Run, path: Path) -> Any:
        return self._leaves[path[0], _key(getattr(run, path[0]))].get(path)


def _key(value: Any) -> Any:
    return id(value) if isinstance(value, Struct) else value


def _telling(columns: _Columns, named: frozenset[Path], order: dict[Path, int]) -> list[Path]:
    """The varied leaves without those that follow from the others (from the objective alone nothing does)."""
    varied = columns.varied()
    ranks = {name: rank for rank, name in enumerate(_TELLING)}
    kept = [path for path in varied if path in named and path not in ALWAYS]
    rest = [path for path in varied if path not in named and path not in ALWAYS]
    for path in sorted(rest, key=lambda path: (ranks.get(path[0], len(ranks)), order[path])):
        if not columns.follows(path, kept):
            kept.append(path)
    return kept + [path for path in varied if path in ALWAYS]
