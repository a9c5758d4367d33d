"""Counts the operations of a network on the meta device: nothing is computed and no memory is used.

python -m jobs.engine.flops --write experiments    regenerates experiments/flops.json for the matrices there
python -m jobs.engine.flops < specs.json           counts the runs of a JSON list, a JSON list in the same order
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import torch

from experiments import costs, datasets
from experiments.matrix.load import distinct_networks
from experiments.spec import Run, Xent
from jobs.engine.models import build
from jobs.engine.models.probe import probe


def count(run: Run) -> costs.NetworkCount:
    """Return the cost of the run's network per image, without the head (`experiments.costs` adds it)."""
    info = datasets.info(run.data.name)
    with torch.device("meta"):
        network = build(msgspec.structs.replace(run, objective=Xent(), precision="fp32")).network
    measured = probe(network, info.channels, info.size)
    return costs.NetworkCount(
        network=run.network,
        channels=info.channels,
        size=info.size,
        macs=measured.macs,
        parameters=measured.parameters,
        z_dim=measured.z_dim,
        activations=measured.activations,
        largest=measured.largest,
    )


def main(arguments: list[str]) -> None:
    """Run one of the two commands above."""
    if arguments[:1] == ["--write"]:
        folder = Path(arguments[1])
        table = {costs.count_key(run): count(run) for run in distinct_networks(folder)}
        (folder / "flops.json").write_bytes(costs.encode_counts(list(table.values())))
        return
    runs = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Run])
    sys.stdout.buffer.write(costs.encode_counts([count(run) for run in runs]))


if __name__ == "__main__":
    main(sys.argv[1:])
