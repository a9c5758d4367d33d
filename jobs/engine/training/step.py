"""One optimiser step. Shapes: B images in M parts of P, C channels, H by W pixels, Z dimensions of z."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from msgspec import UnsetType
from torch import Tensor

from experiments import spec
from experiments.spec import Run
from jobs.engine import objectives
from jobs.engine.attacks.pgd import pgd
from jobs.engine.attacks.random_start import random_start
from jobs.engine.device import moved
from jobs.engine.distributed import accumulating
from jobs.engine.precision import encode
from jobs.engine.training import optimisers, schedules
from jobs.engine.training.batch_norm_stats import RunningStatistics
from jobs.engine.training.epoch_sampler import Length
from jobs.engine.training.train_state import State


@dataclass(frozen=True)
class InForce:
    """What the schedules say about one step."""

    lr: float
    marginal_lr: float
    gamma: float
    rho: float

    def metrics(self, objective: object) -> dict[str, float]:
        """As the journal names them; xent has neither rho nor gamma."""
        if isinstance(objective, spec.Xent):
            return {"lr": self.lr}
        return {"lr": self.lr, "rho": self.rho, "gamma": self.gamma}


def in_force(state: State, length: Length) -> InForce:
    """The learning rates and gamma of the next step. The marginal's learning rate follows the drops; it needs no
    warm-up, and is to learn from step 0."""
    run, epoch = state.run, length.epochs_done(state.step)
    dropped = schedules.drops(run.schedule, epoch)
    lr = run.optimiser.lr * schedules.warmup(run.schedule, epoch) * dropped
    if isinstance(run.objective, spec.Xent):
        return InForce(lr, 0.0, 0.0, 0.0)
    objective = objectives.of(run.objective)
    gamma = schedules.gamma(
        objective, run.objective.rho, run.objective.jump_start, state.step, length.steps_per_epoch, state.passed_step
    )
    return InForce(lr, run.objective.marginal.marginal_lr * dropped, gamma, objective.rho_of(gamma))


def take(
    state: State,
    now: InForce,
    epoch: int,
    samples_B: Tensor,
    x_BCHW: Tensor,
    y_B: Tensor,
    noise_BZ: Tensor,
    asked_B: Tensor | None = None,
) -> dict[str, Tensor]:
    """Update the weights on one batch, of which these are this process's images in [0, 1], the samples `samples_B` of
    this epoch; `noise_BZ` is what `noise.draw` gives for them. `asked_B`: the samples that were asked for, where some
    could not be read.

    Every process of the group takes the step at once, with the gradient of the mean over all their images. Returns
    the means over this one's as scalars on the device: loss, conditional_entropy, residual_information and rate
    where the objective has them, over the sampled z, and train_accuracy over the mean encodings, all before
    the update.
    """
    group = state.group
    (images,) = group.sums([len(y_B)])  # asked, because some may have been left out
    parts = _parts(state.run, samples_B if asked_B is None else asked_B, samples_B, x_BCHW, y_B, noise_BZ)
    statistics = RunningStatistics(state.model) if group.size > 1 or len(parts) > 1 else None
    for optimiser, lr in ((state.optimiser, now.lr), (state.marginal_optimiser, now.marginal_lr)):
        if optimiser is not None:
            optimisers.set_lr(optimiser, lr)
            optimiser.zero_grad()
    found = []
    for number, (samples_P, x_PCHW, y_P, noise_PZ) in enumerate(parts):
        if statistics:
            statistics.begin_part()
        x_PCHW = _adversarial(state, epoch, samples_P, x_PCHW, y_P)
        with accumulating(state.replica, last=number == len(parts) - 1):
            loss, values = state.replica(x_PCHW, y_P, noise_PZ, now.gamma)
            # The group takes the mean over its processes, of what are sums divided by the images of all.
            weight = group.size * len(y_P) / images
            (loss if weight == 1 else loss * weight).backward()
        if statistics:
            statistics.end_part(len(y_P) / images)
        found.append(values)
    if statistics:
        statistics.end_step(group)
    state.optimiser.step()
    if state.marginal_optimiser is not None:
        state.marginal_optimiser.step()
    return _means(found, [len(y_P) for _, _, y_P, _ in parts])


def _parts(run: Run, asked_B: Tensor, samples_B: Tensor, *others_B: Tensor) -> list[tuple[Tensor, ...]]:
    """The images that are computed at a time, and that BatchNorm's statistics are over: what is left of the parts that
    were asked for, so that one that can not be read moves no other from part to part, nor from process to process."""
    batch_B = (samples_B, *others_B)
    if isinstance(run.replica_batch, UnsetType):
        return [batch_B]
    sizes: int | list[int] = run.replica_batch
    if len(samples_B) < len(asked_B):
        left = [int(torch.isin(part_P, samples_B).sum()) for part_P in torch.split(asked_B, run.replica_batch)]
        sizes = [size for size in left if size]
    return list(zip(*(torch.split(tensor, sizes) for tensor in batch_B), strict=True))


def _means(found: Sequence[dict[str, Tensor]], images: Sequence[int]) -> dict[str, Tensor]:
    """The means over all images of what are means over the images of each part."""
    if len(found) == 1:
        return found[0]
    loss = found[0]["loss"]
    weights_M = moved(torch.tensor([count / sum(images) for count in images], dtype=loss.dtype), loss.device)
    stacked = {name: torch.stack([values[name] for values in found]) for name in found[0]}
    return {name: (values_M * weights_M).sum() for name, values_M in stacked.items()}


def _adversarial(state: State, epoch: int, samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Tensor:
    """The images to train on: as given, or PGD examples made on the present network in eval mode, from a random
    start (Madry et al., 2017)."""
    adversary = state.run.adversary
    if isinstance(adversary, spec.NoAdversary):
        return x_BCHW
    model, norm, eps = state.model, adversary.norm, adversary.eps
    start_BCHW = random_start(x_BCHW, norm=norm, eps=eps, seed=state.run.seed, samples_B=samples_B, epoch=epoch)
    model.eval()
    attacked_BCHW = pgd(
        lambda images_BCHW: model.logits(encode(model, state.run, images_BCHW)),
        x_BCHW,
        y_B,
        norm=norm,
        eps=eps,
        steps=adversary.steps,
        step_size=adversary.step_size,
        start_BCHW=start_BCHW,
    )
    model.train()
    return attacked_BCHW
