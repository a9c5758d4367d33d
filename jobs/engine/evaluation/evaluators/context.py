"""The input and output of evaluators. Shapes: B images of a batch, M images that were measured."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Literal, NoReturn, Protocol

import torch
from torch import Tensor

from experiments.datasets import Split
from experiments.errors import InputError
from experiments.spec import NoAugment, Objective, Xent
from jobs.engine.data import ImageSet, batches
from jobs.engine.data.batches import Batch
from jobs.engine.data.images import FolderImages, balanced_indices
from jobs.engine.errors import Failure, ProcessError, is_device_broken, is_fatal
from jobs.engine.evaluation.sharding import Shard
from jobs.engine.evaluation.training_history import Epochs
from jobs.engine.models import CebModel
from jobs.errors import Stopped


@dataclass(frozen=True)
class ImageValues:
    """One number for each measured image."""

    name: str
    """The report's column."""
    unit: str
    """`accuracy`, `success` (values_M are bool), `share`, `error` (bool or float), `nats` or `score` (float)."""
    samples_M: Tensor
    """int64: the images' indices in the test set."""
    values_M: Tensor


@dataclass(frozen=True)
class Summary:
    """One number for all images together."""

    name: str
    unit: str
    total: int
    """The images, or epochs, that it is made of."""
    value: float


Measurement = ImageValues | Summary


@dataclass(frozen=True)
class BatchResult:
    """Everything that was measured on one batch."""

    columns: tuple[ImageValues, ...]
    corrupt: dict[int, str]
    """Why images of the batch could not be decoded, by index."""
    seconds: float


class ResultCache(Protocol):
    """The results of batches that are done, so that another attempt does not measure them again."""

    def batches(self, digest: str, part: str) -> dict[int, BatchResult]:
        """Return the results of a part by batch number; `digest` is that of its images."""

    def append(self, digest: str, part: str, batch: int, result: BatchResult) -> None:
        """Add the result of a batch."""


class NoCache:
    """Forgets every result."""

    def batches(self, digest: str, part: str) -> dict[int, BatchResult]:
        return {}

    def append(self, digest: str, part: str, batch: int, result: BatchResult) -> None:
        pass


BatchFn = Callable[[Tensor, Tensor, Tensor], Iterable[ImageValues]]
"""(samples_B on the CPU, x_BCHW in [0, 1], y_B) to the values of these images; a function of these and the seed
alone."""


def _unavailable(*_: object) -> NoReturn:
    raise InputError("evaluation", "no other run is at hand here, no journals and no images of another split")


