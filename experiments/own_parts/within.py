"""The parts of one's own that a run or a benchmark has."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from experiments.spec import OWN, Part


def parts_within(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Part]]:
    """Yield every part within a struct with the path of the field that chooses it, which is () for a part itself."""
    if isinstance(value, Part):
        yield path, value
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            yield from parts_within(getattr(value, name), path if name == OWN else (*path, name))
