"""What a stage of a run asks of the cluster, and how training is computed. Never part of a run's identity."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from experiments.spec import Count

Stage = Literal["train", "evaluate"]
STAGES: tuple[Stage, ...] = get_args(Stage)

# What reaches sbatch is matched whole, so that no value can smuggle in a second option or a line.
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
Directive = Annotated[
    str,
    Meta(
        pattern=rf"\A(?!({'|'.join(OWN_OPTIONS)})(=|\Z))[a-z][a-z0-9-]*(=[A-Za-z0-9_./:,@%+-]+)?\Z",
        description="an option such as mail-type=END, and none that cebctl sets itself",
    ),
]
Line = Annotated[str, Meta(pattern=r"\A[^\n\r\x00]{1,1000}\Z", description="one line of shell")]


class Retries(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often the cluster starts a stage again by itself, for each reason; then the run has failed."""

    preempted: Annotated[int, Meta(ge=0)] | Literal["unlimited"] = "unlimited"
    """Somebody else needed the node."""
    timeout: Annotated[int, Meta(ge=0)] = 10
    """The time limit was reached: it goes on from its checkpoint."""
    node_failure: Annotated[int, Meta(ge=0)] = 3
    """It vanished without a word, as it does with its node."""
    failed: Annotated[int, Meta(ge=0)] = 0
    """It ended by an error or was killed. A NaN, a loss that exploded and wrong input are never tried again."""


class Execution(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How training is computed, as far as nothing but rounding depends on it. The defaults are what was the quickest
    on a CPU (`benchmarks/README.md`); for a GPU none has been measured.

    Not part of a run's identity, as the kind of GPU is not; `provenance.json` says how the last attempt was. An attempt
    repeats another bit for bit only with the same settings.
    """

    compile: Literal["off", "default", "reduce-overhead"] = "off"
    """The network by torch.compile, in this mode of it; `reduce-overhead` records CUDA graphs, for GPUs alone."""
    channels_last: bool | None = None
    """Images in memory with their channels last; null: on a CPU, and on a GPU in bf16 and tf32."""
    update: Literal["fused", "foreach", "for-loop"] = "fused"
    """The optimiser's step: one kernel for all parameters, one for each operation on all, or parameter by parameter."""


class Resources(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stage of one run, whole: a container of `nodes` machines. Locally only the counts matter."""

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
        """Over all nodes."""
        return self.nodes * self.gpus_per_node


def format_resources(resources: Resources) -> str:
    """Resources in words: `1 node x 8 a100, 48:00:00, partition gpu`."""
    nodes = f"{resources.nodes} node{'s' * (resources.nodes > 1)}"
    cores = resources.cpus or 1
    gpus = f"{resources.gpus_per_node} {resources.gpu_type or 'GPU'}"
    parts = [f"{nodes} x {gpus if resources.gpus_per_node else f'{cores} core' + 's' * (cores > 1)}"]
    parts += [value for value in (resources.memory, resources.time) if value]
    parts += [f"{key} {value}" for key in ("partition", "qos", "account", "constraint", "reservation")
              if (value := getattr(resources, key))]  # fmt: skip
    chosen, usual = msgspec.structs.asdict(resources.execution), msgspec.structs.asdict(Execution())
    parts += [f"{key} {value}" for key, value in chosen.items() if value != usual[key]]
    return ", ".join(parts)
