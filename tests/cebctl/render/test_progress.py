"""The progress of a running job in words."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from cebctl.render.status_view import describe_progress
from store.row_types import AttemptRow


def row(**values: Any) -> AttemptRow:
    return AttemptRow(**dict.fromkeys(field.name for field in fields(AttemptRow)) | {"step": 6, "steps": 24} | values)


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (None, "starting"),
        (row(epoch=1.5, epochs=6, activity="training", images_per_second=4210.4), "epoch 1.5/6, 4,210 img/s"),
        (row(activity="clean"), "clean 25%"),
        (
            row(epoch=1.5, epochs=6, activity="writing the checkpoint of step 5 for 75 s"),
            "epoch 1.5/6, writing the checkpoint of step 5 for 75 s",
        ),
    ],
)
def test_what_holds_a_training_up_is_said(job: AttemptRow | None, words: str) -> None:
    assert describe_progress(job) == words
