"""A benchmark: PGD in the L-inf ball on the terms of the bottleneck instead of the classifier.

`backward_encoder` lowers log b(z|y) of the label, so that z leaves its class; `rate` raises log e(z|x) - log m(z), so
that z becomes improbable under the marginal. z is the mean of e(z|x). For objectives that have b, or m.
"""

from typing import Literal

import torch


def bottleneck_attack(  # type: ignore[no-untyped-def]
    model, images, labels, rng, eps: float = 0.1, steps: int = 20, target: Literal["backward_encoder", "rate"] = "rate"
):
    """Return whether each image is right at the end, as PGD of steps of 4/3 eps/steps from a random start."""
    start = images + (2 * rng.uniform(*images.shape[1:]) - 1) * eps
    adversarial = start.clamp(0, 1)
    for _ in range(steps):
        adversarial = adversarial.detach().requires_grad_()
        with torch.enable_grad():
            z = model.encode(adversarial)
            improbable = (
                model.log_backward_encoder(z, labels) if target == "backward_encoder" else model.log_marginal(z)
            )
            (gradient,) = torch.autograd.grad(-improbable.sum(), adversarial)
        moved = adversarial.detach() + 4 / 3 * eps / steps * gradient.sign()
        adversarial = torch.minimum(torch.maximum(moved, images - eps), images + eps).clamp(0, 1)
    return model.classify(adversarial).argmax(dim=1) == labels
