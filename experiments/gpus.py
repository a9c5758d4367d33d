"""The GPUs that a plan can be made for: their memory, and the assumed rate of training on them.

Peak rates are the makers' data sheets', dense. A network reaches a share of them: `BF16_SHARE` is that of the public
2,470 images/s of ResNet-50 on an A100 (NVIDIA's PyTorch AMP figure; 6 x 4.09 GMAC per image), `FP32_SHARE` is a
guess. An estimate from these rates is good to a factor of two; a measured speed replaces it.

`gpu_rates.json` has the rates that `make gpu-check` measured in training, by GPU and precision. A rate in there takes
the place of the assumed one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from experiments.atomic_files import read_json

RATES = Path(__file__).parent / "gpu_rates.json"

BF16_SHARE = 0.2
FP32_SHARE = 0.5

CPU_CORE_FLOPS = 10e9
"""Floating-point operations per second of one CPU core, for runs that ask for no GPU: a guess."""


@dataclass(frozen=True)
class Gpu:
    """One model of GPU."""

    name: str
    memory_gib: float
    bf16_tflops: float
    """Peak of the matrix units, of a model without bf16 units that of fp32."""
    fp32_tflops: float
    """Peak without TF32, for evaluations and fp32 runs."""

    def rate(self, precision: str) -> float:
        """Return the floating-point operations per second in training: measured, else assumed."""
        if self.is_measured(precision):
            return measured_rates()[self.name][precision]
        bf16, fp32 = self.bf16_tflops * 1e12 * BF16_SHARE, self.fp32_tflops * 1e12 * FP32_SHARE
        # The matrix units do half as many products of TF32 as of bf16.
        return {"bf16": bf16, "tf32": max(bf16 / 2, fp32), "fp32": fp32, "fp64": fp32 / 2}[precision]

    def is_measured(self, precision: str) -> bool:
        """Whether `make gpu-check` has measured the rate."""
        return precision in measured_rates().get(self.name, {})


def read_rates(file: Path) -> dict[str, dict[str, float]]:
    """Return the measured rates of a file, by GPU and precision; none if it is missing or damaged."""
    return read_json(file, dict[str, dict[str, float]]) or {}


@cache
def measured_rates() -> dict[str, dict[str, float]]:
    """Return the measured rates of `gpu_rates.json`."""
    return read_rates(RATES)


GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("a100-80gb", 79.1, 312.0, 19.5),
        Gpu("a100-40gb", 39.4, 312.0, 19.5),
        Gpu("h100-80gb", 79.1, 989.0, 66.9),
        Gpu("h200-141gb", 139.8, 989.0, 66.9),
        Gpu("l40s-48gb", 44.4, 362.0, 91.6),
        Gpu("rtx4090-24gb", 23.5, 165.2, 82.6),
        Gpu("rtx3090-24gb", 23.6, 71.2, 35.6),
        Gpu("v100-32gb", 31.7, 15.7, 15.7),
        Gpu("v100-16gb", 15.8, 15.7, 15.7),
    )
}
"""By name. Of each model the larger memory is first, so that a name without a size means that one."""

DEFAULT_GPU = "a100-80gb"


def find_gpu(name: str) -> Gpu | None:
    """Return the GPU of a name: `a100`, Slurm's `a100-80gb`, the driver's `NVIDIA A100-SXM4-40GB`; None if unknown."""
    words = re.findall(r"[a-z0-9]+", name.lower().replace("geforce rtx ", "rtx"))
    size = next((match[1] for word in words if (match := re.fullmatch(r"([0-9]+)g(i?b)?", word))), "")
    candidates = [gpu for gpu in GPUS.values() if gpu.name.split("-")[0] in words]
    of_size = [gpu for gpu in candidates if gpu.name.endswith(f"-{size}gb")]
    return next(iter(of_size or candidates), None)
