"""One optimiser step. Shapes: B images in M parts of P, C channels, H by W pixels, Z dimensions of z."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from msgspec import UnsetType
from torch import Tensor

from experiments import lineage, spec
from experiments.spec import Run
from jobs.engine import objectives
from jobs.engine.attacks.pgd import pgd
from jobs.engine.attacks.random_start import random_start
from jobs.engine.device import to_device
from jobs.engine.distributed import accumulating
from jobs.engine.precision import encode
from jobs.engine.training import optimisers, schedules, stochastic_layers
from jobs.engine.training.batch_norm_stats import RunningStatistics
from jobs.engine.training.epoch_sampler import EpochSampler
from jobs.engine.training.train_state import TrainState


@dataclass(frozen=True)
class ScheduledValues:
    """The hyper-parameters of one step, by the schedules."""

    lr: float
    marginal_lr: float
    gamma: float
    rho: float

    def metrics(self, objective: object) -> dict[str, float]:
        """Return those that the journal reports, by name; xent has neither rho nor gamma."""
        if isinstance(objective, spec.Xent):
            return {"lr": self.lr}
        return {"lr": self.lr, "rho": self.rho, "gamma": self.gamma}


def scheduled_values(state: TrainState, sampler: EpochSampler) -> ScheduledValues:
    """Return the learning rates, gamma and rho of the next step. The marginal's learning rate follows the decline only:
    it has to learn from step 0 on."""
    run, epoch = state.run, sampler.epochs_done(state.step)
    schedule = lineage.resolved_schedule(run)
    declined = schedules.decline(schedule, epoch)
    lr = state.base_lr * schedules.warmup(schedule, epoch) * declined
    if isinstance(run.objective, spec.Xent):
        return ScheduledValues(lr, 0.0, 0.0, 0.0)
    objective = objectives.from_spec(run.objective)
    gamma = schedules.gamma(
        objective, run.objective.rho, run.objective.jump_start, state.step, sampler.steps_per_epoch, state.passed_step
    )
    return ScheduledValues(lr, run.objective.marginal.lr * declined, gamma, objective.rho_of(gamma))


def train_step(
    state: TrainState,
    scheduled: ScheduledValues,
    epoch: int,
    samples_B: Tensor,
    x_BCHW: Tensor,
    y_B: Tensor,
    noise_BZ: Tensor,
    requested_B: Tensor | None = None,
) -> dict[str, Tensor]:
    """Update the weights on one batch, of which these are this process's images in [0, 1], the samples `samples_B` of
    this epoch; `noise_BZ` is their `encoder_noise.draw`. `requested_B` are all samples of this process's part of the
    batch, where some could not be read.

    Every process of the group takes the step at once, with the gradient of the mean over all their images. Returns
    the means over this one's as scalars on the device: loss, conditional_entropy, residual_information and rate
    where the objective has them, over the sampled z, and train_accuracy over the mean encodings, all before
    the update.
    """
    group = state.group
    (images,) = group.sums([len(y_B)])  # the batch size does not do: some images may have been left out
    parts = _parts(state.run, samples_B if requested_B is None else requested_B, samples_B, x_BCHW, y_B, noise_BZ)
    statistics = RunningStatistics(state.model) if group.size > 1 or len(parts) > 1 else None
    for optimiser, lr in ((state.optimiser, scheduled.lr), (state.marginal_optimiser, scheduled.marginal_lr)):
        if optimiser is not None:
            optimisers.set_lr(optimiser, lr)
            optimiser.zero_grad()
    losses_of_parts = []
    for number, (samples_P, x_PCHW, y_P, noise_PZ) in enumerate(parts):
        if statistics:
            statistics.begin_part()
        x_PCHW = _adversarial(state, epoch, samples_P, x_PCHW, y_P)
        with accumulating(state.replica, last=number == len(parts) - 1):
            with stochastic_layers.sampled(state.run, epoch, to_device(samples_P, x_PCHW.device)):
                loss, losses = state.replica(x_PCHW, y_P, noise_PZ, scheduled.gamma)
            # The group takes the mean over its processes, of what are sums divided by the images of all.
            weight = group.size * len(y_P) / images
            (loss if weight == 1 else loss * weight).backward()
        if statistics:
            statistics.end_part(len(y_P) / images)
        losses_of_parts.append(losses)
    if statistics:
        statistics.end_step(group)
    if state.run.clip_norm:
        optimisers.clip_norm(state.optimiser, state.run.clip_norm)
    state.optimiser.step()
    if state.marginal_optimiser is not None:
        state.marginal_optimiser.step()
    if state.average is not None:
        state.average.update(state.step + 1)
    return _means(losses_of_parts, [len(y_P) for _, _, y_P, _ in parts])


def _parts(run: Run, requested_B: Tensor, samples_B: Tensor, *tensors_B: Tensor) -> list[tuple[Tensor, ...]]:
    """Return the parts of the batch: the images that are computed at a time, and that BatchNorm's statistics are over.

    An image that could not be read makes its part smaller. It moves no other image to another part or process, so that
    their numbers stay the same.
    """
    batch_B = (samples_B, *tensors_B)
    if isinstance(run.replica_batch, UnsetType):
        return [batch_B]
    sizes: int | list[int] = run.replica_batch
    if len(samples_B) < len(requested_B):
        requested_parts = torch.split(requested_B, run.replica_batch)
        sizes = [size for part_P in requested_parts if (size := int(torch.isin(part_P, samples_B).sum()))]
    return list(zip(*(torch.split(tensor, sizes) for tensor in batch_B), strict=True))


def _means(parts: Sequence[dict[str, Tensor]], images: Sequence[int]) -> dict[str, Tensor]:
    """Return the means over all images from the means over the images of each part."""
    if len(parts) == 1:
        return parts[0]
    loss = parts[0]["loss"]
    weights_M = to_device(torch.tensor([count / sum(images) for count in images], dtype=loss.dtype), loss.device)
    stacked = {name: torch.stack([means[name] for means in parts]) for name in parts[0]}
    return {name: (values_M * weights_M).sum() for name, values_M in stacked.items()}


def _adversarial(state: TrainState, epoch: int, samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Tensor:
    """Return the images to train on: unchanged, or PGD examples made on the present network in eval mode, from a random
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
