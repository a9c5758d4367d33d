"""Models: a network that encodes an image, and a head of distributions over its code z.

A new network is a struct in `experiments.spec`, a file here and its line in `build`.
"""

from jobs.engine.models.build import build, build_without_weights, without_weights, z_dim
from jobs.engine.models.ceb import CebModel

__all__ = ["CebModel", "build", "build_without_weights", "without_weights", "z_dim"]
