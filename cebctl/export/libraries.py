"""The import of libraries that only an export needs, and that are optional extras."""

from __future__ import annotations

import importlib
from typing import Any

from experiments.errors import InputError


def library(module: str, extra: str) -> Any:
    """Import a module of a library. Raises InputError with the name of the extra if it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        name = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != name:
            raise
        raise InputError(
            f"--to {extra}", f"needs the package {name}", f"install the extra: `pip install -e '.[{extra}]'`"
        ) from None
