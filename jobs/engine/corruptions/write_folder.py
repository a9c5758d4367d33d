"""Corrupted copies of a folder of images, in ImageNet-C's layout: `OUT/<corruption>/<severity>/<class>/<file>`.

The pixels are those that `common_corruptions` judges: an image's draws follow from the corruption, the severity and its
index in the folder, by class and then by file name. A file appears when it is whole, so that what exists is done.
`OUT/cebctl-corrupt.json` says of which images and by which parameters the files were made; others are refused.
"""

from __future__ import annotations

import hashlib
import os
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import numpy as np

from experiments.atomic_files import sweep, write_atomic
from experiments.errors import CebctlError, InputError
from experiments.numerics import VERSIONS
from experiments.regular_files import read_regular
from jobs import processes, provenance
from jobs.datasets import image_folder
from jobs.datasets.image_file import open_image, orientation
from jobs.datasets.image_folder import printable
from jobs.engine.corruptions import digital
from jobs.engine.corruptions.arithmetic import Bytes
from jobs.engine.corruptions.generate import FUNCTIONS, PUBLISHED_QUALITY, SEED, Corruption
from jobs.engine.corruptions.parameters import PUBLISHED
from jobs.engine.data.augmentation.augment import imagenet_c_crop
from jobs.engine.data.loader_pool import UNREADABLE

Pipeline = Literal["published", "as-is"]
Set = tuple[str, int]
"""A corruption and a severity."""
Progress = Callable[[int, int], None]
"""Is told how many files are there, and how many there will be."""

RECORD = "cebctl-corrupt.json"
PUBLISHED_SIZE = 224
_LIBRARIES = ("numpy", "opencv-python-headless", "pillow", "scipy")
_FILES_PER_TASK = 100
_TASKS_AHEAD = 4
"""For each process."""
_IMAGES_PER_EXAMINATION = 50


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The images and the parameters that the files of OUT are made of."""

    pipeline: Pipeline
    size: int | None
    """In pixels; None: each image's own."""
    channels: int
    jpeg_quality: int | None
    seed: int
    images: int
    unreadable: list[str]
    """Images without files: `<class>/<file>`, as `printable` spells them. They are tried again, and need not stay as
    they are."""
    digest: str
    """Of the names and the contents of the others."""
    versions: dict[str, int]
    """The numerics version of every corruption."""
    libraries: dict[str, str]


@dataclass(frozen=True)
class Written:
    """The outcome of `write_folder`."""

    images: int
    sets: int
    """Corruptions times severities."""
    written: int
    """Files of this call; `present` is the number of those that were there before."""
    present: int
    unreadable: dict[str, str]
    """Why images have no files, by `<class>/<file>` as `printable` spells it."""
    notes: list[str]
    """What the user may not expect, a line each."""


@dataclass(frozen=True)
class _Header:
    """What is known of an image file before it is corrupted."""

    digest: str
    width: int = 0
    height: int = 0
    grey: bool = False
    transparent: bool = False
    turned: bool = False
    error: str = ""


@dataclass(frozen=True)
class _Job:
    """What every process is told."""

    folder: Path
    out: Path
    pipeline: Pipeline
    size: int | None
    channels: int = 3

    def target(self, corruption: str, severity: int, name: str) -> Path:
        """Return the file of an image `<class>/<file>` in a set."""
        suffixes, suffix = ((".jpg", ".jpeg"), ".JPEG") if self.pipeline == "published" else ((".png",), ".png")
        renamed = name if name.lower().endswith(suffixes) else f"{name}{suffix}"
        return self.out / corruption / str(severity) / renamed


@dataclass
class _Listing:
    """The images of a folder, as `<class>/<file>`, in the order of their indices."""

    names: list[str]
    notes: list[str] = field(default_factory=list)


