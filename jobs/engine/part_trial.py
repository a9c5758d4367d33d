"""Tries parts of one's own on two random images on the CPU, and counts the operations of networks of one's own.

python -m jobs.engine.part_trial FOLDER    tries what FOLDER/request.json asks for, with the sources in FOLDER

Each answer is written when its trial ends: whoever reads them knows which part it was that ended this process.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import msgspec
import torch
from torch import Tensor

from experiments import datasets
from experiments.benchmarks import BenchmarkPart
from experiments.errors import CebctlError
from experiments.spec import ObjectivePart
from jobs import own_parts
from jobs.engine.data.augmentation.own import own_augment
from jobs.engine.evaluation.evaluators.own import own_loss, own_measure
from jobs.engine.flops import count
from jobs.engine.models import build
from jobs.engine.objectives.own import own_objective
from jobs.engine.training import optimisers
from jobs.engine.training.schedules import own_schedule
from jobs.own_parts import PartError
from jobs.part_trials import ANSWERS, REQUEST, Answer, Request, Trial

IMAGES = 2


class _OutOfTimeError(BaseException):
    """A trial takes too long. No part catches it by `except Exception`."""


def main(folder: Path) -> None:
    """Try what a folder asks for."""
    own_parts.use_sources(folder)
    request = msgspec.json.decode((folder / REQUEST).read_bytes(), type=Request)
    process = os.getpid()
    answers = os.open(folder / ANSWERS, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # what a part prints goes nowhere, and it reads nothing
        os.dup2(silence, descriptor)
    for trial in request.trials:
        answer = _answer(trial, request.seconds)
        if os.getpid() != process:  # a part forked: its child has nothing to say
            os._exit(0)
        os.write(answers, msgspec.json.encode(answer) + b"\n")
    os._exit(0)  # what a part left behind does not keep this process


def _answer(trial: Trial, seconds: int) -> Answer:
    torch.manual_seed(0)
    signal.signal(signal.SIGALRM, _end)
    signal.alarm(seconds)
    try:
        if trial.role == "network":
            return Answer(count=count(trial.run))
        _TRIALS[trial.role](trial)
        return Answer()
    except CebctlError as error:
        return Answer(fault=str(error))
    except _OutOfTimeError as error:
        return Answer(fault=str(PartError(trial.part, f"{own_parts.place_of(error)}not done after {seconds} s")))
    except BaseException as error:  # SystemExit too
        return Answer(fault=str(PartError(trial.part, own_parts.describe(error))))
    finally:
        signal.alarm(0)


def _end(*_: object) -> NoReturn:
    raise _OutOfTimeError


def _images(trial: Trial) -> tuple[Tensor, Tensor, Tensor]:
    """Return the indices, images in [0, 1] and labels of a batch of the trial's data set."""
    info = datasets.info(trial.run.data.name)
    x_BCHW = torch.rand(IMAGES, info.channels, info.size, info.size)
    return torch.arange(IMAGES), x_BCHW, torch.arange(IMAGES) % info.classes


def _objective(trial: Trial) -> None:
    objective, (_, x_BCHW, y_B) = trial.run.objective, _images(trial)
    assert isinstance(objective, ObjectivePart)
    model = build(trial.run)
    f_BZ = model.encode(x_BCHW)
    chosen = own_objective(objective)
    terms = chosen.loss(model, f_BZ, f_BZ + torch.randn_like(f_BZ), y_B, chosen.gamma_of(objective.rho))
    terms.loss.backward()  # type: ignore[no-untyped-call]


def _marginal(trial: Trial) -> None:
    _, x_BCHW, _ = _images(trial)
    model = build(trial.run)
    z_BZ = model.encode(x_BCHW)
    (model.log_marginal(z_BZ) + model.log_marginal_alone(z_BZ)).sum().backward()  # type: ignore[no-untyped-call]


def _optimiser(trial: Trial) -> None:
    _, x_BCHW, _ = _images(trial)
    model = build(trial.run)
    optimiser = optimisers.build(trial.run.optimiser, model)
    model.classify(x_BCHW).square().sum().backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    optimiser.state_dict()  # as a checkpoint has it


def _schedule(trial: Trial) -> None:
    assert trial.run.schedule.own
    factor = own_schedule(trial.run.schedule.own)
    for progress in (0.0, 0.5, 1.0):
        factor(progress)


def _augment(trial: Trial) -> None:
    samples_B, x_BCHW, _ = _images(trial)
    own_augment(trial.part, 0, 0)(samples_B, x_BCHW)


def _benchmark(trial: Trial) -> None:
    assert isinstance(trial.benchmark, BenchmarkPart)
    model = build(trial.run).eval()
    list(own_measure(model, trial.benchmark, 0)(*_images(trial)))


def _loss(trial: Trial) -> None:
    _, x_BCHW, y_B = _images(trial)
    logits_BK = build(trial.run).classify(x_BCHW)
    own_loss(trial.part)(logits_BK, y_B).sum().backward()  # type: ignore[no-untyped-call]


_TRIALS: dict[str, Callable[[Trial], None]] = {
    "objective": _objective,
    "marginal": _marginal,
    "optimiser": _optimiser,
    "schedule": _schedule,
    "augment": _augment,
    "benchmark": _benchmark,
    "loss": _loss,
}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
