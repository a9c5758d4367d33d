"""Fast Adaptive Boundary attack (Croce & Hein, 2020, "Minimally distorted adversarial examples with a fast adaptive
boundary attack", Algorithm 1). Shapes: B images, D values of an image, K classes.

A step linearises the network at the current point, projects this point and the image onto the linear boundary within
[0, 1] (the box-constrained projections of Section 2), overshoots, and mixes the two with a bias toward the image. From
a wrong point it steps back toward the image (Section 3). The attack looks for the nearest wrong point; here it ends at
the first within eps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.benchmarks import Norm
from jobs.engine.attacks.rows import Broken, Classifier, kept

STEPS = 100
_MOST_ALPHA, _ETA, _BETA = 0.1, 1.05, 0.9
_TINY = 1e-12
_NEWTON_STEPS = 50


@dataclass
class _State:
    place_B: Tensor
    owner_B: Tensor
    x_BD: Tensor
    y_B: Tensor
    target_B: Tensor
    z_BD: Tensor


Plane = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(z_BD, y_B, target_B) to what is negative on the label's side of a boundary, B, and its gradient, BD."""


def fab(
    classifier: Classifier,
    x_BD: Tensor,
    y_B: Tensor,
    *,
    norm: Norm,
    eps: float,
    target_B: Tensor | None = None,
    owner_B: Tensor | None = None,
    start_BD: Tensor | None = None,
    steps: int = STEPS,
) -> Broken:
    """Look for wrong points across the boundary to `target_B`, or to the nearest class, from the image or from
    `start_BD`; rows of one `owner_B` are finished together. All images are to be right."""
    outcome = Broken.none(x_BD)
    plane = _nearest(classifier, norm) if target_B is None else _toward(classifier)
    place_B = torch.arange(len(x_BD), device=x_BD.device)
    state = _State(
        place_B, place_B if owner_B is None else owner_B, x_BD, y_B, y_B if target_B is None else target_B,
        x_BD if start_BD is None else start_BD,
    )  # fmt: skip
    for _ in range(steps):
        if not len(state.z_BD):
            break
        parts = (torch.split(t, classifier.at_once) for t in (state.z_BD, state.x_BD, state.y_B, state.target_B))
        stepped = [_step(classifier, plane, norm, *part) for part in zip(*parts, strict=True)]
        state.z_BD, crossed_B, distance_B = map(torch.cat, zip(*stepped, strict=True))
        broken_B = crossed_B & (distance_B <= eps)
        if broken_B.any():
            outcome.add(state.place_B[broken_B], state.z_BD[broken_B])
            keep_B = ~torch.isin(state.owner_B, state.owner_B[broken_B])
            state, crossed_B = kept(state, keep_B), crossed_B[keep_B]
        back_BD = torch.lerp(state.x_BD, state.z_BD, _BETA)
        state.z_BD = torch.where(crossed_B[:, None], back_BD, state.z_BD)
    return outcome


