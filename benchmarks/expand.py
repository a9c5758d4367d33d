"""Expanding 10,000 configurations: ours against dora, seml and the check that hydra makes of every sweep.

    python benchmarks/expand.py [--runs 10000] [--hydra 100] [--rounds 3]

The same product of four axes over the same fields, CPU seconds in one process, in turn; a peer that is not installed is
named. The least is that of `plan.py`: the product, canonical JSON of each, SHA-256. Ours reads the matrix, resolves and
checks every field and gives ids by content (`load`); dora parses every experiment's arguments, gives it a signature and
looks for its job (`Launcher`, as `dora grid` does); seml generates the configurations and their hashes
(`generate_configs`, `make_hash`: `seml add` without its database and without sacred's own resolution); hydra composes
every job's configuration before it launches one (`validate_batch_is_legal`), which takes so long that a hundred stand
for all: the ratio is per configuration.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from measure import Ratio, head, in_turn, row, seconds, version
from plan import MATRIX, RUNS_PER_RHO, yardstick

from experiments.matrix.load import load

FIXED: dict[str, Any] = {
    "data": "cifar10", "network": "wide_resnet", "blocks": 4, "width": 10, "optimiser": "adam", "epochs": 9,
    "batch": 100, "weight_decay": 0.0, "precision": "fp32", "marginal_lr": 0.01,
}  # fmt: skip
Expand = Callable[[], int]
"""How many distinct configurations it found."""


def main() -> None:
    """A table row for ours and for each peer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10_000, help=f"a multiple of {RUNS_PER_RHO}")
    parser.add_argument("--hydra", type=int, default=100, help="configurations for hydra's check")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ways: dict[str, tuple[Expand, int]] = {"ours": (_ours(folder, asked.runs), asked.runs)}
        ways["the least there is to do"] = (lambda: yardstick(asked.runs), asked.runs)
        if version("dora-search"):
            ways["dora"] = (_dora(folder, asked.runs), asked.runs)
        if version("seml"):
            ways["seml"] = (_seml(folder, asked.runs), asked.runs)
        if version("hydra-core"):
            ways["hydra's check"] = (_hydra(folder, asked.hydra), asked.hydra)
        for way, count in ways.values():
            assert (found := way()) == count, f"{found} distinct configurations instead of {count}"
        gc.collect()
        gc.freeze()  # what all these libraries hold at rest: no way is to pay for the collector's looking at another's
        timed = in_turn([lambda way=way: seconds(way) for way, _ in ways.values()], asked.rounds, before=0)
    each = {
        name: [spent / count for spent in spents]
        for (name, (_, count)), spents in zip(ways.items(), timed, strict=True)
    }
    head("way", "configurations", "µs of CPU each", "it over ours")
    for name in ("ours", "the least there is to do", "dora", "seml", "hydra's check"):
        if name not in ways:
            row(name, "not installed", "", "")
            continue
        micro = Ratio.around([1e6 * one for one in each[name]]).seconds()
        row(name, f"{ways[name][1]:,}", micro, Ratio.of(each[name], each["ours"]) if name != "ours" else "")


def _axes(runs: int) -> dict[str, list[Any]]:
    return {
        "objective": ["ceb", "vib"],
        "rho": list(range(1, 1 + math.ceil(runs / RUNS_PER_RHO))),
        "lr": [1e-3, 1e-2],
        "seed": list(range(25)),
    }


def _product(runs: int) -> list[dict[str, Any]]:
    axes = _axes(runs)
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())][:runs]


def _ours(folder: Path, runs: int) -> Expand:
    path = folder / "large.yaml"
    path.write_text(MATRIX.format(rhos=runs // RUNS_PER_RHO))
    return lambda: len({run.run_id for run in load(path).runs})


def _dora(folder: Path, runs: int) -> Expand:
    from dora.conf import DoraConfig, SlurmConfig
    from dora.explore import Herd, Launcher
    from dora.main import ArgparseMain
    from dora.shep import Shepherd

    parser = argparse.ArgumentParser()
    for name, value in (FIXED | _product(1)[0]).items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    shepherd = Shepherd(ArgparseMain(main, DoraConfig(dir=folder / "dora"), parser))
    chosen = _product(runs)

    def expand() -> int:
        herd = Herd()
        launcher = Launcher(shepherd, SlurmConfig(), herd).bind(FIXED)
        for values in chosen:
            launcher(values)
        return len(herd.sheeps)

    return expand


def _seml(folder: Path, runs: int) -> Expand:
    from seml.experiment.config import generate_configs
    from seml.utils import make_hash

    path = folder / "seml.yaml"
    grid = {name: {"type": "choice", "options": options} for name, options in _axes(runs).items()}
    path.write_text(yaml.safe_dump({"fixed": FIXED, "grid": grid}))

    def expand() -> int:
        return len({make_hash(config) for config in generate_configs(yaml.safe_load(path.read_text()))})

    return expand


def _hydra(folder: Path, runs: int) -> Expand:
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.plugins.sweeper import Sweeper
    from hydra.types import RunMode

    (folder / "hydra").mkdir()
    (folder / "hydra" / "config.yaml").write_text(yaml.safe_dump(FIXED | _product(1)[0]))
    batch = [[f"{name}={value}" for name, value in values.items()] for values in _product(runs)]

    def expand() -> int:
        with initialize_config_dir(str(folder / "hydra"), version_base=None):
            loader = GlobalHydra.instance().config_loader()
            master = loader.load_configuration("config", [], RunMode.MULTIRUN)
            sweeper = SimpleNamespace(config=master, config_loader=loader, hydra_context=None)
            Sweeper.validate_batch_is_legal(sweeper, batch)
        return len(batch)

    return expand


if __name__ == "__main__":
    main()
