"""Whether a data set is there; whole and as published: `test_download.py` and `test_test_sets.py`."""

from __future__ import annotations

from pathlib import Path

from jobs.datasets.dataset_status import dataset_status


def test_folders_are_looked_at(tmp_path: Path) -> None:
    assert dataset_status("digits", tmp_path).state == "ready"
    assert dataset_status("imagenet", tmp_path).state == "missing"
    (tmp_path / "imagenet" / "train" / "n01440764").mkdir(parents=True)
    found = dataset_status("imagenet", tmp_path)
    assert found.state == "damaged" and "1 of 1000 class folders" in found.detail
