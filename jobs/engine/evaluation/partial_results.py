"""What an evaluation that is under way has found, batch by batch, so that it goes on where it was stopped.

A file for each evaluation and share, in the form of a journal but not among the journals: the store never sees it,
and it goes when the result is written. A batch is used again only if the same weights, numerics versions, torch, kind
of device and images made it.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jobs.engine.evaluation.evaluators.test_set import BatchFound, Found
from jobs.engine.evaluation.sharding import Share
from jobs.journal.files import Journal, read
from jobs.journal.records import Partial, Piece

_log = logging.getLogger(__name__)


def origin(checkpoint: Path, versions: Mapping[str, int], device: str) -> str:
    """Return what decides a batch's numbers, but for its images and the benchmark. The checkpoint's name has its
    digest, and `versions` are those of the parts of the engine that the benchmark depends on."""
    parts = " ".join(f"{part}:{version}" for part, version in sorted(versions.items()))
    return f"{checkpoint.name} {parts} torch {torch.__version__} {torch.device(device).type}"


@dataclass
class PartialNotes:
    """The notes of one evaluation on disk; see `evaluators.subject.Notes`."""

    folder: Path
    evaluation_id: str
    origin: str
    share: Share
    _batches: dict[tuple[str, str], dict[int, BatchFound]] = field(default_factory=dict, init=False)
    _journal: Journal | None = field(default=None, init=False)

    @property
    def _origin(self) -> str:
        """With the evaluation, so that the file's name need not be believed."""
        return f"{self.evaluation_id} {self.origin}"

    def __post_init__(self) -> None:
        self.reread()

    def reread(self) -> None:
        """Take up what other jobs have found meanwhile."""
        for path in self._files():
            with suppress(FileNotFoundError):  # a job that found all of it complete was quicker
                for record in read(path, limit=max(1, path.stat().st_size)).records:
                    if isinstance(record, Partial) and record.origin == self._origin:
                        self._remember(path, record)

    def known(self, digest: str, part: str) -> dict[int, BatchFound]:
        """The batches of these images and this part that are done, by number."""
        return self._batches.get((digest, part), {})

    def note(self, digest: str, part: str, batch: int, found: BatchFound) -> None:
        """Append a batch: it survives a killed process at once, a dead machine after some seconds."""
        self._batches.setdefault((digest, part), {})[batch] = found
        if self._journal is None:
            self._journal = Journal(self.folder / f"{self.evaluation_id}.{self.share.number}.jsonl")
        self._journal.write(
            Partial(
                origin=self._origin,
                data_digest=digest,
                part=part,
                batch=batch,
                pieces=[_piece(one) for one in found.found],
                corrupt=found.corrupt,
                seconds=found.seconds,
            )
        )

    def close(self) -> None:
        """Keep what was noted."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def forget(self) -> None:
        """The result is written: nothing of this is needed any more."""
        self.close()
        for path in self._files():
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f"{self.evaluation_id}.*.jsonl"))

    def _remember(self, path: Path, record: Partial) -> None:
        try:
            found = tuple(_found(piece) for piece in record.pieces)
        except (ValueError, zlib.error) as error:
            _log.warning("%s: batch %d is damaged and measured again: %s", path, record.batch, error)
            return
        known = self._batches.setdefault((record.data_digest, record.part), {})
        known.setdefault(record.batch, BatchFound(found, record.corrupt, record.seconds))


def _piece(found: Found) -> Piece:
    kind = str(found.values_M.dtype).removeprefix("torch.")
    samples, values = (_pack(tensor) for tensor in (found.samples_M, found.values_M))
    return Piece(name=found.name, unit=found.unit, kind=kind, samples=samples, values=values)  # type: ignore[arg-type]


def _found(piece: Piece) -> Found:
    samples_M, values_M = _unpack(piece.samples, "int64"), _unpack(piece.values, piece.kind)
    if len(samples_M) != len(values_M):
        raise ValueError(f"{len(values_M)} values for {len(samples_M)} images")
    return Found(piece.name, piece.unit, samples_M, values_M)


def _pack(values_M: Tensor) -> bytes:
    return zlib.compress(values_M.numpy().tobytes())


def _unpack(packed: bytes, kind: str) -> Tensor:
    return torch.from_numpy(np.frombuffer(zlib.decompress(packed), kind).copy())
