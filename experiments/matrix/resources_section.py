"""What a stage of a run asks of the cluster. Never part of a run's identity: it may not change what is learned.

    resources:
      train: {gpus_per_node: 8, gpu_type: a100, cpus_per_gpu: 12, memory: 480G, time: 48:00:00}
      evaluate: {gpus_per_node: 1, time: 8:00:00, retries: {failed: 1}}
      when:                                  # later entries override earlier ones, field by field
        - only: depth = 152, width = 2
          train: {nodes: 4}

A matrix without this section asks for one CPU core of one machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from experiments.errors import Fault, InputError, expected
from experiments.matrix import selection
from experiments.matrix.spec_fields import Path, Value, read_assignments, schema
from experiments.matrix.yaml_nodes import fault_at
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


def text(resources: Resources) -> str:
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


Assigned = Mapping[Path, Any]
"""What a mapping sets, leaf by leaf."""


@dataclass(frozen=True)
class Rules:
    """The section, read: what every run asks for, and what some ask for instead."""

    base: Mapping[Stage, Assigned] = field(default_factory=dict)
    overrides: tuple[tuple[selection.Selection, Mapping[Stage, Assigned]], ...] = ()
    _made: dict[tuple[Stage, tuple[int, ...]], Resources] = field(default_factory=dict, compare=False)

    def of(self, leaves: Mapping[Path, Any], stage: Stage) -> Resources:
        """What a run with these leaves asks for in a stage; equal resources are one object."""
        holding = tuple(i for i, (chosen, _) in enumerate(self.overrides) if chosen.holds(leaves))
        if (stage, holding) not in self._made:
            merged = dict(self.base.get(stage, {}))
            for index in holding:
                merged |= self.overrides[index][1].get(stage, {})
            made = msgspec.convert(_nested(merged), Resources)
            self._made[stage, holding] = next((known for known in self._made.values() if known == made), made)
        return self._made[stage, holding]


def read(node: Node | None, faults: list[Fault]) -> Rules:
    """The rules a `resources` section states; faults are collected."""
    if node is None:
        return Rules()
    if not isinstance(node, MappingNode):
        faults.append(fault_at(node, "resources: expected a mapping of train, evaluate and when"))
        return Rules()
    base = _stages(node, ("when",), faults)
    overrides = []
    for key, value in node.value:
        if key.value == "when":
            overrides = [rule for item in _items(value, faults) if (rule := _override(item, faults))]
    return Rules(base, tuple(overrides))


def _nested(assigned: Assigned) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for path, value in assigned.items():
        section = whole
        for name in path[:-1]:
            section = section.setdefault(name, {})
        section[path[-1]] = value
    return whole


def _override(item: Node, faults: list[Fault]) -> tuple[selection.Selection, Mapping[Stage, Assigned]] | None:
    only = [value for key, value in item.value if key.value == "only"] if isinstance(item, MappingNode) else []
    if not isinstance(item, MappingNode) or not only or not isinstance(only[0], ScalarNode):
        faults.append(fault_at(item, "when: expected `only: a selection` and the resources of some stages"))
        return None
    stages = _stages(item, ("only",), faults)
    try:
        return selection.parse(only[0].value), stages
    except InputError as error:
        faults.append(fault_at(only[0], str(error)))
        return None


def _stages(node: MappingNode, also: tuple[str, ...], faults: list[Fault]) -> dict[Stage, Assigned]:
    found: dict[Stage, Assigned] = {}
    for key, value in node.value:
        if key.value in STAGES:
            values: dict[Path, Value] = read_assignments(schema(Resources), value, (), faults)
            if key.value == "evaluate":
                faults += [
                    fault_at(item.node, f"{'.'.join(path)}: evaluations have no such choice; leave it out")
                    for path, item in values.items()
                    if path[0] == "execution"
                ]
            found[key.value] = {path: item.value for path, item in values.items()}
        elif key.value not in also:
            allowed = (*STAGES, *also)
            faults.append(fault_at(key, f"unknown field {key.value!r} of resources; {expected(allowed, key.value)}"))
    return found


def _items(node: Node, faults: list[Fault]) -> list[Node]:
    if isinstance(node, SequenceNode):
        return list(node.value)
    faults.append(fault_at(node, "when: expected a list"))
    return []
