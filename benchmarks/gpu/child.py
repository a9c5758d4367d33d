"""One part of the check, in a process of its own: `python -m benchmarks.gpu.child MODULE:FUNCTION DEVICE SIZE FILE`.

Each result is a JSON line of the file as soon as it is there, so that a crash loses none of those before it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import msgspec


def main(function: str, device: str, size: str, file: str) -> None:
    """Run a part, and write its results."""
    module, _, name = function.partition(":")
    part = getattr(import_module(module), name)
    with Path(file).open("ab", buffering=0) as out:
        for result in part(device, size == "small"):
            out.write(msgspec.json.encode(result) + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
