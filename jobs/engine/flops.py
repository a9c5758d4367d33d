"""Counts the operations of a network on the meta device: nothing is computed and no memory is used.

python -m jobs.engine.flops --write experiments    regenerates experiments/flops.json for the matrices there
python -m jobs.engine.flops < specs.json           counts the runs of a JSON list, a JSON list in the same order
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from experiments import costs, datasets
from experiments.errors import CebctlError
from experiments.matrix.load import distinct_networks
from experiments.spec import LibraryNetwork, Part, Run
from jobs.engine.models import without_weights
from jobs.engine.models.probe import probe


def count(run: Run) -> costs.NetworkCount:
    """Return the cost of the run's network per image, without the head (`experiments.costs` adds it)."""
    info = datasets.info(run.data.name)
    measured = probe(without_weights(run.network, info), info.channels, info.size)
    return costs.NetworkCount(
        network=run.network,
        channels=info.channels,
        size=info.size,
        macs=measured.macs,
        parameters=measured.parameters,
        z_dim=measured.z_dim,
        activations=measured.activations,
        largest=measured.largest,
        batch_norm=measured.batch_norm if isinstance(run.network, LibraryNetwork | Part) else msgspec.UNSET,
    )


def main(arguments: list[str]) -> None:
    """Run one of the two commands above."""
    if arguments[:1] == ["--write"]:
        folder = Path(arguments[1])
        table = {costs.count_key(run): count(run) for run in distinct_networks(folder)}
        (folder / "flops.json").write_bytes(costs.encode_counts(list(table.values())))
        return
    runs = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Run])
    try:
        sys.stdout.buffer.write(costs.encode_counts([count(run) for run in runs]))
    except CebctlError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(sys.argv[1:])
