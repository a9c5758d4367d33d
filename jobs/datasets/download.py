"""Download of data sets: resumed after an interruption, verified, and then renamed into place.

    part file  ──verified──►  renamed (or, of an archive, each member verified and renamed)

A lock on the part file keeps two downloads apart. Nothing of a server is believed: the checksum of every file was known
beforehand, so that plain HTTP is as good as TLS, and size, time and redirects have limits. Without torch.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import re
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from experiments import datasets
from experiments.atomic_files import replacing, sweep
from experiments.datasets import DatasetInfo
from experiments.errors import InputError, UnreachableError
from jobs.datasets.dataset_status import file_md5, find_faults, known_info, new_md5

Progress = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes received and the size, None if the server does not tell it."""

RETRIES = 4
"""Attempts that may fail in a row without a single byte; any progress restarts the count."""
TIMEOUT_SECONDS = 30.0
"""The time that a connection may be silent."""
MIN_BYTES_PER_SECOND = 20_000
"""The least average speed: a server that sends a byte now and then would never end."""
GRACE_SECONDS = 300.0
"""The time that a download of any size may take."""
MAX_REDIRECTS = 5
_CHUNK = 1 << 20
_MAX_REASON = 200


@dataclass(frozen=True)
class RemoteFile:
    """One file on a server."""

    name: str
    md5: str
    limit: int
    """The bytes that are received at most, a little more than it has."""

    @property
    def seconds(self) -> float:
        """The time that its download may take."""
        return GRACE_SECONDS + self.limit / MIN_BYTES_PER_SECOND


@dataclass(frozen=True)
class DownloadSource:
    """The published address of a data set: its files themselves, or one archive that contains them."""

    base: str
    files: tuple[RemoteFile, ...]
    archive: bool


SOURCES = {
    "cifar10": DownloadSource(
        "https://www.cs.toronto.edu/~kriz/",
        (RemoteFile("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a", 180_000_000),),
        archive=True,
    ),
    "cifar100": DownloadSource(
        "https://www.cs.toronto.edu/~kriz/",
        (RemoteFile("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85", 180_000_000),),
        archive=True,
    ),
    "svhn": DownloadSource(
        "http://ufldl.stanford.edu/housenumbers/",
        tuple(RemoteFile(Path(file.path).name, file.md5, 200_000_000) for file in datasets.info("svhn").files),
        archive=False,
    ),
    "stl10": DownloadSource(
        "http://ai.stanford.edu/~acoates/stl10/",
        (RemoteFile("stl10_binary.tar.gz", "91f7769df0f17e558f3565bffb0c7dfb", 2_700_000_000),),
        archive=True,
    ),
    "fashion_mnist": DownloadSource(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        tuple(RemoteFile(Path(file.path).name, file.md5, 30_000_000) for file in datasets.info("fashion_mnist").files),
        archive=False,
    ),
}


def fetch(name: str, root: Path, progress: Progress = lambda *_: None, base: str | None = None) -> Path:
    """Download a data set to `root` and return its folder; do nothing if it is already whole.

    `base` replaces the published address (a mirror; ends in a slash). Raises InputError for an unknown data set, one
    that can't be downloaded or a `root` that can't be written, and UnreachableError if the server does not deliver.
    """
    info = known_info(name)
    source = SOURCES.get(name)
    if source is None:
        raise InputError(name, "can't be fetched", f"get it with {info.obtain}; fetched: {', '.join(sorted(SOURCES))}")
    folder = root / info.folder
    parts = {remote: (root if source.archive else folder) / f".{remote.name}.part" for remote in source.files}
    if not find_faults(info, root, verify=True):
        _sweep(folder, parts.values())
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for remote in source.files:
            target = (root if source.archive else folder) / remote.name
            if not source.archive and file_md5(target) == remote.md5:
                continue
            with _locked(parts[remote]) as part:
                _download((base or source.base) + remote.name, part, remote, progress)
                if source.archive:
                    _unpack(part, info, root)
                    Path(part.name).unlink()
                else:
                    Path(part.name).replace(target)
    except OSError as error:
        raise InputError(error.filename or folder, error.strerror or str(error)) from None
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """Open the part file without truncating it, and hold its lock. Raises InputError if another process holds it."""
    with path.open("ab+") as part:
        try:
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(path, "is being fetched by another process", "wait for it to end") from None
        yield part


def _sweep(folder: Path, parts: Iterable[Path]) -> None:
    """Remove what killed downloads of a whole data set left, and nothing that another process still writes."""
    sweep(folder)
    for path in filter(Path.exists, parts):
        with suppress(InputError, OSError), _locked(path):
            path.unlink()


