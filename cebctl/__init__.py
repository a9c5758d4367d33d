"""What the user types and sees; in a program or a notebook `Study` and `load_model`."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cebctl_command

if TYPE_CHECKING:
    from cebctl.study.study import Study
    from cebctl.trained_model import load_model

__all__ = ["Study", "__version__", "load_model"]
__version__ = "0.1.0"

_HOMES = {"Study": "cebctl.study.study", "load_model": "cebctl.trained_model"}
"""The modules of the names that are imported when they are used: they take long."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _check_own_packages()  # the user may have imported a package of theirs meanwhile
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


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
