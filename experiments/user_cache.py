"""The folder of a user's caches, outside of any home."""

from __future__ import annotations

import os
from pathlib import Path

from experiments.errors import InputError


def cache_home() -> Path:
    """Return the folder by the XDG rules. Raises InputError for a user without a home folder, as in some containers."""
    if folder := os.environ.get("XDG_CACHE_HOME"):
        return Path(folder)
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        raise InputError("HOME", "is not set, and this user has no entry in passwd", "set HOME") from None
