"""Identities: tagged hashes of the canonical JSON of what is fully resolved.

The tag names the scheme, so that a change of scheme can't give an old id a new meaning. 64 bits: among a
million runs the chance of any collision is 3e-8, and a collision is an error when it is met, never a merge.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

import msgspec

from experiments import datasets
from experiments.benchmarks import AnyBenchmark
from experiments.spec import Run


def canonical(spec: object) -> bytes:
    """Canonical JSON: keys sorted, no white space, shortest floats, defaults included."""
    return msgspec.json.encode(spec, order="sorted")


def run_id(run: Run) -> str:
    """The identity of a trained network: 16 hex digits behind `r`."""
    return "r" + _tagged_hash(b"cebctl run 1", canonical(run))


def is_run_id(text: str) -> bool:
    """Whether a text has the form of a `run_id`."""
    return re.fullmatch("r[0-9a-f]{16}", text, re.ASCII) is not None


@lru_cache(maxsize=4096)
def evaluation_id(benchmark: AnyBenchmark, data: str) -> str:
    """The identity of an evaluation: what is measured, and the digest of the images it is measured on."""
    return "e" + _tagged_hash(b"cebctl evaluation 1", canonical(benchmark), datasets.info(data).digest.encode())


def _tagged_hash(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
