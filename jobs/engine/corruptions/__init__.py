"""The common corruptions of Hendrycks & Dietterich (2019): the 15 of the benchmark and the 4 extra ones.

At the published parameters, and equal to the authors' method up to the random draws and rounding, which tests compare
with plain versions of it; but for frost, whose photographs are replaced by drawn crystals.
"""

from jobs.engine.corruptions.generate import FUNCTIONS, PUBLISHED_QUALITY, SEED, Corruption
from jobs.engine.corruptions.parameters import PUBLISHED, SEVERITIES

__all__ = ["FUNCTIONS", "PUBLISHED", "PUBLISHED_QUALITY", "SEED", "SEVERITIES", "Corruption"]