def _step(
    classifier: Classifier, plane: Plane, norm: Norm, z_BD: Tensor, x_BD: Tensor, y_B: Tensor, target_B: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the next point, whether the network is wrong there, and how far from the image it is."""
    height_B, normal_BD = plane(z_BD, y_B, target_B)
    from_x_B = height_B + ((x_BD - z_BD) * normal_BD).sum(dim=1)
    change_BD, change_x_BD = (
        onto_plane(point_BD, normal_BD, c_B, norm) for point_BD, c_B in ((z_BD, height_B), (x_BD, from_x_B))
    )
    order = torch.inf if norm == "linf" else 2
    length_B1, length_x_B1 = (
        torch.linalg.vector_norm(d_BD, order, dim=1, keepdim=True).clamp_(min=1e-8) for d_BD in (change_BD, change_x_BD)
    )
    alpha_B1 = (length_B1 / (length_B1 + length_x_B1)).clamp_(max=_MOST_ALPHA)
    toward_BD = torch.add(z_BD, change_BD, alpha=_ETA)
    next_BD = torch.lerp(toward_BD, torch.add(x_BD, change_x_BD, alpha=_ETA), alpha_B1).clamp_(0, 1)
    crossed_B = classifier.logits(next_BD).argmax(dim=1) != y_B
    return next_BD, crossed_B, torch.linalg.vector_norm(next_BD - x_BD, order, dim=1)


def _toward(classifier: Classifier) -> Plane:
    """The boundary between the label and the target."""

    def difference(logits_BK: Tensor, y_B: Tensor, target_B: Tensor) -> Tensor:
        of_y_B, of_target_B = (logits_BK.gather(1, k_B[:, None])[:, 0] for k_B in (y_B, target_B))
        return of_target_B - of_y_B

    def plane(z_BD: Tensor, y_B: Tensor, target_B: Tensor) -> tuple[Tensor, Tensor]:
        return classifier.gradient(z_BD, difference, y_B, target_B)[1:]

    return plane


def _nearest(classifier: Classifier, norm: Norm) -> Plane:
    """The boundary between the label and the class for which it is nearest by the linearised network."""
    dual = 1 if norm == "linf" else 2

    def plane(z_BD: Tensor, y_B: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            z_BD = z_BD.detach().requires_grad_()
            logits_BK = classifier.forward(z_BD)
            heights_BK = logits_BK - logits_BK.gather(1, y_B[:, None])
            shortest_B = torch.full_like(heights_BK[:, 0].detach(), torch.inf)
            height_B, normal_BD = torch.zeros_like(shortest_B), torch.zeros_like(z_BD)
            for k in range(heights_BK.shape[1]):
                (slope_BD,) = torch.autograd.grad(heights_BK[:, k].sum(), z_BD, retain_graph=True)
                slope_BD = slope_BD.nan_to_num()
                distance_B = heights_BK[:, k].detach().abs() / (slope_BD.norm(dual, dim=1) + _TINY)
                nearer_B = (distance_B < shortest_B) & (y_B != k)
                shortest_B = torch.where(nearer_B, distance_B, shortest_B)
                height_B = torch.where(nearer_B, heights_BK[:, k].detach(), height_B)
                normal_BD = torch.where(nearer_B[:, None], slope_BD, normal_BD)
        return height_B, normal_BD.detach()

    return plane


def onto_plane(point_BD: Tensor, normal_BD: Tensor, height_B: Tensor, norm: Norm) -> Tensor:
    """Return the shortest change d, by `norm`, to a point in [0, 1] with normal . d = -height and point + d in [0, 1];
    where there is none, the change as far as the box goes.

    Along component i the change has the direction of -height normal_i and the size min(lambda v_i, room_i): room_i is
    the way to the box and v_i is 1 for linf, |normal_i| for l2. sum_i |normal_i| min(lambda v_i, room_i), concave and
    piecewise linear in lambda, is to be |height|. Newton's method from 0 takes a few steps; to sort the components, as
    the authors do, costs more than a pass of a small network.
    """
    # Divided by the largest component: squares of gradients below 1e-23 vanish in fp32.
    largest_B = normal_BD.abs().amax(dim=1)
    scale_B = torch.where(largest_B > 0, largest_B, 1) * torch.where(height_B >= 0, 1, -1)
    normal_BD, height_B = normal_BD / scale_B[:, None], height_B / scale_B
    weight_BD = normal_BD.abs()
    room_BD = torch.where(normal_BD > 0, point_BD, 1 - point_BD)
    lambda_B1 = torch.zeros_like(height_B)[:, None]
    free_BD = (room_BD > 0).to(weight_BD)
    gain_BD = weight_BD if norm == "linf" else weight_BD.square()
    for _ in range(_NEWTON_STEPS):
        slope_B = _dot(gain_BD, free_BD)
        spent_B = _dot(weight_BD, room_BD * (1 - free_BD))
        next_B1 = torch.where(slope_B > 0, (height_B - spent_B) / slope_B, lambda_B1[:, 0])[:, None]
        if not (next_B1 > lambda_B1 * (1 + 1e-6)).any():
            break
        lambda_B1 = torch.maximum(next_B1, lambda_B1)
        free_BD = ((lambda_B1 if norm == "linf" else lambda_B1 * weight_BD) < room_BD).to(weight_BD)
    size_BD = torch.minimum(lambda_B1 if norm == "linf" else lambda_B1 * weight_BD, room_BD)
    return size_BD.mul_(normal_BD.sign()).neg_()


def _dot(a_BD: Tensor, b_BD: Tensor) -> Tensor:
    return torch.bmm(a_BD[:, None], b_BD[:, :, None])[:, 0, 0]
