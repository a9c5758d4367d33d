"""One optimiser step. Shapes: B images, C channels, H by W pixels, Z dimensions of z."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from experiments import spec
from jobs.engine import objectives, optimisers, randomness, schedules
from jobs.engine.attacks.pgd import pgd
from jobs.engine.attacks.start import random_start
from jobs.engine.length import Length
from jobs.engine.precision import encode
from jobs.engine.state import State


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


def take(state: State, now: InForce, epoch: int, samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> dict[str, Tensor]:
    """Update the weights on one batch of images in [0, 1], the samples `samples_B` of this epoch.

    Returns the batch's means as scalars on the device: loss, conditional_entropy, residual_information and rate
    where the objective has them, over the sampled z, and train_accuracy over the mean encodings, all before
    the update.
    """
    run, model = state.run, state.model
    objective = objectives.of(run.objective)
    x_BCHW = _adversarial(state, epoch, samples_B, x_BCHW, y_B)
    f_BZ = encode(model, run, x_BCHW)
    z_BZ = f_BZ
    if objective.noisy:
        samples_B = samples_B.to(f_BZ.device)
        z_BZ = f_BZ + randomness.normal(run.seed, "noise", epoch, samples_B, f_BZ.shape[1], f_BZ.dtype)
    terms = objective.loss(model, f_BZ, z_BZ, y_B, now.gamma)
    with torch.no_grad():
        accuracy = (model.logits(f_BZ).argmax(dim=1) == y_B).to(f_BZ.dtype).mean()

    # One backward pass for both: the two losses have no parameter in common.
    for optimiser, lr in ((state.optimiser, now.lr), (state.marginal_optimiser, now.marginal_lr)):
        if optimiser is not None:
            optimisers.set_lr(optimiser, lr)
            optimiser.zero_grad()
    (terms.loss + model.marginal_loss(z_BZ)).backward()  # type: ignore[no-untyped-call]
    state.optimiser.step()
    if state.marginal_optimiser is not None:
        state.marginal_optimiser.step()
    return {**terms.values(), "train_accuracy": accuracy}


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
