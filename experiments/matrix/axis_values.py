"""Read one axis of a grid or of a benchmark's parameters: a list, a range or a single value."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from experiments.errors import Fault
from experiments.matrix import yaml_nodes
from experiments.matrix.spec_fields import Path, Schema, Value, read_field
from experiments.matrix.yaml_nodes import fault_at

MAX_RUNS = 200_000
"""No axis, grid or matrix has more values or runs than this."""

_RANGE = {"from", "to", "by"}


def read_axis(tree: Schema, path: Path, name: str, node: Node, faults: list[Fault]) -> list[dict[Path, Value]]:
    """Return the values of one axis, each as the leaves that it sets, and add its faults to `faults`."""
    if isinstance(node, MappingNode) and {key.value for key, _ in node.value} == _RANGE:
        return [read_field(tree, path, item, faults) for item in range_values(node, name, faults)]
    if isinstance(node, SequenceNode):
        if not node.value:
            faults.append(fault_at(node, f"{name}: an axis needs at least one value"))
        return [read_field(tree, path, item, faults) for item in node.value]
    return [read_field(tree, path, node, faults)]


def range_values(node: MappingNode, name: str, faults: list[Fault]) -> Iterator[ScalarNode]:
    """Yield the values of `{from, to, by}`, both ends included, stepped exactly in decimals."""
    bounds: dict[str, Decimal] = {}
    for key, value in node.value:
        number = yaml_nodes.plain(value)
        if isinstance(number, bool) or not isinstance(number, int | float):
            faults.append(fault_at(value, f"{name}: {key.value} of a range: expected a number, got {number!r}"))
            return
        bounds[key.value] = Decimal(str(value.value))
    step, distance = bounds["by"], bounds["to"] - bounds["from"]
    if step == 0 or (distance and (distance > 0) != (step > 0)):
        wrong = f"a range from {bounds['from']} to {bounds['to']} by {step} never ends"
        faults.append(fault_at(node, f"{name}: {wrong}"))
        return
    count = int(distance / step) + 1
    if count > MAX_RUNS:
        faults.append(fault_at(node, f"{name}: a range of {count:,} values; at most {MAX_RUNS:,} runs"))
        return
    for index in range(count):
        text = str(bounds["from"] + index * step)
        yield ScalarNode(yaml_nodes.STRING, text, node.start_mark, node.end_mark)
