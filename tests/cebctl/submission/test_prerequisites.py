"""What a submission needs, and a plan says before it: batches that BatchNorm can normalise on each GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cebctl.conftest import Cebctl

NORMED = """
base: {data: digits, network: {name: resnet, depth: 50}, optimiser: adam, epochs: 1, batch: 15}
resources: {train: {gpus_per_node: GPUS}}
grids: [objective: xent]
"""


@pytest.mark.parametrize("command", ["plan", "submit"])
def test_one_value_per_channel_on_a_gpu_is_refused(call: Cebctl, tmp_path: Path, command: str) -> None:
    matrix = tmp_path / "m.yaml"
    matrix.write_text(NORMED.replace("GPUS", "8"))
    answer = call(command, matrix)
    assert answer.code == 2 and answer.err.count("\n") == 1
    assert "one image of a batch of 15 is normalised alone on one of 8 GPUs" in answer.err
    assert "allowed: at most 7 GPUs, or `batch_norm: sync`" in answer.err


def test_two_values_are_planned(call: Cebctl, tmp_path: Path) -> None:
    matrix = tmp_path / "m.yaml"
    matrix.write_text(NORMED.replace("GPUS", "7"))
    assert call("plan", matrix).code == 0
