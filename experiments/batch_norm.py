"""What `Run.batch_norm` can be asked for; what contradicts it is refused before anything is submitted."""

from __future__ import annotations

from experiments.spec import Network, ResNet, Run, WideResNet


def has_batch_norm(network: Network) -> bool:
    """Whether the network normalises by statistics of the batch."""
    return isinstance(network, ResNet) or (isinstance(network, WideResNet) and network.norm == "batch")


def problem(run: Run) -> tuple[str, str] | None:
    """The field that contradicts another, and in words what is wrong and what is allowed."""
    if not run.batch_norm:
        return None
    if not has_batch_norm(run.network):
        return "batch_norm", "batch_norm: this network has none; leave it out"
    if run.replica_batch:
        wrong = "replica_batch: `batch_norm: sync` takes its statistics over the whole batch at once"
        return "replica_batch", f"{wrong}; leave one of the two out"
    return None
