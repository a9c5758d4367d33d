"""Whether imported weights fit their networks, found out once for a pair of them, in a process that imports torch."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
from collections.abc import Sequence

import msgspec

from cebctl.planning.flop_counts import cache_folder, engine_environment, library_version
from cebctl.submission.pretrained_weights import weights_file
from experiments import numerics
from experiments.atomic_files import write_atomic
from experiments.errors import InputError
from experiments.matrix.planned_run import PlannedRun
from experiments.spec import Part
from jobs.paths import Home


def missing_weights(runs: Sequence[PlannedRun], home: Home) -> list[str]:
    """Return a message for each run whose weights neither the home nor a hub's cache has.

    Raises InputError if weights that are there do not fit the network of their run.
    """
    messages, pairs = [], {}
    for planned in runs:
        run = planned.run
        if not run.weights:
            continue
        file = weights_file(run, home)
        if file is None:
            messages.append(f"{planned.name}: no weights {run.weights[:15]}… here; `cebctl import FILE` takes them in")
        elif not isinstance(run.network, Part):  # to build one of those is to run its code
            marginal = getattr(run.objective, "marginal", None)
            versions = numerics.count_versions(run.network)
            parts = [run.weights, run.network, run.data.name, type(run.objective).__name__, marginal, run.precision]
            key = msgspec.json.encode([*parts, bool(run.epochs), versions, library_version(run.network)])
            checked = cache_folder() / f"fits-{hashlib.sha256(key).hexdigest()[:32]}"
            pairs[checked] = (run, str(file))
    pairs = {checked: pair for checked, pair in pairs.items() if not checked.exists()}
    if pairs:
        _check(list(pairs.values()))
        with contextlib.suppress(OSError):  # then they are checked again
            for checked in pairs:
                checked.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(checked, b"")
    return messages


def _check(pairs: Sequence[object]) -> None:
    process = subprocess.run(
        [sys.executable, "-P", "-m", "jobs.engine.weights_check"],
        input=msgspec.json.encode(pairs), capture_output=True, env=engine_environment(),
    )  # fmt: skip
    if process.returncode:
        lines = process.stderr.decode(errors="replace").strip().splitlines()
        raise InputError("weights", lines[-1] if lines else f"the check ended with {process.returncode}")
