"""Download of data sets: resumed after an interruption, verified, and then renamed into place.

    part file  ──verified──►  renamed (or, of an archive, each member verified and renamed)

A lock on the part file keeps two downloads apart. Without torch.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from experiments import datasets, own_dataset
from experiments.datasets import DatasetInfo
from experiments.errors import InputError, UnreachableError, expected
from jobs.datasets import image_folder

Progress = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes received and the size, None if the server does not tell it."""

RETRIES = 4
"""Attempts that may fail in a row without a single byte; any progress restarts the count."""
TIMEOUT_SECONDS = 30.0
_CHUNK = 1 << 20


@dataclass(frozen=True)
class RemoteFile:
    """One file on a server."""

    name: str
    md5: str


@dataclass(frozen=True)
class DownloadSource:
    """The published address of a data set: its files themselves, or one archive that contains them."""

    base: str
    files: tuple[RemoteFile, ...]
    archive: bool


SOURCES = {
    "cifar10": DownloadSource(
        "https://www.cs.toronto.edu/~kriz/",
        (RemoteFile("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),),
        archive=True,
    ),
    "cifar100": DownloadSource(
        "https://www.cs.toronto.edu/~kriz/",
        (RemoteFile("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),),
        archive=True,
    ),
    "svhn": DownloadSource(
        "http://ufldl.stanford.edu/housenumbers/",
        tuple(RemoteFile(Path(file.path).name, file.md5) for file in datasets.info("svhn").files),
        archive=False,
    ),
    "stl10": DownloadSource(
        "http://ai.stanford.edu/~acoates/stl10/",
        (RemoteFile("stl10_binary.tar.gz", "91f7769df0f17e558f3565bffb0c7dfb"),),
        archive=True,
    ),
    "fashion_mnist": DownloadSource(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        tuple(RemoteFile(Path(file.path).name, file.md5) for file in datasets.info("fashion_mnist").files),
        archive=False,
    ),
}


@dataclass(frozen=True)
class DatasetStatus:
    """The state of one data set under the data folder."""

    name: str
    state: Literal["ready", "damaged", "missing"]
    detail: str
    """For people: the place and how far it was checked, or the fault and how to get the data set."""


def fetch(name: str, root: Path, progress: Progress = lambda *_: None, base: str | None = None) -> Path:
    """Download a data set to `root` and return its folder; do nothing if it is already whole.

    `base` replaces the published address (a mirror; ends in a slash). Raises InputError for an unknown data set, one
    that can't be downloaded or a `root` that can't be written, and UnreachableError if the server does not deliver.
    """
    info = _info(name)
    source = SOURCES.get(name)
    if source is None:
        raise InputError(name, "can't be fetched", f"get it with {info.obtain}; fetched: {', '.join(sorted(SOURCES))}")
    folder = root / info.folder
    if not _faults(info, root):
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for remote in source.files:
            target = (root if source.archive else folder) / remote.name
            if not source.archive and _md5(target) == remote.md5:
                continue
            with _locked(target.with_name(f".{remote.name}.part")) as part:
                _download((base or source.base) + remote.name, part, remote, progress)
                if source.archive:
                    _unpack(part, info, root)
                    Path(part.name).unlink()
                else:
                    Path(part.name).replace(target)
    except OSError as error:
        raise InputError(error.filename or folder, error.strerror or str(error)) from None
    return folder


def dataset_status(name: str, root: Path) -> DatasetStatus:
    """Return the state of a data set: published files are verified by checksum, folders of images only counted."""
    if own_dataset.is_own(name):
        return _own(name, root)
    info = _info(name)
    folder = root / info.folder
    if not info.folder:
        return DatasetStatus(name, "ready", "inside scikit-learn")
    if not folder.is_dir():
        return DatasetStatus(name, "missing", f"{folder} does not exist; get it with {info.obtain}")
    faults = _faults(info, root)
    if faults:
        return DatasetStatus(name, "damaged", f"{'; '.join(faults)}; get it with {info.obtain}")
    return DatasetStatus(name, "ready", f"{folder}, {'verified' if info.files else 'verified when it is read'}")


def _info(name: str) -> DatasetInfo:
    if name not in datasets.DATASETS and not own_dataset.is_own(name):
        raise InputError(name, "no data set of this name", expected(datasets.DATASETS, name))
    return datasets.info(name)


_MOVED = "put it back, or run `cebctl init` on it where it lies now: it is the same data set"


def _own(name: str, root: Path) -> DatasetStatus:
    """Return the state of a user's folders of images by the number of images."""
    description_path = own_dataset.description_path(name)
    if not description_path.exists():
        return DatasetStatus(name, "missing", f"{description_path} does not exist; `cebctl init` writes it")
    try:
        info, described = datasets.info(name), own_dataset.read(name)
    except InputError as error:
        return DatasetStatus(name, "damaged", str(error))
    if described.reader:
        sources = own_dataset.sources_path(name)
        if not sources.is_dir():
            return DatasetStatus(info.name, "missing", f"{sources} does not exist; `cebctl init` writes it")
        return DatasetStatus(info.name, "ready", f"read by {described.reader.origin}, verified when it is read")
    splits: tuple[datasets.Split, ...] = ("train", "test")
    for split in splits:
        folder, listed = image_folder.list_split(root, described, split)
        if not folder.is_dir():
            return DatasetStatus(info.name, "missing", f"{folder} does not exist; {_MOVED}")
        if len(listed) != info.images(split):
            fault = f"{folder} holds {len(listed):,} of {info.images(split):,} {split} images"
            return DatasetStatus(info.name, "damaged", f"{fault}; {own_dataset.CHANGED}")
    return DatasetStatus(info.name, "ready", f"{root / info.folder}, verified when it is read")


def _faults(info: DatasetInfo, root: Path) -> list[str]:
    """Return the faults of the files, or of the folders of images, under `root`."""
    faults = []
    for file in info.files:
        md5 = _md5(root / file.path)
        if md5 != file.md5:
            faults.append(f"{root / file.path} is {'missing' if md5 is None else 'truncated or changed'}")
    class_folders = [] if info.files else ["train", *([] if info.test_labels else [info.test_folder])]
    for split in class_folders:
        folder = root / info.folder / split
        classes = sum(entry.is_dir() for entry in folder.iterdir()) if folder.is_dir() else 0
        if classes != info.classes:
            faults.append(f"{folder} holds {classes} of {info.classes} class folders")
    if info.test_labels and not (root / info.folder / info.test_labels).is_file():
        faults.append(f"{root / info.folder / info.test_labels} is missing")
    return faults


def _md5(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, _new_md5).hexdigest()
    except OSError:
        return None


def _new_md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """Open the part file without truncating it, and hold its lock. Raises InputError if another process holds it."""
    with path.open("ab+") as part:
        try:
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(path, "is being fetched by another process", "wait for it to end") from None
        yield part


class _TransferError(Exception):
    """The connection failed in a way that another attempt may cure."""


def _download(url: str, part: BinaryIO, remote: RemoteFile, progress: Progress) -> None:
    """Complete the part file; on return it has the published MD5 and is on the disk."""
    resumed = _size(part) > 0
    _transfer_with_retries(url, part, remote, progress)
    md5 = _part_md5(part)
    if md5 != remote.md5 and resumed:  # the old part may have been of another version of the file
        part.truncate(0)
        _transfer_with_retries(url, part, remote, progress)
        md5 = _part_md5(part)
    if md5 != remote.md5:
        size = _size(part)
        part.truncate(0)
        raise UnreachableError(url, f"sent {size:,} bytes with MD5 {md5}, but {remote.md5} was published")
    part.flush()
    os.fsync(part.fileno())


def _transfer_with_retries(url: str, part: BinaryIO, remote: RemoteFile, progress: Progress) -> None:
    failures = 0
    while True:
        before = _size(part)
        try:
            return _transfer(url, part, remote, progress)
        except _TransferError as error:
            failures = 1 if _size(part) > before else failures + 1
            if failures >= RETRIES:
                raise UnreachableError(url, str(error)) from None
            time.sleep(_pause(failures))


def _pause(failures: int) -> float:
    return 0.5 * 2.0**failures


def _transfer(url: str, part: BinaryIO, remote: RemoteFile, progress: Progress) -> None:
    """Append the missing bytes to the part file, over one connection."""
    start = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with _opened(request, url) as response:
        if response is None:  # no bytes behind `start`: the part is complete
            return
        if response.status != 206:  # the server sends it from the beginning
            part.truncate(0)
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        done = start
        while chunk := _received(response):
            part.write(chunk)
            done += len(chunk)
            progress(remote.name, done, total)
        part.flush()
    if total is not None and done < total:
        raise _TransferError(f"the connection ended after {done:,} of {total:,} bytes")


@contextmanager
def _opened(request: urllib.request.Request, url: str) -> Iterator[http.client.HTTPResponse | None]:
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            yield None
            return
        if error.code >= 500 or error.code == 429:
            raise _TransferError(f"the server answers {error.code} {error.reason}") from None
        raise UnreachableError(url, f"the server answers {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise _TransferError(str(error.reason)) from None
    except (OSError, http.client.HTTPException) as error:
        raise _TransferError(str(error) or type(error).__name__) from None
    with response:
        yield response


def _received(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _TransferError(str(error) or type(error).__name__) from None


def _unpack(part: BinaryIO, info: DatasetInfo, root: Path) -> None:
    """Bring the named members of the archive into place, each verified; extract nothing else."""
    part.seek(0)
    with tarfile.open(fileobj=part) as archive:
        for file in info.files:
            member = archive.extractfile(file.path)
            assert member is not None, file.path
            content = member.read()
            assert hashlib.md5(content, usedforsecurity=False).hexdigest() == file.md5, file.path
            target = root / file.path
            beside = target.with_name(f".{target.name}.part")
            with beside.open("wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
            beside.replace(target)


def _size(part: BinaryIO) -> int:
    part.flush()
    return os.fstat(part.fileno()).st_size


def _part_md5(part: BinaryIO) -> str:
    part.seek(0)
    return hashlib.file_digest(part, _new_md5).hexdigest()  # type: ignore[arg-type]
