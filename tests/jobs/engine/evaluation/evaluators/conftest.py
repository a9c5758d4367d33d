"""Untrained models of every objective on scikit-learn's digits, which need no data folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from experiments.spec import Adam, Cceb, Ceb, Data, Run, SmallCnn, Vib, Xent
from jobs.engine.data import ImageSet, load
from jobs.engine.models import CebModel, build

Objective = Xent | Vib | Ceb | Cceb


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def run_of(objective: Objective) -> Run:
    network = SmallCnn(width=4, z_dim=6)
    return Run(data=Data(name="digits"), network=network, objective=objective, optimiser=Adam(), epochs=1, batch=32)


@pytest.fixture
def model_of() -> Callable[[Objective], CebModel]:
    """An untrained model in eval mode, its encodings spread out to a few nats."""

    def made(objective: Objective) -> CebModel:
        model = build(run_of(objective)).eval()
        with torch.no_grad():
            for parameter in model.network[-1].parameters():  # type: ignore[index]
                parameter *= 2
        return model

    return made


@pytest.fixture(scope="session")
def digits() -> ImageSet:
    return load(Data(name="digits"), "test", Path())
