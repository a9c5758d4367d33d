"""AutoAttack and Square by the package `pyautoattack`. Shapes: B images, C channels, H by W pixels, K classes.

Its attacks seed torch's global generators; here they find them forked and leave them as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from experiments.benchmarks import Norm
from experiments.errors import InputError

_NORMS = {"linf": "Linf", "l2": "L2"}

Logits = Callable[[Tensor], Tensor]


class _Network(nn.Module):
    """A function from images to logits as the package wants one, in fp32."""

    def __init__(self, logits_of: Logits) -> None:
        super().__init__()
        self._logits_of = logits_of

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self._logits_of(x_BCHW).float()


def autoattack(
    logits_of: Logits,
    x_BCHW: Tensor,
    y_B: Tensor,
    *,
    classes: int,
    norm: Norm,
    eps: float,
    version: Literal["standard", "rand"],
    seed: int,
) -> Tensor:
    """Whether each image is right before and behind every attack of the ensemble, bool of shape (B,).

    The targeted attacks, APGD-T and FAB-T, aim at the 9 likeliest of the other classes, as the authors' do, or at all
    of them if there are fewer. `standard` is for 4 classes and more, `rand` for 3: see
    `experiments.benchmarks.classes_needed`. The draws of an attack depend on the batch it is run in: another division
    into batches draws others. Raises InputError if the package is not there.
    """
    _require()
    from pyautoattack import AutoAttack  # type: ignore[import-untyped]

    network, device = _Network(logits_of), x_BCHW.device
    with _generators(device, seed):
        ensemble = AutoAttack(network, norm=_NORMS[norm], eps=eps, version=version, seed=seed, device=device)
        for targeted in (ensemble.apgd_targeted, ensemble.fab):
            targeted.n_target_classes = min(targeted.n_target_classes, classes - 1)
        _, class_B = ensemble.run_standard_evaluation(x_BCHW, y_B, batch_size=len(x_BCHW))
    right_B: Tensor = class_B == y_B
    return right_B


def square(
    logits_of: Logits, x_BCHW: Tensor, y_B: Tensor, *, norm: Norm, eps: float, queries: int, seed: int
) -> Tensor:
    """Whether each image is right before and behind Square (Andriushchenko et al., 2020), which sees logits and no
    gradient; bool of shape (B,). Raises InputError if the package is not there."""
    _require()
    from pyautoattack.square import SquareAttack  # type: ignore[import-untyped]

    network, device = _Network(logits_of), x_BCHW.device
    with _generators(device, seed), torch.no_grad():
        attack = SquareAttack(network, norm=_NORMS[norm], n_queries=queries, eps=eps, seed=seed, device=device)
        right_B: Tensor = network(x_BCHW).argmax(dim=1) == y_B
        if right_B.any():
            found_BCHW = attack.perturb(x_BCHW[right_B], y_B[right_B])
            right_B[right_B.clone()] = network(found_BCHW).argmax(dim=1) == y_B[right_B]
    return right_B


def _require() -> None:
    try:
        import pyautoattack  # noqa: F401
    except ImportError:
        raise InputError("pyautoattack", "it is not installed", "pip install 'cebctl[autoattack]'") from None


@contextmanager
def _generators(device: torch.device, seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
