"""AutoAttack (Croce & Hein, 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks"): a sequence of attacks, each on the images that are still right. Shapes: B images, C channels,
H by W pixels, D values of an image, K classes, T targets, R rows: an image comes once for each target.

The attacks draw by (seed, sample) and know an image alone, so that neither the batch nor the number of processes
changes a verdict, but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from experiments.benchmarks import Loss, Norm
from jobs.engine.attacks.apgd import apgd, highest
from jobs.engine.attacks.fab import fab
from jobs.engine.attacks.losses import ascent
from jobs.engine.attacks.random_start import random_start
from jobs.engine.attacks.rows import Broken, Classifier, Logits, over_targets, rows
from jobs.engine.attacks.square import square
from jobs.engine.device import to_device

SEQUENCES = {
    "standard": ("apgd_ce", "apgd_t", "fab_t", "square"),
    "plus": ("apgd_ce_restarts", "apgd_dlr_restarts", "fab_restarts", "square", "apgd_t", "fab_t"),
}
"""The attacks of a version, in the authors' order."""

TARGETS = 9
"""The likeliest other classes, toward which the targeted attacks go; all where there are fewer."""
RESTARTS = 5
"""Of the untargeted attacks of `plus`."""


@dataclass(frozen=True)
class Attacked:
    """Where a sequence of attacks ended."""

    right_B: Tensor
    """bool: right at the image and behind every attack."""
    x_BCHW: Tensor
    """A point within the ball and [0, 1] where the network is wrong, else the image."""


@dataclass(frozen=True)
class _Images:
    """The right images that an attack is handed, and how it is to attack them."""

    classifier: Classifier
    x_BD: Tensor
    y_B: Tensor
    samples_B: Tensor
    norm: Norm
    eps: float
    seed: int

    def of(self, places_b: Tensor) -> _Images:
        chosen = self.x_BD[places_b], self.y_B[places_b], self.samples_B[places_b]
        return _Images(self.classifier, *chosen, self.norm, self.eps, self.seed)

    def start(self, number: int, share: float = 1.0) -> Tensor:
        """Return a random point of the ball of `share` of the radius, BD; `number` tells starts apart."""
        options = {"norm": self.norm, "eps": share * self.eps, "seed": self.seed, "samples_B": self.samples_B}
        return rows(random_start(self.classifier.images(self.x_BD), epoch=number, **options))  # type: ignore[arg-type]


Attack = Callable[[_Images], Broken]


def autoattack(
    logits_of: Logits,
    x_BCHW: Tensor,
    y_B: Tensor,
    samples_B: Tensor,
    *,
    attacks: tuple[str, ...],
    norm: Norm,
    eps: float,
    seed: int,
    right_B: Tensor | None = None,
) -> Attacked:
    """Run `attacks`, names of ATTACKS, one after another, on the images that are right before each; `logits_of` must be
    a function of the images alone, in whatever batch.

    `right_B` are the images that earlier attacks left right; without it, all that the network is right on. APGD by DLR
    needs 3 classes, its targeted form 4.
    """
    classifier, x_BD, y_B = Classifier.of(logits_of, x_BCHW), rows(x_BCHW), y_B.to(x_BCHW.device)
    if right_B is None:
        right_B = classifier.logits(x_BD).argmax(dim=1) == y_B
    right_B = right_B.to(x_BCHW.device, copy=True)
    images = _Images(classifier, x_BD, y_B, to_device(samples_B, x_BCHW.device), norm, eps, seed)
    places_b = right_B.nonzero()[:, 0]
    broken = _in_turn((ATTACKS[attack] for attack in attacks), images.of(places_b))
    right_B[places_b] = ~broken.wrong_B
    end_BD = x_BD.clone()
    end_BD[places_b] = broken.x_BD
    return Attacked(right_B, classifier.images(end_BD))


def _in_turn(attacks: Iterable[Attack], images: _Images) -> Broken:
    """Run attacks one after another, each on the images that no attack before it broke."""
    outcome = Broken.none(images.x_BD)
    for attack in attacks:
        places_b = outcome.right()
        if not len(places_b):
            break
        broken = attack(images.of(places_b))
        outcome.add(places_b[broken.wrong_B], broken.x_BD[broken.wrong_B])
    return outcome