def write_folder(
    folder: Path,
    out: Path,
    *,
    corruptions: Sequence[str],
    severities: Sequence[int],
    pipeline: Pipeline = "published",
    size: int | None = None,
    workers: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Written:
    """Write the files that are missing, in as many processes as there are cores, or `workers`.

    `published`: as ImageNet-C was made, at 224 pixels unless `size` says otherwise: the short side resized to 256/224
    of it, the central square, JPEG files of quality 85. `as-is`: PNG files of the images, which must be square, or
    with `size` as `cebctl init` reads them: upright, the short side resized to it, the central square.

    Raises InputError if there are no images, if `out` is inside the folder or holds anything else than files of these
    images and parameters, OSError if a file can't be written, and CebctlError if a process is killed.
    """
    if pipeline == "published":
        size = size or PUBLISHED_SIZE
    listing = _list(folder)
    job = _Job(folder, out, pipeline, size)
    _check_targets(job, listing.names)
    record = _read_record(job)
    sets = [(corruption, severity) for corruption in corruptions for severity in severities]
    workers = workers or len(os.sched_getaffinity(0))
    context = get_context("fork")  # before any thread is started, so that the libraries are imported once
    stop = context.Event()
    with ProcessPoolExecutor(workers, context, initializer=_begin_process, initargs=(stop,)) as pool:
        try:
            headers = _examine_all(pool, job, listing.names, decode=record is None)
            job = _begin(job, listing, headers, record)
            return _write(pool, workers, job, listing, headers, sets, progress)
        except BrokenProcessPool:
            raise CebctlError(
                f"{out}: a process was killed (out of memory?); the same command with a smaller --workers goes on"
            ) from None
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


_stop: Event | None = None
"""In a process of the pool: set when nobody waits for its results any more."""


def _begin_process(stop: Event) -> None:
    global _stop
    _stop = stop
    processes.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to every process; the first one ends the others
    warnings.simplefilter("ignore")  # Pillow's, of cut-off metadata and the like: the pixels are read all the same


def _list(folder: Path) -> _Listing:
    classes = image_folder.class_folders(folder)
    names = [name for name, _ in image_folder.list_images(folder, classes, "test", None)]
    if not names:
        inside = sorted(path.name for path in folder.iterdir() if path.is_dir() and image_folder.class_folders(path))
        advice = f"name {' or '.join(f'{folder.name}/{name}' for name in inside[:3])}" if inside else ""
        raise InputError(folder, "no images in <class>/<file>", advice or f"such as cat/1{image_folder.SUFFIXES[0]}")
    return _Listing(names, image_folder.left_aside(folder, classes))


def _check_targets(job: _Job, names: Sequence[str]) -> None:
    """Raise InputError if OUT is inside the folder, or if two images would have one file."""
    if job.out.resolve().is_relative_to(job.folder.resolve()):
        raise InputError(job.out, f"lies in {job.folder}, whose images are read", "name a folder outside of it")
    of_target: dict[Path, str] = {}
    for name in names:
        target = job.target("", 0, name)
        if target in of_target:
            twin = f"would get the same name as {printable(of_target[target])}"
            raise InputError(printable(f"{job.folder}/{name}"), twin, "rename one of them")
        of_target[target] = name


def _read_record(job: _Job) -> Record | None:
    """Return the record of OUT; None for a new or an empty folder. Raises InputError if it is of something else."""
    # Looked at first: another process that begins the same folder writes its record before any file.
    is_used = job.out.is_dir() and any(not path.name.startswith(".") for path in job.out.iterdir())
    try:
        content = read_regular(job.out / RECORD)
    except FileNotFoundError:
        if is_used:
            raise InputError(
                job.out, "holds other files than of `cebctl corrupt`", "a new or an empty folder"
            ) from None
        return None
    except NotADirectoryError:
        raise InputError(job.out, "is no folder") from None
    try:
        record = msgspec.json.decode(content, type=Record)
    except msgspec.DecodeError as error:
        raise InputError(job.out / RECORD, f"damaged: {error}", "name another --out") from None
    changed = {
        "--pipeline": (record.pipeline, job.pipeline),
        "--size": (record.size or "of each image", job.size or "of each image"),
        "seed": (record.seed, SEED),
        "JPEG quality": (record.jpeg_quality, _quality(job)),
        **{f"version of {name}": (record.versions.get(name, 0), version) for name, version in _versions().items()},
    }
    if differing := [f"{name} {was}, now {now}" for name, (was, now) in changed.items() if was != now]:
        raise InputError(job.out, f"was begun with {'; '.join(differing)}", "name another --out")
    return record


def _quality(job: _Job) -> int | None:
    return PUBLISHED_QUALITY if job.pipeline == "published" else None


def _versions() -> dict[str, int]:
    return {name: VERSIONS[f"corruption.{name}"] for name in FUNCTIONS}


def _examine_all(pool: ProcessPoolExecutor, job: _Job, names: Sequence[str], *, decode: bool) -> list[_Header]:
    """Return the header of each image; with `decode` those that are cut off have an error too."""
    batches = [
        names[start : start + _IMAGES_PER_EXAMINATION] for start in range(0, len(names), _IMAGES_PER_EXAMINATION)
    ]
    futures = [pool.submit(_examine_batch, job.folder, batch, decode) for batch in batches]
    return [header for future in futures for header in future.result()]


def _examine_batch(folder: Path, names: Sequence[str], decode: bool) -> list[_Header]:
    return [_examine(folder / name, decode) for name in names]


def _examine(path: Path, decode: bool) -> _Header:
    digest = ""
    try:
        content = read_regular(path)
        digest = hashlib.sha256(content).hexdigest()
        with open_image(content) as image:
            if decode:
                image.load()
            return _Header(
                digest,
                *image.size,
                grey=image.mode in ("1", "L", "LA"),
                transparent=image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info,
                turned=orientation(image) != 1,
            )
    except UNREADABLE as error:
        return _Header(digest, error=_reason(error))


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _begin(job: _Job, listing: _Listing, headers: Sequence[_Header], record: Record | None) -> _Job:
    """Write the record, or compare it with the images; return the job with the number of channels."""
    names = listing.names
    if record is not None:
        if (record.images, record.digest) != (len(names), _digest(names, headers, record.unreadable)):
            raise InputError(
                job.out,
                f"was begun with other images than {job.folder} has now",
                "name another --out, or put them back",
            )
        if (libraries := _libraries()) != record.libraries:
            changed = [f"{name} {record.libraries.get(name)} -> {libraries.get(name)}" for name in _LIBRARIES
                       if record.libraries.get(name) != libraries.get(name)]  # fmt: skip
            listing.notes.append(f"begun with other libraries, which may round differently: {', '.join(changed)}")
        return replace(job, channels=record.channels)
    readable = [header for header in headers if not header.error]
    if not readable:
        wrong = f"none of {_images(len(names))} can be read"
        raise InputError(job.folder, wrong, f"{printable(names[0])}: {headers[0].error}")
    if job.pipeline == "as-is" and job.size is None:
        _check_square(job, names, headers)
    grey = job.pipeline == "as-is" and all(header.grey for header in readable)
    job = replace(job, channels=1 if grey else 3)
    unreadable = [printable(name) for name, header in zip(names, headers, strict=True) if header.error]
    digest = _digest(names, headers, unreadable)
    record = Record(
        job.pipeline,
        job.size,
        job.channels,
        _quality(job),
        SEED,
        len(names),
        unreadable,
        digest,
        _versions(),
        _libraries(),
    )
    job.out.mkdir(parents=True, exist_ok=True)
    write_atomic(job.out / RECORD, msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    return job


def _check_square(job: _Job, names: Sequence[str], headers: Sequence[_Header]) -> None:
    oblong = [index for index, header in enumerate(headers) if header.width != header.height]
    if oblong:
        first = headers[oblong[0]]
        raise InputError(
            printable(f"{job.folder}/{names[oblong[0]]}"),
            f"{first.width}x{first.height} pixels, and corruptions are of square images ({len(oblong):,} are not)",
            "name a --size, to which the short side is resized and the centre taken",
        )


def _digest(names: Sequence[str], headers: Sequence[_Header], unreadable: Iterable[str]) -> str:
    skipped, digest = set(unreadable), hashlib.sha256()
    for name, header in zip(names, headers, strict=True):
        digest.update(
            f"{name}\0{'' if printable(name) in skipped else header.digest}\0".encode(errors="surrogateescape")
        )
    return f"sha256:{digest.hexdigest()}"


def _libraries() -> dict[str, str]:
    return {name: version for name, version in provenance.library_versions().items() if name in _LIBRARIES}


def _write(
    pool: ProcessPoolExecutor,
    workers: int,
    job: _Job,
    listing: _Listing,
    headers: Sequence[_Header],
    sets: Sequence[Set],
    progress: Progress,
) -> Written:
    names = listing.names
    unreadable = {name: header.error for name, header in zip(names, headers, strict=True) if header.error}
    missing = _missing(job, names, unreadable, sets)
    total = (len(names) - len(unreadable)) * len(sets)
    present = total - sum(len(sets_of) for sets_of in missing.values())
    written = 0
    progress(present, total)
    images_per_task = max(1, _FILES_PER_TASK // max(len(sets), 1))
    pending = [(index, names[index], headers[index].width, sets_of) for index, sets_of in missing.items()]
    tasks = (pending[start : start + images_per_task] for start in range(0, len(pending), images_per_task))
    for count, errors in _in_turn(pool, partial(_write_images, job), tasks, _TASKS_AHEAD * workers):
        written += count
        unreadable |= errors
        progress(present + written, total)
    notes = [*listing.notes, *_notes(job, headers)]
    reasons = {printable(name): reason for name, reason in unreadable.items()}
    return Written(len(names), len(sets), written, present, reasons, notes)


Task = TypeVar("Task")
Done = TypeVar("Done")


def _in_turn(
    pool: ProcessPoolExecutor, work: Callable[[Task], Done], tasks: Iterator[Task], ahead: int
) -> Iterator[Done]:
    """Yield the results of the tasks as they end. So many are handed over ahead: all may be a million."""
    running: set[Future[Done]] = {pool.submit(work, task) for task in islice(tasks, ahead)}
    while running:
        ended, running = wait(running, return_when=FIRST_COMPLETED)
        running |= {pool.submit(work, task) for task in islice(tasks, len(ended))}
        for future in ended:
            yield future.result()


def _missing(
    job: _Job, names: Sequence[str], unreadable: Mapping[str, str], sets: Sequence[Set]
) -> dict[int, list[Set]]:
    """Return the sets in which an image has no file yet, by its index. Makes the folders of those files, and removes
    what killed processes left in them."""
    missing: dict[int, list[Set]] = {}
    by_class: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        if name not in unreadable:
            by_class.setdefault(name.partition("/")[0], []).append(index)
    for corruption, severity in sets:
        for class_name, indices in by_class.items():
            folder = job.out / corruption / str(severity) / class_name
            files = _files(folder)
            absent = [index for index in indices if job.target(corruption, severity, names[index]).name not in files]
            if absent:
                folder.mkdir(parents=True, exist_ok=True)
            for index in absent:
                missing.setdefault(index, []).append((corruption, severity))
    return missing


def _files(folder: Path) -> set[str]:
    """Return the names of the files that are not empty: a machine that lost its power may leave an empty one."""
    try:
        with os.scandir(folder) as entries:
            sizes = {entry.name: entry.stat().st_size for entry in entries}
    except FileNotFoundError:
        return set()
    if any(name.startswith(".") for name in sizes):
        sweep(folder)
    return {name for name, size in sizes.items() if size}


def _write_images(job: _Job, images: Sequence[tuple[int, str, int, Sequence[Set]]]) -> tuple[int, dict[str, str]]:
    """Write the files of some images; return their number, and the images that can't be read."""
    written, errors = 0, {}
    for index, name, width, sets in images:
        try:
            pixels_HWC = _read(job, name, width)
        except UNREADABLE as error:
            errors[name] = _reason(error)
            continue
        for corruption, severity in sets:
            if _stop is not None and _stop.is_set():
                return written, errors
            corrupted_HWC = Corruption(corruption, severity, SEED)(pixels_HWC, index)
            published = job.pipeline == "published"
            encoded = (
                digital.encode_jpeg(corrupted_HWC, PUBLISHED_QUALITY)
                if published
                else digital.encode_png(corrupted_HWC)
            )
            _write_file(job.target(corruption, severity, name), encoded)
            written += 1
    return written, errors


def _write_file(path: Path, content: bytes) -> None:
    try:
        write_atomic(path, content, sweeps=False)
    except OSError as error:  # its own name is that of a temporary file, or none
        raise OSError(error.errno, error.strerror, str(path)) from None


def _read(job: _Job, name: str, width: int) -> Bytes:
    """Return an image as a network would get it, before it is corrupted: uint8 of shape (H, W, C)."""
    path = job.folder / name
    if job.pipeline == "as-is":
        return image_folder.square_pixels(read_regular(path), job.channels, job.size or width)
    assert job.size is not None
    with open_image(path) as image:
        return np.asarray(imagenet_c_crop(image.convert("RGB"), job.size))


def _notes(job: _Job, headers: Sequence[_Header]) -> list[str]:
    readable = [header for header in headers if not header.error]
    notes = []
    if transparent := sum(header.transparent for header in readable):
        notes.append(f"{_images(transparent)} with transparency: it is dropped, as in evaluations")
    if job.pipeline == "published":
        if turned := sum(header.turned for header in readable):
            notes.append(f"{_images(turned)} that EXIF says to turn: taken as stored, as ImageNet-C's makers did")
        side = (job.size or PUBLISHED_SIZE) * 256 // 224
        if small := sum(min(header.width, header.height) < side for header in readable):
            notes.append(f"{_images(small)} smaller than {side} pixels: enlarged; --pipeline as-is keeps their size")
    elif job.channels == 3 and (grey := sum(header.grey for header in readable)):
        notes.append(f"{_images(grey)} in grey among coloured ones: made RGB")
    sizes = Counter([job.size] if job.size else [header.width for header in readable])
    if foreign := sorted(size for size in sizes if size not in PUBLISHED):
        listed = ", ".join(map(str, foreign[:5])) + ", …" * (len(foreign) > 5)
        notes.append(f"no severities were published for {listed} pixels: those of the nearest size are taken")
    return notes


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"
