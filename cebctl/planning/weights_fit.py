"""Whether imported weights fit their networks, found out once for a pair of them, in a process that imports torch."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import structs

from cebctl.planning.flop_counts import cache_file, library_version, write_cached
from cebctl.submission.pretrained_weights import weights_file
from experiments import datasets, numerics
from experiments.matrix.planned_run import PlannedRun
from experiments.own_parts.read import OwnPart
from experiments.own_parts.within import parts_within
from experiments.spec import Run, Xent
from jobs import own_parts
from jobs.engine_process import call_engine
from jobs.paths import Home


def missing_weights(runs: Sequence[PlannedRun], home: Home) -> list[str]:
    """Return a message for each run whose weights neither the home nor a hub's cache has.

    Raises InputError as `check_fits` does.
    """
    check_fits([planned.run for planned in runs], home)
    return [
        f"{planned.name}: no weights {planned.run.weights[:15]}… here; `cebctl import FILE` takes them in"
        for planned in runs
        if planned.run.weights and weights_file(planned.run, home) is None
    ]


def check_fits(runs: Iterable[Run], home: Home, parts: Iterable[OwnPart] | None = None) -> None:
    """Raise InputError if weights that are here do not fit the network of their run.

    A network or a marginal of one's own is only checked with its sources, the `parts`: to build one runs its code.
    """
    pairs = {}
    for run in runs:
        file = weights_file(run, home) if run.weights else None
        built = (run.network, getattr(run.objective, "marginal", None))
        if file is not None and (parts is not None or not any(any(parts_within(value)) for value in built)):
            pairs[cache_file(_key(run, file))] = (run, str(file))
    pairs = {checked: pair for checked, pair in pairs.items() if not checked.exists()}
    if not pairs:
        return
    with tempfile.TemporaryDirectory(prefix="cebctl-") as folder:
        own_parts.write_sources(own_parts.snapshot_sources(parts or ()), Path(folder))
        call_engine("weights", "weights_check", folder, request=msgspec.json.encode(list(pairs.values())))
    for checked in pairs:
        write_cached(checked, True)


def _key(run: Run, file: Path) -> object:
    """Return everything that the fit of a run's weights depends on."""
    objective = run.objective if isinstance(run.objective, Xent) else structs.replace(run.objective, rho=0.0)
    network = [run.network, numerics.count_versions(run.network), library_version(run.network)]
    heads = [objective, run.precision, bool(run.epochs)]
    info, stat = datasets.info(run.data.name), file.stat()
    images = [info.channels, info.size, info.classes, info.class_names]
    return ["fits", run.weights, stat.st_size, stat.st_mtime_ns, network, heads, images]
