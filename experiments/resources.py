"""The requests of one stage to the cluster, and the settings by which training is computed.

They are never part of a run's identity, because they may not change the trained network.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from experiments.spec import Count

Stage = Literal["train", "evaluate"]
STAGES: tuple[Stage, ...] = get_args(Stage)

# Patterns match the whole value that sbatch gets, so that none can smuggle in a second option or a line.
Name = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.+:-]{0,63}\Z", description="a name without spaces")]
Names = Annotated[
    str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.,+:-]{0,255}\Z", description="names, with commas and no spaces")
]
Memory = Annotated[str, Meta(pattern=r"\A[1-9][0-9]{0,8}[MGT]\Z", description="an amount such as 64G")]
Time = Annotated[
    str,
    Meta(pattern=r"\A([0-9]{1,3}-)?[0-9]{1,3}:[0-5][0-9]:[0-5][0-9]\Z", description="a time such as 2-12:00:00"),
]
Constraint = Annotated[
    str, Meta(pattern=r"\A[A-Za-z0-9_.&|*()\[\],!-]{1,255}\Z", description="features such as a100&nvlink")
]
OWN_OPTIONS = (
    "array", "chdir", "dependency", "error", "export", "job-name", "kill-on-invalid-dep", "open-mode", "output",
    "parsable", "requeue", "no-requeue", "signal", "test-only", "wait", "wrap",
)  # fmt: skip
"""The sbatch options that only `jobs.slurm.sbatch` sets: with another value a run could be lost."""
_BY_FIELDS = {
    "nodes": "nodes",
    "ntasks": "nodes and gpus_per_node",
    "ntasks-per-node": "gpus_per_node",
    "cpus-per-task": "cpus",
    "gpus-per-node": "gpus_per_node",
    "gpus": "nodes and gpus_per_node",
    "time": "time",
}
REFUSED_OPTIONS = {
    **{option: f"set {fields} beside `directives`" for option, fields in _BY_FIELDS.items()},
    "clusters": "name the other cluster's slurm.conf in SLURM_CONF, so that its queue is asked too",
    **dict.fromkeys(("help", "usage", "version"), "leave it out: with it sbatch submits nothing"),
}
"""The sbatch options that no directive of a matrix may set, with the way out. Journals may hold them."""
Directive = Annotated[
    str,
    Meta(
        pattern=rf"\A(?!({'|'.join(OWN_OPTIONS)})(=|\Z))[a-z][a-z0-9-]*(=[A-Za-z0-9_./:,@%+\[\]-]+)?\Z",
        description="an option such as mail-type=END, and none that cebctl sets itself",
    ),
]
Line = Annotated[str, Meta(pattern=r"\A[^\n\r\x00]{1,1000}\Z", description="one line of shell")]


class Retries(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The number of times that a stage is started again, by the reason of its end; after that the run has failed."""

    preempted: Annotated[int, Meta(ge=0)] | Literal["unlimited"] = "unlimited"
    """Another job needed the node."""
    timeout: Annotated[int, Meta(ge=0)] = 10
    """The time limit was reached. The stage goes on from its checkpoint."""
    node_failure: Annotated[int, Meta(ge=0)] = 3
    """The job vanished without a record of its end, as it does when its node fails."""
    failed: Annotated[int, Meta(ge=0)] = 0
    """The stage ended by an error or was killed. A NaN, a diverged loss and wrong input are never tried again."""


class Execution(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the computation of training that change nothing but rounding. The defaults were the fastest on a CPU
    (`benchmarks/README.md`); on a GPU nothing has been measured.

    They are no part of a run's identity, as the model of GPU is not; `provenance.json` has those of the last attempt.
    Two attempts are equal bit for bit only with the same settings.
    """

    compile: Literal["off", "default", "reduce-overhead"] = "off"
    """The network by torch.compile, in this mode of it; `reduce-overhead` records CUDA graphs, for GPUs alone."""
    channels_last: bool | None = None
    """Images in memory with their channels last; null: on a CPU, and on a GPU in bf16 and tf32."""
    update: Literal["fused", "foreach", "for-loop"] = "fused"
    """The optimiser's step: one kernel for all parameters, one for each operation on all, or parameter by parameter."""


class Resources(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request of one stage of one run, on `nodes` machines. On one machine only the counts matter."""

    partition: Names | None = None
    account: Name | None = None
    qos: Name | None = None
    reservation: Name | None = None
    nodes: Count = 1
    gpus_per_node: Annotated[int, Meta(ge=0, le=64)] = 0
    """0: the stage runs on CPU cores."""
    gpu_type: Name | None = None
    """Slurm's name of the GPU; the first part that `cebctl plan` knows (a100-80gb, h100, …) tells it the memory."""
    cpus: Count | None = None
    """CPU cores per node; null: as many as `cpus_per_gpu` says, else one."""
    cpus_per_gpu: Count | None = None
    memory: Memory | None = None
    """Per node."""
    time: Time | None = None
    """Of one attempt: [days-]hours:minutes:seconds."""
    constraint: Constraint | None = None
    directives: tuple[Directive, ...] = ()
    """Further sbatch options, without the two dashes."""
    setup: tuple[Line, ...] = ()
    """Lines of shell run before the job, such as `module load cuda`."""
    retries: Retries = Retries()
    execution: Execution = Execution()
    """Of training alone."""

    @property
    def gpus(self) -> int:
        """Return the number of GPUs over all nodes."""
        return self.nodes * self.gpus_per_node


def format_resources(resources: Resources) -> str:
    """Return resources in words: `1 node x 8 a100, 48:00:00, partition gpu`."""
    nodes = f"{resources.nodes} node{'s' * (resources.nodes > 1)}"
    cores = resources.cpus or 1
    gpus = f"{resources.gpus_per_node} {resources.gpu_type or 'GPU'}"
    parts = [f"{nodes} x {gpus if resources.gpus_per_node else f'{cores} core' + 's' * (cores > 1)}"]
    parts += [value for value in (resources.memory, resources.time) if value]
    parts += [f"{key} {value}" for key in ("partition", "qos", "account", "constraint", "reservation")
              if (value := getattr(resources, key))]  # fmt: skip
    settings, defaults = msgspec.structs.asdict(resources.execution), msgspec.structs.asdict(Execution())
    parts += [f"{key} {value}" for key, value in settings.items() if value != defaults[key]]
    return ", ".join(parts)
