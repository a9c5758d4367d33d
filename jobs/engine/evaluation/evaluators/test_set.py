"""What evaluators are given and what they yield. Shapes: B images of a batch, M images that were measured."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Literal, Protocol

import torch
from torch import Tensor

from experiments.datasets import Split
from experiments.errors import CebctlError, InputError
from experiments.spec import NoAugment, Objective, Xent
from jobs.engine.data import ImageSet, batches
from jobs.engine.data.batches import Batch
from jobs.engine.data.images import FolderImages, evenly
from jobs.engine.errors import in_one_line, is_fatal
from jobs.engine.evaluation.sharding import Share
from jobs.engine.evaluation.training_history import Epochs
from jobs.engine.models import CebModel
from jobs.errors import Stopped


@dataclass(frozen=True)
class Found:
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
    """Of how many it was made."""
    value: float


@dataclass(frozen=True)
class BatchFound:
    """All that was found on one batch."""

    found: tuple[Found, ...]
    corrupt: dict[int, str]
    """Why images of the batch could not be decoded, by index."""
    seconds: float


class Notes(Protocol):
    """What is kept of batches that are done, so that another attempt does not measure them again."""

    def known(self, digest: str, part: str) -> dict[int, BatchFound]:
        """The batches of a part that are done, by number; `digest` is that of their images."""

    def note(self, digest: str, part: str, batch: int, found: BatchFound) -> None:
        """Keep what was found on a batch."""


class NoNotes:
    """Keeps nothing."""

    def known(self, digest: str, part: str) -> dict[int, BatchFound]:
        return {}

    def note(self, digest: str, part: str, batch: int, found: BatchFound) -> None:
        pass


OfBatch = Callable[[Tensor, Tensor, Tensor], Iterable[Found]]
"""(samples_B on the CPU, x_BCHW in [0, 1], y_B) to what is found on them; a function of these and the seed alone."""


def _no_other(run_id: str) -> CebModel:
    raise InputError(f"run {run_id}", "no other run is at hand here")


def _no_epochs() -> Epochs:
    raise InputError("training", "its journals are not at hand here")


def _no_images(split: str) -> ImageSet:
    raise InputError(split, "these images are not at hand here")


@dataclass
class Subject:
    """The test images as an evaluator walks them, and the account of that walk."""

    images: ImageSet
    device: str
    batch: int
    """Images at a time."""
    watch: Callable[[int, int], None] = lambda done, total: None
    """Called before each batch, and behind the last, with the images done and the images there are, and within
    a long one; may raise to stop the evaluation."""
    model_of: Callable[[str], CebModel] = _no_other
    """The trained model of another run by its id; InputError if there is none, or none for these images."""
    load: Callable[[Split | Literal["holdout"]], ImageSet] = _no_images
    """The images of another split of the run's data: `train`, those it was trained on, or `holdout`."""
    root: Path = Path()
    """The data folder."""
    share: Share = field(default_factory=Share)
    notes: Notes = field(default_factory=NoNotes)
    epochs: Callable[[], Epochs] = _no_epochs
    """What the training reported of each of its epochs."""
    objective: Objective = field(default_factory=Xent)
    """What it was trained by."""

    expected: int = 0
    """Images in all, if `each_batch` is called several times; 0 lets every call count for itself."""
    done: int = field(default=0, init=False)
    total: int = field(default=0, init=False)
    complete: bool = field(default=True, init=False)
    """Whether all batches were found; not so where other jobs have theirs still to do."""
    seconds: float = field(default=0.0, init=False)
    """What the batches took, whichever process or attempt measured them."""
    digests: dict[str, None] = field(default_factory=dict, init=False)
    """Of the image sets that were walked, in order."""
    largest: int = field(default=0, init=False)
    """Images of the largest of these sets."""
    corrupt: int = field(default=0, init=False)
    """Images that could not be decoded; `asked` is how many were to be measured."""
    asked: int = field(default=0, init=False)

    def each_batch(
        self, of_batch: OfBatch, subset: int | None = None, *, images: ImageSet | None = None, part: str = ""
    ) -> Iterator[Found]:
        """What `of_batch` finds on the test set, or on this many images drawn evenly from the classes, in data set
        order and joined: one `Found` for each name that was measured on any image.

        Goes on where a former attempt stopped, and measures this process's share only. `images` are walked instead
        of the test set; an evaluator that calls this several times names each `part`.
        """
        images = self.images if images is None else images
        chosen_M = evenly(images.labels_N, min(subset or len(images), len(images)))
        split = list(torch.split(chosen_M, self.batch))
        known = self.notes.known(images.digest, part)
        mine = {number: known[number] for number in range(len(split)) if number in known}
        fault: Exception | None = None
        try:
            self._measure(of_batch, images, part, split, mine)
        except (Stopped, InputError) as error:
            fault = error
        except Exception as error:
            if is_fatal(error):
                raise
            fault = self._stopped() or error
        yield from self._joined(images, len(chosen_M), len(split), self._gather(mine, fault))

    def digest(self) -> str:
        """Of the images that were walked; of several sets, a digest of theirs; if none was, of the test set."""
        if len(self.digests) < 2:
            return next(iter(self.digests), self.images.digest)
        return f"sha256:{hashlib.sha256(' '.join(self.digests).encode()).hexdigest()}"

    def hear(self) -> None:
        """Within a long batch: let a request to stop be heard."""
        self.watch(self.done, self.total)

    def _stopped(self) -> Stopped | None:
        """Return the request to stop, if there is one: its signal reaches the processes that read images too, and
        their end raises an error of its own here."""
        try:
            self.hear()
        except Stopped as stopped:
            return stopped
        return None

    def _measure(
        self, of_batch: OfBatch, images: ImageSet, part: str, split: Sequence[Tensor], mine: dict[int, BatchFound]
    ) -> None:
        """Add what this process's batches have found to `mine`, as far as they are not in it."""
        todo = [number for number in range(len(split)) if self.share.has(number) and number not in mine]
        before = sum(len(split[number]) for number in mine)
        self.total = max(self.expected, self.done + before + sum(len(split[number]) for number in todo))
        self.done += before
        self.hear()
        if not todo:
            return
        walk = batches(images, [split[number] for number in todo], NoAugment(), 0, 0, self.device)
        for number, batch in zip(todo, _timed(walk), strict=True):
            (samples_B, x_BCHW, y_B), began = batch
            found = tuple(_on_cpu(one) for one in of_batch(samples_B, x_BCHW, y_B))
            mine[number] = BatchFound(found, _corrupt(images, split[number]), monotonic() - began)
            self.notes.note(images.digest, part, number, mine[number])
            self.done += len(split[number])
            self.hear()

    def _gather(self, mine: dict[int, BatchFound], fault: Exception | None) -> dict[int, BatchFound]:
        """Return all processes' batches. In a group a fault or a request to stop is raised by all or by none of them,
        so that none waits for another that is gone."""
        wrong = None if fault is None else in_one_line(fault)
        everyone = self.share.gather((mine, wrong, isinstance(fault, InputError), isinstance(fault, Stopped)))
        if any(stopped for *_, stopped in everyone):
            raise Stopped
        for number, (_, wrong, by_input, _) in enumerate(everyone):
            if wrong is not None:
                said = f"process {number}"
                raise fault or (InputError(said, wrong) if by_input else CebctlError(f"{said}: {wrong}"))
        return {number: found for theirs, *_ in everyone for number, found in theirs.items()}

    def _joined(self, images: ImageSet, asked: int, count: int, together: dict[int, BatchFound]) -> Iterator[Found]:
        self.complete &= len(together) == count
        self.digests[images.digest] = None
        self.largest = max(self.largest, len(images))
        self.asked += asked
        for one in together.values():
            self.seconds += one.seconds
            self.corrupt += len(one.corrupt)
            for index, why in one.corrupt.items():
                assert isinstance(images, FolderImages)
                images.leave_out(index, why)
        return _join([found for number in sorted(together) for found in together[number].found])


def _join(parts: Sequence[Found]) -> Iterator[Found]:
    """One `Found` for each name, in order of first appearance; what was measured on no image is left out."""
    for name, unit in {part.name: part.unit for part in parts}.items():
        samples_M = torch.cat([part.samples_M for part in parts if part.name == name])
        values_M = torch.cat([part.values_M for part in parts if part.name == name])
        if len(values_M):
            yield Found(name, unit, samples_M, values_M)


def _timed(walk: Iterator[Batch]) -> Iterator[tuple[Batch, float]]:
    """Each batch with the moment it was asked for."""
    while True:
        began = monotonic()
        batch = next(walk, None)
        if batch is None:
            return
        yield batch, began


def _on_cpu(found: Found) -> Found:
    return Found(found.name, found.unit, found.samples_M.cpu(), found.values_M.cpu())


def _corrupt(images: ImageSet, indices_B: Tensor) -> dict[int, str]:
    if not isinstance(images, FolderImages) or not images.corrupt:
        return {}
    return {index: images.corrupt[index] for index in indices_B.tolist() if index in images.corrupt}