class _TransferError(Exception):
    """The connection failed in a way that another attempt may cure."""


def _download(url: str, part: BinaryIO, remote: RemoteFile, progress: Progress) -> None:
    """Complete the part file; on return it has the published MD5 and is on the disk."""
    resumed = _size(part) > 0
    deadline = time.monotonic() + remote.seconds
    _transfer_with_retries(url, part, remote, progress, deadline)
    md5 = _part_md5(part)
    if md5 != remote.md5 and resumed:  # the old part may have been of another version of the file
        part.truncate(0)
        _transfer_with_retries(url, part, remote, progress, deadline)
        md5 = _part_md5(part)
    if md5 != remote.md5:
        size = _size(part)
        part.truncate(0)
        raise UnreachableError(url, f"sent {size:,} bytes with MD5 {md5}, but {remote.md5} was published")
    part.flush()
    os.fsync(part.fileno())


def _transfer_with_retries(url: str, part: BinaryIO, remote: RemoteFile, progress: Progress, deadline: float) -> None:
    failures = 0
    while True:
        before = _size(part)
        try:
            return _transfer(url, part, remote, progress, deadline)
        except _TransferError as error:
            failures = 1 if _size(part) > before else failures + 1
            if failures >= RETRIES:
                raise UnreachableError(url, str(error)) from None
            time.sleep(_pause(failures))


def _pause(failures: int) -> float:
    return 0.5 * 2.0**failures


def _transfer(url: str, part: BinaryIO, remote: RemoteFile, progress: Progress, deadline: float) -> None:
    """Append the missing bytes to the part file, over one connection.

    Raises UnreachableError for a server that sends more than the file has, or too slowly.
    """
    start = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with _opened(request, url) as response:
        if response is None:  # no bytes behind `start`: the part is complete
            return
        if response.status != 206:  # the server sends it from the beginning
            part.truncate(0)
            start = 0
        length = response.headers.get("Content-Length")
        if length and not re.fullmatch(r"[0-9]{1,18}", length, re.ASCII):
            raise UnreachableError(url, f"the server tells no valid length: {_in_one_line(length)!r}")
        total = start + int(length) if length else None
        done = start
        _check_size(url, total or 0, part, remote)
        while chunk := _received(response):
            part.write(chunk)
            done += len(chunk)
            _check_size(url, done, part, remote)
            if time.monotonic() > deadline:
                part.flush()
                wrong = f"{done:,} bytes came in {remote.seconds:,.0f} s: too slow"
                raise UnreachableError(url, f"{wrong}; the same command goes on from there")
            progress(remote.name, done, total)
        part.flush()
    if total is not None and done < total:
        raise _TransferError(f"the connection ended after {done:,} of {total:,} bytes")


def _check_size(url: str, size: int, part: BinaryIO, remote: RemoteFile) -> None:
    if size > remote.limit:
        part.truncate(0)
        raise UnreachableError(url, f"the server sends {size:,} bytes or more; {remote.name} has fewer")


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = MAX_REDIRECTS
    inf_msg = "too many redirects: "


_opener = urllib.request.build_opener(_Redirects)


@contextmanager
def _opened(request: urllib.request.Request, url: str) -> Iterator[http.client.HTTPResponse | None]:
    try:
        response = _opener.open(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            yield None
            return
        answer = f"the server answers {error.code} {_in_one_line(error.reason)}"
        if error.code >= 500 or error.code == 429:
            raise _TransferError(answer) from None
        raise UnreachableError(url, answer) from None
    except urllib.error.URLError as error:
        raise _TransferError(_in_one_line(error.reason)) from None
    except (OSError, http.client.HTTPException) as error:
        raise _TransferError(_in_one_line(error)) from None
    except ValueError as error:
        raise UnreachableError(url, f"the server redirects to no valid address: {_in_one_line(error)}") from None
    with response:
        yield response


def _received(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(_CHUNK)  # what has come: a whole chunk may take a slow server for ever
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _TransferError(_in_one_line(error)) from None


def _in_one_line(reason: object) -> str:
    """Return what a server or the network says, which may have many lines."""
    return " ".join(str(reason).split())[:_MAX_REASON] or type(reason).__name__


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
            with replacing(target) as beside, beside.open("wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())


def _size(part: BinaryIO) -> int:
    part.flush()
    return os.fstat(part.fileno()).st_size


def _part_md5(part: BinaryIO) -> str:
    part.seek(0)
    return hashlib.file_digest(part, new_md5).hexdigest()  # type: ignore[arg-type]
