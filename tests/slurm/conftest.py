"""A real Slurm for tests: shared ones that every test finds empty, and others made to order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from lab import INSTALL, Lab, Settings, missing

MakeLab = Callable[..., Lab]

PARTITIONS = {
    "short": {"MaxTime": "00:30:00", "DefaultTime": "00:10:00", "PreemptMode": "OFF"},
    "closed": {"State": "INACTIVE"},
    "cautious": {"PriorityTier": 1, "PreemptMode": "REQUEUE", "GraceTime": 60},
    "last": {"PriorityTier": 1, "PreemptMode": "CANCEL"},
    "private": {"AllowAccounts": "physics"},
}
"""What a cluster with rules has, besides `gpu` and `scavenge`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each mostly waits for Slurm, several times in a row, and longer where several run side by side."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(600))


def _lab(settings: Settings) -> Lab:
    if absent := missing(settings.accounting):
        pytest.skip(f"a real Slurm is needed, and {', '.join(absent)} not installed: {INSTALL}")
    return Lab(settings)


@pytest.fixture(scope="session")
def shared_lab() -> Iterator[Lab]:
    with _lab(Settings()) as lab:
        yield lab


@pytest.fixture(scope="session")
def shared_lab_accounting() -> Iterator[Lab]:
    with _lab(Settings(accounting=True, gpu_type="a100", partitions=PARTITIONS)) as lab:
        yield lab


@pytest.fixture
def lab(shared_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A Slurm without accounting, with no unfinished job; SLURM_CONF points to it."""
    yield from _lent(shared_lab, monkeypatch)


@pytest.fixture
def lab_accounting(shared_lab_accounting: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A Slurm with accounting, a100s and `PARTITIONS`, with no unfinished job; SLURM_CONF points to it."""
    yield from _lent(shared_lab_accounting, monkeypatch)


@pytest.fixture
def make_lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeLab]:
    """Start a Slurm with the given `Settings`, for a test that breaks it; SLURM_CONF points to the newest."""
    with ExitStack() as labs:

        def make(**settings: Any) -> Lab:
            lab = labs.enter_context(_lab(Settings(**settings)))
            monkeypatch.setenv("SLURM_CONF", str(lab.conf))
            return lab

        yield make


def _lent(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("SLURM_CONF", str(lab.conf))
    yield lab
    lab.cancel_all()
