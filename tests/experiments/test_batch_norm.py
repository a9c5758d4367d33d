"""BatchNorm over all processes: part of a run's identity, and refused where there is nothing to synchronise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from experiments import datasets
from experiments.batch_norm import fewest_values, single_value
from experiments.errors import MatrixError
from experiments.spec import ResNet, WideResNet
from jobs.engine.models import without_weights

NORMED = "network: {name: wide_resnet, blocks: 1, width: 1, norm: batch}"


def test_synchronised_it_is_another_run(expand) -> None:
    runs = expand(f"grids: [{{objective: xent, {NORMED}}}, {{objective: xent, {NORMED}, batch_norm: sync}}]").runs
    assert runs[0].run_id != runs[1].run_id


RESNET = "network: {name: resnet, depth: 50}"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (f"{RESNET}, batch: 1", "batch: BatchNorm has one value per channel: one image of a batch of 1"),
        (f"{RESNET}, batch: 9, replica_batch: 8", "replica_batch: BatchNorm has one value per channel: one image of"),
        (f"{RESNET}, batch: 8, replica_batch: 1", "replica_batch: BatchNorm has one value per channel: one image of"),
        (f"{RESNET}, batch: 1, batch_norm: sync", "batch: BatchNorm has one value per channel"),
        ("batch_norm: sync", "batch_norm: this network has none"),
        ("network: {name: wide_resnet, blocks: 1, width: 1}, batch_norm: sync", "batch_norm: this network has none"),
        (f"{NORMED}, batch_norm: sync, replica_batch: 4", "replica_batch: `batch_norm: sync` takes its"),
        (f"{NORMED}, batch_norm: global", "batch_norm: expected one of sync, got 'global'"),
    ],
)
def test_what_can_not_be_is_named_in_its_place(expand, fields: str, text: str) -> None:
    with pytest.raises(MatrixError) as caught:
        expand(f"grids: [{{objective: xent, {fields}}}]")
    [fault] = caught.value.faults
    assert fault.message.startswith(text) and fault.column > 1


@pytest.mark.parametrize("fields", [f"{NORMED}, batch: 1", f"{RESNET}, batch: 10, replica_batch: 8"])
def test_one_image_of_several_pixels_and_several_of_one_are_enough(expand, fields: str) -> None:
    assert len(expand(f"grids: [{{objective: xent, {fields}}}]").runs) == 1


def test_each_gpu_needs_more_than_one_value(expand) -> None:
    (planned,) = expand(f"grids: [{{objective: xent, {RESNET}, batch: 15}}]").runs
    assert not single_value(planned.run, 7) and "one image of a batch of 15" in single_value(planned.run, 8)


@pytest.mark.parametrize("size", [4, 5, 8, 32, 33, 64, 65, 224])
@pytest.mark.parametrize("network", [ResNet(depth=50), WideResNet(blocks=1, width=1, norm="batch")])
def test_the_fewest_values_are_those_of_the_layers(network: ResNet | WideResNet, size: int) -> None:
    module = without_weights(network, replace(datasets.info("cifar10"), size=size))
    values = []
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_pre_hook(lambda _, inputs: values.append(inputs[0][0, 0].numel()))
    module(torch.zeros(2, 3, size, size, device="meta"))
    assert min(values) == fewest_values(network, size)
