"""BatchNorm over all processes: part of a run's identity, and refused where there is nothing to synchronise."""

from __future__ import annotations

import pytest

from experiments.errors import MatrixError

NORMED = "network: {name: wide_resnet, blocks: 1, width: 1, norm: batch}"


def test_synchronised_it_is_another_run(expand) -> None:
    runs = expand(f"grids: [{{objective: xent, {NORMED}}}, {{objective: xent, {NORMED}, batch_norm: sync}}]").runs
    assert runs[0].run_id != runs[1].run_id


@pytest.mark.parametrize(
    ("fields", "text"),
    [
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
