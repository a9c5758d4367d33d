"""Counts the operations of a network on the meta device: nothing is computed and no memory is used.

    python -m jobs.engine.flops --write experiments    regenerates experiments/flops.json for the matrices there
    python -m jobs.engine.flops < specs.json           counts the runs of a JSON list, a JSON list in the same order

The counter is torch's own (`torch.utils.flop_counter`), which counts convolutions and matrix products.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from experiments import costs, datasets
from experiments.matrix.load import distinct_networks
from experiments.spec import Run, Xent
from jobs.engine.models import build

_IMAGES = 2
"""BatchNorm in training wants more than one image."""


def count(run: Run) -> costs.NetworkCount:
    """Return the cost of the run's network per image, without the head (`experiments.costs` adds it)."""
    info = datasets.info(run.data.name)
    with torch.device("meta"):
        network = build(msgspec.structs.replace(run, objective=Xent(), precision="fp32")).network
        x_BCHW = torch.empty(_IMAGES, info.channels, info.size, info.size)
        flops = FlopCounterMode(display=False)
        with flops, torch.no_grad():
            f_BZ = network(x_BCHW)
        activations, largest = _saved_activations(network, x_BCHW)
    return costs.NetworkCount(
        network=run.network,
        channels=info.channels,
        size=info.size,
        macs=flops.get_total_flops() // (2 * _IMAGES),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        z_dim=f_BZ.shape[1],
        activations=activations // _IMAGES,
        largest=largest // _IMAGES,
    )


def _saved_activations(network: torch.nn.Module, x_BCHW: Tensor) -> tuple[int, int]:
    """Return the elements of all tensors that the forward pass saves for the backward pass, and of the largest one;
    tensors that share memory count once, parameters not at all."""
    parameters = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    saved: dict[int, Tensor] = {}  # holding them keeps their memory from being reused

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in parameters:
            saved.setdefault(storage, tensor)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        network(x_BCHW)
    sizes = [tensor.untyped_storage().nbytes() // tensor.element_size() for tensor in saved.values()]
    return sum(sizes), max(sizes)


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
