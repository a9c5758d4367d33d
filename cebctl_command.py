"""The entry point of the console script `cebctl`, which imports the four packages from beside this file.

A user's own `cebctl/`, `experiments/`, `jobs/` or `store/` on PYTHONPATH comes before them on `sys.path`. So this
module is outside of all four, under a name that nobody else's code has.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

PACKAGES = ("cebctl", "experiments", "jobs", "store")
ROOT = Path(__file__).absolute().parent


class _OwnPackages:
    """The finder of the four packages, and of nothing else."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [str(ROOT)]) if name in PACKAGES else None


def import_own_packages() -> None:
    """Have every later import of the four packages find those beside this file, whatever stands on `sys.path`."""
    if _OwnPackages not in sys.meta_path:
        sys.meta_path.insert(0, _OwnPackages)


def main() -> None:
    """Run the command line and exit."""
    import_own_packages()
    from cebctl.app import main

    main()
