"""The results of an evaluation that is under way, batch by batch, so that it resumes where it was stopped.

A file for each evaluation and shard, in the form of a journal but not among the journals: the store never sees it,
and it is removed when the result is written. A batch is used again only if the same weights, numerics versions, torch,
kind of device and images made it.
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

from jobs.engine.evaluation.evaluators.context import BatchResult, ImageValues
from jobs.engine.evaluation.sharding import Shard
from jobs.journal.files import Journal, read
from jobs.journal.records import Partial, Piece

_log = logging.getLogger(__name__)


def origin(checkpoint: Path, versions: Mapping[str, int], device: str) -> str:
    """Return everything that a batch's numbers depend on but its images and the benchmark. The checkpoint's name has
    its digest, and `versions` are those of the parts of the engine that the benchmark depends on."""
    parts = " ".join(f"{part}:{version}" for part, version in sorted(versions.items()))
    return f"{checkpoint.name} {parts} torch {torch.__version__} {torch.device(device).type}"


@dataclass
class PartialResults:
    """The results of one evaluation on disk: a `ResultCache` (`evaluators.context`)."""

    folder: Path
    evaluation_id: str
    origin: str
    shard: Shard
    _results: dict[tuple[str, str], dict[int, BatchResult]] = field(default_factory=dict, init=False)
    """By digest and part, then by batch number."""
    _journal: Journal | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        # With the evaluation, so that a file under another's name is not believed.
        self._origin = f"{self.evaluation_id} {self.origin}"
        self.reload()

    def reload(self) -> None:
        """Add the results that other jobs have written meanwhile."""
        for path in self._files():
            with suppress(FileNotFoundError):  # a job that saw all shards complete has removed it
                for record in read(path, limit=max(1, path.stat().st_size)).records:
                    if isinstance(record, Partial) and record.origin == self._origin:
                        self._add(path, record)

    def batches(self, digest: str, part: str) -> dict[int, BatchResult]:
        """Return the results of these images and this part by batch number."""
        return self._results.get((digest, part), {})

    def append(self, digest: str, part: str, batch: int, result: BatchResult) -> None:
        """Append a batch: it survives a killed process at once, a dead machine after some seconds."""
        self._results.setdefault((digest, part), {})[batch] = result
        if self._journal is None:
            self._journal = Journal(self.folder / f"{self.evaluation_id}.{self.shard.number}.jsonl")
        self._journal.write(
            Partial(
                origin=self._origin,
                data_digest=digest,
                part=part,
                batch=batch,
                pieces=[_to_piece(column) for column in result.columns],
                corrupt=result.corrupt,
                seconds=result.seconds,
            )
        )

    def close(self) -> None:
        """Close the file of this shard; its results stay."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def clear(self) -> None:
        """Remove the files of all shards, once the result is written."""
        self.close()
        for path in self._files():
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f"{self.evaluation_id}.*.jsonl"))

    def _add(self, path: Path, record: Partial) -> None:
        try:
            columns = tuple(_from_piece(piece) for piece in record.pieces)
        except (ValueError, zlib.error) as error:
            _log.warning("%s: batch %d is damaged and measured again: %s", path, record.batch, error)
            return
        results = self._results.setdefault((record.data_digest, record.part), {})
        results.setdefault(record.batch, BatchResult(columns, record.corrupt, record.seconds))


def _to_piece(column: ImageValues) -> Piece:
    kind = str(column.values_M.dtype).removeprefix("torch.")
    samples, values = (_pack(tensor) for tensor in (column.samples_M, column.values_M))
    return Piece(name=column.name, unit=column.unit, kind=kind, samples=samples, values=values)  # type: ignore[arg-type]


def _from_piece(piece: Piece) -> ImageValues:
    samples_M, values_M = _unpack(piece.samples, "int64"), _unpack(piece.values, piece.kind)
    if len(samples_M) != len(values_M):
        raise ValueError(f"{len(values_M)} values for {len(samples_M)} images")
    return ImageValues(piece.name, piece.unit, samples_M, values_M)


def _pack(values_M: Tensor) -> bytes:
    # Bytes instead of numbers in text: the joined result must be that of one attempt, NaN and every bit included.
    return zlib.compress(values_M.numpy().tobytes())


def _unpack(packed: bytes, kind: str) -> Tensor:
    return torch.from_numpy(np.frombuffer(zlib.decompress(packed), kind).copy())
