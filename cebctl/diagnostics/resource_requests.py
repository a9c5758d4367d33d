"""What the jobs of a matrix request of a cluster, and which nodes have that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from msgspec import structs

from cebctl.diagnostics.findings import Finding, Level
from experiments.matrix.planned_run import Matrix, PlannedRun
from experiments.resources import STAGES, Resources, Stage
from jobs.slurm.cluster_info import Node, parse_megabytes


@dataclass(frozen=True)
class ResourceRequest:
    """The resources that some jobs of a matrix request."""

    source: str
    """The place in the matrix that states them: `m.yaml, resources.train`."""
    resources: Resources
    jobs: int
    """How many jobs request them."""

    @property
    def cpus(self) -> int:
        """Per node."""
        resources = self.resources
        return resources.cpus or max((resources.cpus_per_gpu or 1) * resources.gpus_per_node, 1)

    @property
    def memory(self) -> float:
        """Megabytes per node; 0 where the matrix names none."""
        return parse_megabytes(self.resources.memory) if self.resources.memory else 0.0

    @property
    def job_totals(self) -> dict[str, float]:
        """The amounts that one job requests on all its nodes, by Slurm's names."""
        resources = self.resources
        gpu = f"gres/gpu:{resources.gpu_type}" if resources.gpu_type else "gres/gpu"
        per_node = {"node": 1, "cpu": self.cpus, "mem": self.memory,
                    "gres/gpu": resources.gpus_per_node, gpu: resources.gpus_per_node}  # fmt: skip
        return {name: resources.nodes * amount for name, amount in per_node.items()}

    def finding(self, level: Level, text: str, todo: str = "") -> Finding:
        return Finding("cluster", level, f"{self.source}: {text}", todo)

    def suggest(self, name: str, choices: Iterable[str] | str) -> str:
        """Return the advice to set a field to one of the choices, or to leave it out where there are none."""
        values = choices if isinstance(choices, str) else " or ".join(choices)
        return f"set {name} in {self.source} to {values}" if values else f"leave out {name} in {self.source}"

    def replace(self, **changes: Any) -> ResourceRequest:
        """Return the same request with other resources."""
        return replace(self, resources=structs.replace(self.resources, **changes))

    def can_run_on(self, node: Node) -> bool:
        """Whether a node, when empty, has the resources of one node of the request."""
        has_gpus = self.matching_gpus(node) >= self.resources.gpus_per_node
        return has_gpus and node.cpus >= self.cpus and node.memory >= self.memory

    def matching_gpus(self, node: Node) -> int:
        """Return how many GPUs of the requested type a node has."""
        gpu_type = self.resources.gpu_type
        return node.gpus.get(gpu_type, 0) if gpu_type else sum(node.gpus.values())


def resource_requests(
    matrix: Matrix, stages: Iterable[tuple[PlannedRun, Stage]] | None = None
) -> list[ResourceRequest]:
    """Return the distinct requests of stages of runs; by default, of every stage of every run."""
    if stages is None:
        stages = [(run, stage) for stage in STAGES for run in matrix.runs if stage == "train" or run.benchmarks]
    jobs = Counter((stage, matrix.resources(run, stage)) for run, stage in stages)
    return [
        ResourceRequest(f"{matrix.path}, resources.{stage}", resources, n) for (stage, resources), n in jobs.items()
    ]
