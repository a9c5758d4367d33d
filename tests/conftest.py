"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent

MINIMAL = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 1, batch: 256}
"""
"""The base of a matrix whose runs train in a blink; a test adds grids."""


settings.register_profile("untimed", deadline=None)  # how busy the machine is proves nothing
settings.register_profile("soak", deadline=None, max_examples=10_000)  # of `make soak`
settings.load_profile("untimed")

KINDS = ("unit", "property", "fault", "slurm", "postgresql", "browser", "readme", "data")
OUTCOMES = ("passed", "failed", "error", "skipped")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test is of a kind, or of several; `fault` and `data` are marked where they are written."""
    for item in items:
        for kind in _kinds(item):
            item.add_marker(kind)
            item.user_properties.append(("kind", kind))


def _kinds(item: pytest.Item) -> list[str]:
    fixtures = getattr(item, "fixturenames", ())
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    found = {
        "property": getattr(getattr(item, "obj", None), "is_hypothesis_test", False),
        "fault": any(item.iter_markers("fault")),
        "slurm": item.path.parent.name == "slurm",
        "postgresql": parameters["url"] == "postgresql" if "url" in parameters else "postgresql_database" in fixtures,
        "browser": "browser" in fixtures,
        "readme": item.path.stem in ("test_readme", "test_guide"),
        "data": any(item.iter_markers("data")),
    }
    return [kind for kind in KINDS if found.get(kind)] or ["unit"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests of each kind passed, failed or were skipped, for whoever has to trust the run."""
    ends = {outcome: Counter(_kinds_of(terminalreporter.stats.get(outcome, ()))) for outcome in OUTCOMES}
    terminalreporter.section("kinds of tests; one may be of several")
    for kind in KINDS:
        if counts := [f"{found[kind]} {outcome}" for outcome, found in ends.items() if found[kind]]:
            terminalreporter.line(f"{kind:<12}{', '.join(counts)}")


def _kinds_of(reports: Iterable[Any]) -> Iterator[str]:
    for report in reports:
        yield from (kind for name, kind in getattr(report, "user_properties", ()) if name == "kind")


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """As in a terminal: what a shell starts with `&` ignores Ctrl-C, and so does all that it starts itself."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is remembered from one test to the next, and not in the caller's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CEBCTL_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(autouse=True)
def measured() -> Iterator[None]:
    """Without its trace function, coverage would miss whatever this process runs from here on, and not say so."""
    before = sys.gettrace()
    yield
    assert before is None or sys.gettrace() is before, "the trace function was taken away"


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """As it was, whatever a command that ran in this process made of it."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CEBCTL_HOME of this test alone; the caller's own is never touched."""
    folder = tmp_path / "home"
    monkeypatch.setenv("CEBCTL_HOME", str(folder))
    monkeypatch.setenv("SLURM_CONF", "/dev/null")  # no cluster, whatever this machine belongs to
    monkeypatch.setenv("CEBCTL_ON", "local")  # where there is a Slurm, its tests ask for it
    monkeypatch.delenv("CEBCTL_STORE", raising=False)
    return folder


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Have a command of Slurm's answer with a script."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def says(command: str, script: str) -> None:
        path = tmp_path / command
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return says
