"""The names of runs as people type them: almost right, without the seed, or shared by runs of several matrices."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from experiments.matrix.planned_run import format_value
from experiments.matrix.spec_fields import Path, schema
from experiments.spec import Run

MAX_LISTED = 6
"""The names that a list has before it ends in an ellipsis."""
_MAX_FIELDS = 4
"""The fields that distinguish runs of one name."""

Spec = Mapping[str, Any]
"""The spec of a run, as plain values."""


def without_seed(name: str) -> str:
    """Return `ceb rho=3` for `ceb rho=3 seed=0`."""
    return " ".join(part for part in name.split() if not part.startswith("seed="))


def has_word_prefix(name: str, text: str) -> bool:
    """Whether the name begins with whole words of the text: `xent seed=0` with `xent`."""
    return bool(text.strip()) and f"{name} ".startswith(f"{text.strip()} ")


def join_truncated(names: Collection[str]) -> str:
    """Return the first names, joined, and an ellipsis where there are more."""
    return ", ".join([*list(names)[:MAX_LISTED], *["…"] * (len(names) > MAX_LISTED)])


def suggestion(text: str, names: Collection[str]) -> str:
    """Return `did you mean 'xent'?`, or the first names where none is close."""
    if close := difflib.get_close_matches(text, dict.fromkeys(names), n=3):
        return f"did you mean {' or '.join(map(repr, close))}?"
    return f"there are {join_truncated(dict.fromkeys(names))}" if names else ""


def disambiguate(runs: Mapping[str, tuple[str, Spec]]) -> dict[str, str]:
    """Return a name for each run, by id: its own, with the fields in which runs of that name differ.

    An example is `ceb rho=3, epochs=6`.
    """
    by_name: dict[str, dict[str, dict[Path, Any]]] = defaultdict(dict)
    for run_id, (label, spec) in runs.items():
        by_name[label][run_id] = _leaves(spec)
    return {
        run_id: ", ".join([label, *_differing_fields(leaves, namesakes.values())])
        for label, namesakes in by_name.items()
        for run_id, leaves in namesakes.items()
    }


def _differing_fields(leaves: Mapping[Path, Any], namesakes: Collection[Mapping[Path, Any]]) -> list[str]:
    tree = schema(Run)
    paths = dict.fromkeys(path for spec in namesakes for path in spec)
    differing = [path for path in paths if any(spec.get(path) != leaves.get(path) for spec in namesakes)]
    fields = [f"{tree.short(path)}={format_value(leaves[path])}" for path in differing if path in leaves]
    return [*fields[:_MAX_FIELDS], *["…"] * (len(fields) > _MAX_FIELDS)]


def _leaves(spec: Spec, prefix: Path = ()) -> dict[Path, Any]:
    """Return the values of a spec by the paths of their fields."""
    leaves: dict[Path, Any] = {}
    for key, value in spec.items():
        path = (*prefix, key)
        leaves |= _leaves(value, path) if isinstance(value, Mapping) else {path: value}
    return leaves
