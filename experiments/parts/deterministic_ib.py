"""The deterministic information bottleneck (Strouse & Schwab, 2017): the entropy of the encoding in place of the rate.

For a network, after Yu, Yu & Principe (2021): the entropy is the matrix-based one of Renyi. Shapes: B samples, Z
dimensions of z.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def deterministic_ib(model, f, z, y, gamma, order: float = 1.01, width: float = 1.0):  # type: ignore[no-untyped-def]
    """Return -log c(y|f) + gamma H(f), of encodings without noise, over the batch.

    `order` is Renyi's; `width` is that of the Gaussian kernel, in units of the dimensions of z to the power 1/2.
    """
    entropy = matrix_entropy(f, order, width * f.shape[1] ** 0.5)
    conditional_entropy = cross_entropy(model.logits(f), y)
    return {"loss": conditional_entropy + gamma * entropy, "conditional_entropy": conditional_entropy}


def matrix_entropy(f_BZ: Tensor, order: float, width: float) -> Tensor:
    """Return Renyi's entropy 1/(1 - order) log sum_i lambda_i^order, in nats, of the eigenvalues of the kernel matrix
    exp(-|f_i - f_j|^2 / (2 width^2)) / B (Sanchez Giraldo, Rao & Principe, 2015, definition 2).

    It is 0 where all encodings are one, and log B where they are far apart.
    """
    distances_BB = torch.cdist(f_BZ, f_BZ, compute_mode="donot_use_mm_for_euclid_dist").square()
    kernel_BB = (-distances_BB / (2 * width**2)).exp() / len(f_BZ)
    eigenvalues_B = torch.linalg.eigvalsh(kernel_BB.double()).clamp(min=1e-12)
    entropy: Tensor = eigenvalues_B.pow(order).sum().log() / (1 - order)
    return entropy.to(f_BZ.dtype)