def worst_points(
    logits_of: Logits, x_BCHW: Tensor, y_B: Tensor, *, norm: Norm, eps: float, seed: int, samples_B: Tensor
) -> Tensor:
    """Return for each image the point where the label's margin over the other classes is least: of the image itself and
    of the ends of APGD by cross-entropy and by DLR (the attacks of AutoAttack's `rand`).

    An image that is wrong already is attacked as the others are. Every pass takes the whole batch in its order, so that
    `logits_of` may have noise for each image. Needs 3 classes.
    """
    classifier, y_B = Classifier.of(logits_of, x_BCHW, divisible=False), y_B.to(x_BCHW.device)
    images = _Images(classifier, rows(x_BCHW), y_B, to_device(samples_B, x_BCHW.device), norm, eps, seed)
    ends = [images.x_BD]
    for number, loss in enumerate(_LOSSES):
        ends.append(highest(classifier, images.x_BD, y_B, images.start(number), norm=norm, eps=eps, loss=loss))
    gains_EB = torch.stack([ascent("margin", classifier.logits(end_BD), y_B) for end_BD in ends])
    worst_BD = torch.stack(ends)[gains_EB.argmax(dim=0), torch.arange(len(x_BCHW), device=x_BCHW.device)]
    return classifier.images(worst_BD)


_LOSSES: tuple[Loss, ...] = ("cross_entropy", "dlr")
"""Of untargeted APGD; a start's number is made of the place in here, of the targeted attack's next to it."""


def _apgd(loss: Loss, restart: int, images: _Images) -> Broken:
    start_BD = images.start(_LOSSES.index(loss) + (len(_LOSSES) + 1) * restart)
    return apgd(images.classifier, images.x_BD, images.y_B, start_BD, norm=images.norm, eps=images.eps, loss=loss)


def _fab(restart: int, images: _Images) -> Broken:
    """The first starts at the image, the others in the ball of half the radius."""
    start_BD = images.start(restart, share=0.5) if restart else None
    return fab(images.classifier, images.x_BD, images.y_B, norm=images.norm, eps=images.eps, start_BD=start_BD)


def _restarted(attack: Callable[[int, _Images], Broken], images: _Images) -> Broken:
    return _in_turn((partial(attack, restart) for restart in range(RESTARTS)), images)


def _targets(images: _Images) -> Tensor:
    """Return the likeliest other classes at the image, the likeliest first, BT."""
    logits_BK = images.classifier.logits(images.x_BD).scatter(1, images.y_B[:, None], -torch.inf)
    return logits_BK.topk(min(TARGETS, logits_BK.shape[1] - 1), dim=1).indices


def _apgd_t(images: _Images) -> Broken:
    def attack(image_R: Tensor, target_R: Tensor, rank_R: Tensor) -> Broken:
        of_rows, start_RD = images.of(image_R), torch.empty_like(images.x_BD[image_R])
        for rank in torch.unique(rank_R).tolist():
            chosen_r = (rank_R == rank).nonzero()[:, 0]
            start_RD[chosen_r] = of_rows.of(chosen_r).start(len(_LOSSES) + (len(_LOSSES) + 1) * rank)
        return apgd(
            images.classifier, of_rows.x_BD, of_rows.y_B, start_RD, norm=images.norm, eps=images.eps, loss="dlr",
            target_B=target_R, owner_B=image_R,
        )  # fmt: skip

    return over_targets(attack, images.x_BD, _targets(images), enough=images.classifier.enough)


def _fab_t(images: _Images) -> Broken:
    def attack(image_R: Tensor, target_R: Tensor, rank_R: Tensor) -> Broken:
        of_rows = images.of(image_R)
        return fab(
            images.classifier, of_rows.x_BD, of_rows.y_B, norm=images.norm, eps=images.eps, target_B=target_R,
            owner_B=image_R,
        )  # fmt: skip

    return over_targets(attack, images.x_BD, _targets(images), enough=images.classifier.enough)


def _square(images: _Images) -> Broken:
    options = {"norm": images.norm, "eps": images.eps, "seed": images.seed}
    return square(images.classifier, images.x_BD, images.y_B, images.samples_B, **options)  # type: ignore[arg-type]


ATTACKS: dict[str, Attack] = {
    "apgd_ce": partial(_apgd, "cross_entropy", 0),
    "apgd_t": _apgd_t,
    "fab_t": _fab_t,
    "square": _square,
    "apgd_ce_restarts": partial(_restarted, partial(_apgd, "cross_entropy")),
    "apgd_dlr_restarts": partial(_restarted, partial(_apgd, "dlr")),
    "fab_restarts": partial(_restarted, _fab),
}
"""Every attack by name. APGD and FAB take 100 steps, Square 5,000 queries."""
