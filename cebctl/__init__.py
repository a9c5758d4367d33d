"""What the user types and sees."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import cebctl_command

__version__ = "0.1.0"


def _check_own_packages() -> None:
    """Raise ImportError, which names the place, if `experiments`, `jobs` or `store` are somebody else's here."""
    for name in cebctl_command.PACKAGES:
        source = sys.modules.get(name) or find_spec(name)
        file = Path(getattr(source, "__file__", None) or getattr(source, "origin", None) or "")
        if file.resolve() != (cebctl_command.ROOT / name / "__init__.py").resolve():
            place = file.parent if file.name == "__init__.py" else file
            remedy = "rename it, or keep it out of the script's folder and PYTHONPATH"
            raise ImportError(f"{place}: hides the package {name!r} of cebctl; {remedy}", name=name, path=str(place))


def _is_run_by_name() -> bool:
    """Return whether this is `python -m cebctl…`: `argv` begins with -m until that module is found."""
    return sys.argv[:1] == ["-m"] and sys.orig_argv[-len(sys.argv)].removeprefix("-m").split(".")[0] == "cebctl"


if _is_run_by_name():
    cebctl_command.import_own_packages()
_check_own_packages()
