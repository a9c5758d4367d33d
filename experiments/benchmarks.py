"""What a trained network is measured on: the resolved spec of one evaluation, and the measures it yields.

In a matrix a benchmark is a name, or a name with its parameters; a list of `eps` or `steps` is one benchmark
for each value:

    evaluate:
      - clean
      - pgd: {norm: linf, eps: [2/255, 8/255], steps: 20}
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from experiments.spec import Count, Pixels


class Benchmark(Struct, frozen=True, forbid_unknown_fields=True, tag_field="name"):
    """One benchmark with its parameters."""


class Clean(Benchmark, frozen=True, tag="clean"):
    """Top-1 accuracy on the test images, over mean encodings."""


class Information(Benchmark, frozen=True, tag="information"):
    """Rate R, residual information Rex and H(Y|Z) on the test images, in nats, over sampled z (FACTS section 2)."""

    samples: Count = 8
    """Draws of z per image."""


class Pgd(Benchmark, frozen=True, tag="pgd"):
    """Projected gradient descent (Madry et al., 2017), untargeted, on mean encodings in fp32."""

    norm: Literal["linf", "l2"]
    eps: Pixels
    """Radius of the ball in [0, 1] pixel units; `8/255` and `8 px` are the same."""
    steps: Count = 20
    step_size: Pixels | None = None
    """null: 4/3 eps/steps (v2 section 2.4)."""
    random_start: bool = True
    """Start uniformly in the ball, else at the image."""
    subset: Count | None = None
    """Attack only this many test images, drawn evenly from the classes in a fixed order; null: all."""


AnyBenchmark = Clean | Information | Pgd


def column(benchmark: AnyBenchmark, measure: str) -> str:
    """The report's column of a measure, without parameters: `clean`, `rate`, `pgd_linf`, …"""
    return f"pgd_{benchmark.norm}" if isinstance(benchmark, Pgd) else measure


def full_column(benchmark: AnyBenchmark, measure: str) -> str:
    """The column with the threat model spelt out, for a matrix that holds several: `pgd_linf@eps=8/255,n=20`."""
    if not isinstance(benchmark, Pgd):
        return measure
    return f"{column(benchmark, measure)}@eps={eps_text(benchmark.eps)},n={benchmark.steps}"


def eps_text(eps: float) -> str:
    """A radius as people write it: a short decimal, else `8/255` where it is a whole number of 1/255."""
    in_255 = eps * 255
    if len(f"{eps:g}") <= 4:
        return f"{eps:g}"
    return f"{round(in_255)}/255" if abs(in_255 - round(in_255)) < 1e-9 else f"{eps:g}"


def measures(benchmark: AnyBenchmark) -> tuple[str, ...]:
    """The measures of a benchmark that a report has a column for, in order."""
    if isinstance(benchmark, Information):
        return ("rate", "residual_information", "conditional_entropy")
    return (column(benchmark, "clean"),)
