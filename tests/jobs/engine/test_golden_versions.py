"""Every numerics version has its numbers on record, and the record is appended to, never edited.

A refactoring leaves `golden_versions.json` as it is. A change that is meant to alter the numbers of a part raises its
version in `experiments/numerics.py`. What is not on record yet, of a version or of a computation, is added by

    CEBCTL_WRITE_GOLDEN=1 pytest tests/jobs/engine/test_golden_versions.py
"""

from __future__ import annotations

import json
import os
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.numerics import RETIRED, VERSIONS
from tests.jobs.engine.golden import evaluation, images, training  # noqa: F401  # they register their pins
from tests.jobs.engine.golden.pins import PINS, Room, moved, written

GOLDEN = Path(__file__).with_name("golden_versions.json")
ROOT = Path(__file__).parents[3]

Entries = dict[str, dict[str, Any]]
"""By part and version: `tolerance` and `values`."""


def _entries(text: str) -> Entries:
    return json.loads(text)  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("part", sorted(VERSIONS))
def test_a_version_makes_the_numbers_on_record(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = PINS[part]
    if made.needs and find_spec(made.needs.split(".")[0]) is None:
        pytest.skip(f"{made.needs} is not installed")
    values = json.loads(json.dumps(written(made.compute(Room(tmp_path, monkeypatch)))))
    entries, version = _entries(GOLDEN.read_text()), str(VERSIONS[part])
    entry = entries.setdefault(part, {}).setdefault(version, {"tolerance": made.tolerance, "values": {}})
    if (unrecorded := values.keys() - entry["values"].keys()) and os.environ.get("CEBCTL_WRITE_GOLDEN"):
        entry["values"] |= {name: values[name] for name in values if name in unrecorded}
        _write(entries)
        unrecorded = set()
    assert not unrecorded, (
        f"{part} {version} has no numbers on record of {sorted(unrecorded)}: see the head of this file"
    )
    wrong = moved(made, values, entry)
    assert not wrong, (
        f"{part} makes other numbers than its version {version} did. If they are meant to change, raise it in "
        f"experiments/numerics.py and write the new entry by CEBCTL_WRITE_GOLDEN=1; else mend the code. "
        + "; ".join(wrong)
    )


def _write(entries: Entries) -> None:
    """An entry a line, so that branches that add to it merge."""
    lines = [
        f' "{part}": {{\n'
        + ",\n".join(f'  "{version}": {json.dumps(entry)}' for version, entry in sorted(versions.items()))
        + "\n }"
        for part, versions in sorted(entries.items())
    ]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def test_every_part_has_a_pin_and_every_entry_a_part() -> None:
    assert PINS.keys() == VERSIONS.keys()
    entries = _entries(GOLDEN.read_text())
    assert entries.keys() <= VERSIONS.keys() | RETIRED
    for part, versions in entries.items():
        assert all(1 <= int(version) <= VERSIONS.get(part, int(version)) for version in versions), part


def _git(*arguments: str) -> str | None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, env=own)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _before() -> dict[str, str]:
    """Return the record as it was at the merge base with main, where there is one, and at the parents of HEAD."""
    base = next((found for name in ("origin/main", "main") if (found := _git("merge-base", "HEAD", name))), None)
    commits = {*(_git("rev-list", "--max-count=20", "HEAD", "--", str(GOLDEN)) or "").split(), *filter(None, [base])}
    path = GOLDEN.relative_to(ROOT).as_posix()
    return {commit: text for commit in commits if (text := _git("show", f"{commit}:{path}"))}


def test_no_entry_on_record_was_edited_or_removed() -> None:
    """By what the commits hold that this one came from: as many as this clone has."""
    if _git("rev-parse", "HEAD") is None:
        pytest.skip("no git, or no repository: what the record was cannot be known")
    now = _entries(GOLDEN.read_text())
    for commit, text in _before().items():
        for part, versions in _entries(text).items():
            for version, entry in versions.items():
                present = now.get(part, {}).get(version, {"values": {}})
                values = {name: present["values"].get(name) for name in entry["values"]}
                assert present | {"values": values} == entry, (
                    f"{part} {version} is not what commit {commit[:12]} recorded. Entries are never edited: put it "
                    "back, raise the version in experiments/numerics.py and write a new entry by CEBCTL_WRITE_GOLDEN=1"
                )
