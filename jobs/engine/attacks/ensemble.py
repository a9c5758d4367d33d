"""AutoAttack, APGD and Square by the package `pyautoattack`. Shapes: B images, C channels, H by W pixels, K classes.

Its attacks seed torch's global generators; here they find them forked and leave them as they were.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from experiments.benchmarks import Norm
from experiments.errors import InputError
from jobs.engine.attacks.losses import ascent
from jobs.engine.attacks.random_start import random_start

_NORMS = {"linf": "Linf", "l2": "L2"}

_LOG = logging.getLogger("auto-attack")
"""The package's own; without it, it warns of vanishing gradients on stderr."""

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
    seed: int,
) -> Tensor:
    """Return for each image whether it is right before and behind every attack of the `standard` ensemble, bool of
    shape (B,); `logits_of` must be a function of the images alone.

    The targeted attacks, APGD-T and FAB-T, aim at the 9 likeliest of the other classes, as the authors' do, or at all
    of them if there are fewer. It is for 4 classes and more: see `experiments.benchmarks.min_classes`. The draws of
    an attack depend on the batch it is run in: another division into batches draws others. Raises InputError if the
    package is not there.
    """
    _require()
    from pyautoattack import AutoAttack  # type: ignore[import-untyped]

    network, device = _Network(logits_of), x_BCHW.device
    with _generators(device, seed):
        ensemble = AutoAttack(network, norm=_NORMS[norm], eps=eps, seed=seed, device=device)
        for targeted in (ensemble.apgd_targeted, ensemble.fab):
            targeted.n_target_classes = min(targeted.n_target_classes, classes - 1)
        _, class_B = ensemble.run_standard_evaluation(x_BCHW, y_B, batch_size=len(x_BCHW))
    right_B: Tensor = class_B == y_B
    return right_B


def apgd(
    logits_of: Logits, x_BCHW: Tensor, y_B: Tensor, *, norm: Norm, eps: float, seed: int, samples_B: Tensor
) -> Tensor:
    """Return for each image the point where the label's margin over the other classes is least: of the image itself and
    of the ends of APGD by cross-entropy and by DLR (the attacks of AutoAttack's `rand`, 100 steps each).

    An image that is wrong already is attacked as the others are. Starts are `random_start`'s and every pass takes the
    whole batch, so that the points are a function of the images, `seed` and `samples_B`: neither a division into
    batches nor what else is in one changes them. Needs 3 classes. Raises InputError if the package is not there.
    """
    _require()
    from pyautoattack.autopgd_base import APGDAttack  # type: ignore[import-untyped]

    network, device = _Network(logits_of), x_BCHW.device
    ends = [x_BCHW]
    for number, loss in enumerate(("ce", "dlr")):
        start_BCHW = random_start(x_BCHW, norm=norm, eps=eps, seed=seed, samples_B=samples_B, epoch=number)
        attack = APGDAttack(network, norm=_NORMS[norm], eps=eps, loss=loss, device=device, logger=_LOG)
        attack.init_hyperparam(x_BCHW)
        with _generators(device, seed):
            best_BCHW, *_ = attack.attack_single_run(x_BCHW, y_B, x_init=start_BCHW)
        ends.append(best_BCHW.detach())
    with torch.no_grad():
        gains_EB = torch.stack([ascent("margin", network(end_BCHW), y_B) for end_BCHW in ends])
    return torch.stack(ends)[gains_EB.argmax(dim=0), torch.arange(len(x_BCHW), device=device)]


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
