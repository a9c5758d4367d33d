"""Files of published data sets: the published bytes, or one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from experiments.datasets import info
from experiments.errors import InputError
from jobs.datasets.dataset_status import dataset_status
from jobs.engine.data.verified_files import read_verified


@pytest.mark.parametrize("kind", ["named pipe", "device"])
def test_a_file_that_is_none_is_not_read(tmp_path: Path, kind: str) -> None:
    cifar10 = info("cifar10")
    path = tmp_path / cifar10.files[0].path
    path.parent.mkdir(parents=True)
    if kind == "device":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)
    with pytest.raises(InputError, match=f"it is a {kind}, not a file"):
        read_verified(tmp_path, cifar10.files[0], cifar10)
    assert dataset_status("cifar10", tmp_path).state != "ready"
