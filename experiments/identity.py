"""Identities: tagged hashes of the canonical JSON of a fully resolved spec.

The tag names the scheme, so that a change of scheme can't give an old id a new meaning. An id has 64 bits: among a
million runs the chance of any collision is 3e-8. A collision is an error when it is met, never a merge.
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
    """Return canonical JSON: sorted keys, no white space, shortest floats, defaults included."""
    return msgspec.json.encode(spec, order="sorted")


def run_id(run: Run) -> str:
    """Return the identity of a trained network: `r` and 16 hex digits."""
    return "r" + _tagged_hash(b"cebctl run 1", canonical(run))


def is_run_id(text: str) -> bool:
    """Return whether a text has the form of a `run_id`."""
    return re.fullmatch("r[0-9a-f]{16}", text, re.ASCII) is not None


@lru_cache(maxsize=4096)
def evaluation_id(benchmark: AnyBenchmark, data: str) -> str:
    """Return the identity of an evaluation: a hash of the benchmark and the digest of its images."""
    return "e" + _tagged_hash(b"cebctl evaluation 1", canonical(benchmark), datasets.info(data).digest.encode())


def _tagged_hash(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