@dataclass
class EvaluationContext:
    """The images and data that an evaluator works on, and the account of the batches it has measured."""

    images: ImageSet
    """The test images."""
    device: str
    batch_size: int
    watch: Callable[[int, int], None] = lambda done, total: None
    """Called before each batch, after the last one, and within a long one, with the images done and the images there
    are; may raise to stop the evaluation."""
    load_model: Callable[[str], CebModel] = _unavailable
    """Returns the trained model of another run by its id; InputError if there is none, or none for these images."""
    load_images: Callable[[Split | Literal["holdout"]], ImageSet] = _unavailable
    """Returns the images of another split of the run's data: `train`, those it was trained on, or `holdout`."""
    root: Path = Path()
    """The data folder."""
    shard: Shard = field(default_factory=Shard)
    cache: ResultCache = field(default_factory=NoCache)
    epochs: Callable[[], Epochs] = _unavailable
    """Returns the metrics that the training reported of each of its epochs."""
    objective: Objective = field(default_factory=Xent)
    """The objective that the model was trained by."""

    expected: int = 0
    """Images in all, if `each_batch` is called several times; 0 lets every call count for itself."""
    done: int = field(default=0, init=False)
    total: int = field(default=0, init=False)
    is_complete: bool = field(default=True, init=False)
    """Every batch has a result; False while other jobs still measure their shards."""
    seconds: float = field(default=0.0, init=False)
    """The time that the batches took, whichever process or attempt measured them."""
    digests: dict[str, None] = field(default_factory=dict, init=False)
    """Those of the image sets that were measured, in order."""
    largest: int = field(default=0, init=False)
    """Images of the largest of these sets."""
    corrupt: int = field(default=0, init=False)
    """Images that could not be decoded, of the `requested` ones."""
    requested: int = field(default=0, init=False)

    def each_batch(
        self, measure_batch: BatchFn, subset: int | None = None, *, images: ImageSet | None = None, part: str = ""
    ) -> Iterator[ImageValues]:
        """Yield the values of `measure_batch` on the test set, or on this many images drawn evenly from the classes,
        joined in data set order: one `ImageValues` for each name that was measured on any image.

        Resumes where a former attempt stopped, and measures the batches of this process's shard only. `images` replace
        the test set; an evaluator that calls this several times names each `part`.
        """
        images = self.images if images is None else images
        selected_M = balanced_indices(images.labels_N, min(subset or len(images), len(images)))
        index_batches = list(torch.split(selected_M, self.batch_size))
        cached = self.cache.batches(images.digest, part)
        results = {number: cached[number] for number in range(len(index_batches)) if number in cached}
        fault: BaseException | None = None
        try:
            self._measure(measure_batch, images, part, index_batches, results)
        except (Stopped, InputError) as error:
            fault = error
        except BaseException as error:
            # With a broken device this process can't take part in what the others exchange.
            if is_fatal(error) or (is_device_broken(error) and self.shard.grouped):
                raise
            fault = self._pending_stop() or error
        results = self._gather(results, fault)
        self._account_for(images, len(selected_M), results, is_complete=len(results) == len(index_batches))
        yield from _join([column for number in sorted(results) for column in results[number].columns])

    def digest(self) -> str:
        """Return the digest of the images that were measured; of several sets, a digest of theirs; of the test set if
        none was."""
        if len(self.digests) < 2:
            return next(iter(self.digests), self.images.digest)
        return f"sha256:{hashlib.sha256(' '.join(self.digests).encode()).hexdigest()}"

    def check_stop(self) -> None:
        """Raise Stopped within a long batch if that was requested."""
        self.watch(self.done, self.total)

    def _pending_stop(self) -> Stopped | None:
        """Return the request to stop, if there is one: its signal reaches the processes that read images too, and
        their end raises an error of its own here."""
        try:
            self.check_stop()
        except Stopped as stopped:
            return stopped
        return None

    def _measure(
        self,
        measure_batch: BatchFn,
        images: ImageSet,
        part: str,
        index_batches: Sequence[Tensor],
        results: dict[int, BatchResult],
    ) -> None:
        """Add the missing results of this process's batches to `results`."""
        todo = [number for number in range(len(index_batches)) if self.shard.owns(number) and number not in results]
        resumed = sum(len(index_batches[number]) for number in results)
        self.total = max(self.expected, self.done + resumed + sum(len(index_batches[number]) for number in todo))
        self.done += resumed
        self.check_stop()
        if not todo:
            return
        loader = batches(images, [index_batches[number] for number in todo], NoAugment(), 0, 0, self.device)
        for number, batch in zip(todo, _timed(loader), strict=True):
            (samples_B, x_BCHW, y_B), began = batch
            # On the CPU at once: results of thousands of batches would fill the GPU.
            columns = tuple(
                ImageValues(column.name, column.unit, column.samples_M.cpu(), column.values_M.cpu())
                for column in measure_batch(samples_B, x_BCHW, y_B)
            )
            results[number] = BatchResult(columns, _corrupt(images, index_batches[number]), monotonic() - began)
            self.cache.append(images.digest, part, number, results[number])
            self.done += len(index_batches[number])
            self.check_stop()

    def _gather(self, results: dict[int, BatchResult], fault: BaseException | None) -> dict[int, BatchResult]:
        """Return all processes' results. In a group a fault or a request to stop is raised by all or by none of them,
        so that none waits for another that has ended."""
        if fault is not None and not self.shard.grouped:
            raise fault
        failure = None if fault is None else Failure.of(fault)
        replies = self.shard.gather((results, failure, isinstance(fault, Stopped)))
        if any(stopped for *_, stopped in replies):  # first, as a stop may have caused the faults
            raise Stopped
        failures = {number: failure for number, (_, failure, _) in enumerate(replies) if failure is not None}
        if failures:
            # One for all processes: they try again together where memory was too small.
            number = min(failures, key=lambda number: failures[number].kind != "memory")
            raise ProcessError(number, failures[number])
        return {number: result for shard_results, *_ in replies for number, result in shard_results.items()}

    def _account_for(
        self, images: ImageSet, requested: int, results: dict[int, BatchResult], *, is_complete: bool
    ) -> None:
        """Count what `each_batch` measured, and leave out the images that another process could not decode."""
        self.is_complete &= is_complete
        self.digests[images.digest] = None
        self.largest = max(self.largest, len(images))
        self.requested += requested
        for result in results.values():
            self.seconds += result.seconds
            self.corrupt += len(result.corrupt)
            for index, why in result.corrupt.items():
                assert isinstance(images, FolderImages)
                images.leave_out(index, why)


def _join(parts: Sequence[ImageValues]) -> Iterator[ImageValues]:
    """Yield one `ImageValues` for each name, in order of first appearance; names without an image are left out."""
    for name, unit in {part.name: part.unit for part in parts}.items():
        samples_M = torch.cat([part.samples_M for part in parts if part.name == name])
        values_M = torch.cat([part.values_M for part in parts if part.name == name])
        if len(values_M):
            yield ImageValues(name, unit, samples_M, values_M)


def _timed(loader: Iterator[Batch]) -> Iterator[tuple[Batch, float]]:
    """Yield each batch with the moment it was requested."""
    while True:
        began = monotonic()
        batch = next(loader, None)
        if batch is None:
            return
        yield batch, began


def _corrupt(images: ImageSet, indices_B: Tensor) -> dict[int, str]:
    if not isinstance(images, FolderImages) or not images.corrupt:
        return {}
    return {index: images.corrupt[index] for index in indices_B.tolist() if index in images.corrupt}
