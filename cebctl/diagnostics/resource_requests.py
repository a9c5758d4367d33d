"""What the jobs of a matrix ask of a cluster, and which of its nodes have that."""

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
class Asked:
    """What some jobs of a matrix ask for."""

    where: str
    """`m.yaml, resources.train`."""
    resources: Resources
    jobs: int

    @property
    def cpus(self) -> int:
        """Per node."""
        wanted = self.resources
        return wanted.cpus or max((wanted.cpus_per_gpu or 1) * wanted.gpus_per_node, 1)

    @property
    def of_a_job(self) -> dict[str, float]:
        """What one job asks for on all its nodes, by Slurm's names; memory in megabytes, 0 where none is named."""
        wanted = self.resources
        gpu = f"gres/gpu:{wanted.gpu_type}" if wanted.gpu_type else "gres/gpu"
        of_a_node = {"node": 1, "cpu": self.cpus, "mem": parse_megabytes(wanted.memory) if wanted.memory else 0.0,
                     "gres/gpu": wanted.gpus_per_node, gpu: wanted.gpus_per_node}  # fmt: skip
        return {name: wanted.nodes * amount for name, amount in of_a_node.items()}

    def finding(self, level: Level, text: str, todo: str = "") -> Finding:
        return Finding("cluster", level, f"{self.where}: {text}", todo)

    def put(self, name: str, to: Iterable[str] | str) -> str:
        """What to do: put one of these values into one of its fields, or none where there is none to choose from."""
        values = to if isinstance(to, str) else " or ".join(to)
        return f"set {name} in {self.where} to {values}" if values else f"leave out {name} in {self.where}"

    def but(self, **changes: Any) -> Asked:
        """The same with other resources."""
        return replace(self, resources=structs.replace(self.resources, **changes))

    def fits(self, node: Node) -> bool:
        """Whether a node, empty, has all that is asked of one."""
        memory = parse_megabytes(self.resources.memory) if self.resources.memory else 0.0
        gpus = self.gpus_of(node) >= self.resources.gpus_per_node
        return gpus and node.cpus >= self.cpus and node.memory >= memory

    def gpus_of(self, node: Node) -> int:
        """How many GPUs of the type that is asked for a node has."""
        kind = self.resources.gpu_type
        return node.gpus.get(kind, 0) if kind else sum(node.gpus.values())


def asked(matrix: Matrix, stages: Iterable[tuple[PlannedRun, Stage]] | None = None) -> list[Asked]:
    """The distinct resources that stages of runs ask for."""
    if stages is None:
        stages = [(run, stage) for stage in STAGES for run in matrix.runs if stage == "train" or run.benchmarks]
    counted = Counter((stage, matrix.resources(run, stage)) for run, stage in stages)
    return [Asked(f"{matrix.path}, resources.{stage}", wanted, n) for (stage, wanted), n in counted.items()]
