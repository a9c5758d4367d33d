"""The names of runs, as people type them: nearly right, without the seed, or shared by runs of several matrices."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from experiments.matrix.planned_run import format_value
from experiments.matrix.spec_fields import Path, schema
from experiments.spec import Run

MAX_LISTED = 6
"""How many are listed before the rest is a dot dot dot."""
_FIELDS = 4
"""How many fields tell runs of one name apart, of those in which they differ."""

Spec = Mapping[str, Any]
"""A run's, as plain values."""


def without_seed(name: str) -> str:
    """`ceb rho=3` for `ceb rho=3 seed=0`."""
    return " ".join(part for part in name.split() if not part.startswith("seed="))


def has_word_prefix(name: str, text: str) -> bool:
    """Whether the name begins with whole words of the text: `xent seed=0` with `xent`."""
    return bool(text.strip()) and f"{name} ".startswith(f"{text.strip()} ")


def join_truncated(names: Collection[str]) -> str:
    """The first few, and whether there are more."""
    return ", ".join([*list(names)[:MAX_LISTED], *["…"] * (len(names) > MAX_LISTED)])


def suggestion(text: str, names: Collection[str]) -> str:
    """`did you mean 'xent'?`; where nothing is close, the first few there are."""
    if close := difflib.get_close_matches(text, dict.fromkeys(names), n=3):
        return f"did you mean {' or '.join(map(repr, close))}?"
    return f"there are {join_truncated(dict.fromkeys(names))}" if names else ""


def disambiguate(runs: Mapping[str, tuple[str, Spec]]) -> dict[str, str]:
    """By id, what the run is called; where several are called so, with the fields in which their specs differ:
    `ceb rho=3, epochs=6`."""
    alike: dict[str, dict[str, dict[Path, Any]]] = defaultdict(dict)
    for run_id, (label, spec) in runs.items():
        alike[label][run_id] = _leaves(spec)
    return {
        run_id: ", ".join([label, *_differing(leaves, same.values())])
        for label, same in alike.items()
        for run_id, leaves in same.items()
    }


def _differing(leaves: Mapping[Path, Any], same: Collection[Mapping[Path, Any]]) -> list[str]:
    tree = schema(Run)
    paths = dict.fromkeys(path for one in same for path in one)
    apart = [path for path in paths if any(one.get(path) != leaves.get(path) for one in same)]
    known = [f"{tree.short(path)}={format_value(leaves[path])}" for path in apart if path in leaves]
    return [*known[:_FIELDS], *["…"] * (len(known) > _FIELDS)]


def _leaves(spec: Spec, prefix: Path = ()) -> dict[Path, Any]:
    """The fields of a spec by their paths."""
    found: dict[Path, Any] = {}
    for key, value in spec.items():
        path = (*prefix, key)
        found |= _leaves(value, path) if isinstance(value, Mapping) else {path: value}
    return found
