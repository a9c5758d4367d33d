"""Tiny runs on the digits, one thread; the real images where there are any."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from experiments import datasets, spec
from experiments.resources import Execution
from jobs.engine.training.loop import train
from jobs.engine.training.train_state import DEFAULT
from jobs.journal.files import Journal, read
from jobs.journal.records import AnyRecord
from jobs.paths import RunPaths

TINY = spec.Run(
    data=spec.Data(name="digits", train_subset=60, augment=spec.CropFlip()),
    network=spec.SmallCnn(width=2, z_dim=4),
    objective=spec.Ceb(rho=1.0, jump_start=spec.GammaJumpStart(steps=9)),
    optimiser=spec.Adam(lr=1e-2, weight_decay=1e-4),
    schedule=spec.Schedule(warmup_epochs=0.5, drops=(2.0,)),
    epochs=3.5,
    batch=8,
)
"""7 steps an epoch, 24 in all (the last epoch stops half-way), with everything that may change switched on."""


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def no_untracing() -> Iterator[None]:
    """AutoAttack's check for dynamic defences, which only warns, takes the trace function away: coverage's too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyautoattack.checks.check_dynamic", lambda *_, **__: None)
        yield


@pytest.fixture
def compiler() -> None:
    """Skipped without one for what torch.compile writes."""
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler: install g++")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test marked `apart` runs in a process of its own: behind torch.compile no forked child could go backward."""
    if pyfuncitem.get_closest_marker("apart") is None or os.environ.get("CEBCTL_APART"):
        return None
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", pyfuncitem.nodeid]
    apart = subprocess.run(
        command, cwd=pyfuncitem.config.rootpath, env=os.environ | {"CEBCTL_APART": "1"}, capture_output=True, text=True
    )
    assert apart.returncode == 0, apart.stdout + apart.stderr
    return True


@pytest.fixture
def tiny() -> spec.Run:
    return TINY


@pytest.fixture
def change() -> Callable[..., spec.Run]:
    """The tiny run with other fields."""

    def changed(**fields: Any) -> spec.Run:
        return msgspec.structs.replace(TINY, **fields)

    return changed


class Trained:
    """A run folder in which attempts follow one another."""

    def __init__(self, folder: Path) -> None:
        self.paths, self.attempt = RunPaths(folder), 0

    def __call__(
        self,
        run: spec.Run,
        should_stop: Callable[[], bool] = lambda: False,
        checkpoint_seconds: float = 60.0,
        execution: Execution = DEFAULT,
    ) -> list[AnyRecord]:
        """One attempt; what it journalled."""
        self.attempt += 1
        path = self.paths.journal("train", self.attempt)
        with Journal(path) as journal:
            train(run, self.paths, journal, self.paths.folder, "cpu", should_stop, checkpoint_seconds, execution)
        return read(path).records


@pytest.fixture
def attempt(tmp_path: Path) -> Trained:
    return Trained(tmp_path / "run")


@pytest.fixture
def new_attempt(tmp_path: Path) -> Callable[[str], Trained]:
    """Run folders by name."""
    return lambda name: Trained(tmp_path / name)


def _real(part: str, obtain: str) -> Path:
    root = Path(os.environ.get("CEBCTL_DATA") or "data").absolute()
    if not (root / part).is_dir():
        pytest.skip(f"no {root / part}: point CEBCTL_DATA at the folder that holds {part}; get it with {obtain}")
    return root


@pytest.fixture(scope="session")
def real_cifar10_jpeg() -> Path:
    """The data folder, if the real images are in it."""
    return _real("cifar10-jpeg", datasets.info("cifar10-jpeg").obtain)


@pytest.fixture(scope="session")
def real_imagenet_sample() -> Path:
    """The data folder, if the 1,000 real images, one per class, are in it."""
    return _real("imagenet-sample", "the public repository EliSchwartz/imagenet-sample-images, as val/<wnid>/*.JPEG")
