"""Journals: append-only JSON lines, one writer per file, the only thing a job reports through.

A line is one record, a tagged object (`type`). A torn last line is legal: its writer was killed. The next
writer of the same file begins on a new line, and a reader never consumes a line without its newline.
The store is rebuilt from these files alone, so what is not in a journal has not happened.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import msgspec
from msgspec import Meta, Struct, field

from experiments.benchmarks import AnyBenchmark
from experiments.matrix.resources_section import Execution, Resources, Stage
from jobs import file_ownership
from jobs.paths import Home, RunPaths

SYNC_SECONDS = 5.0
"""A line may wait this long for its fsync, unless it is a state or a result."""

Natural = Annotated[int, Meta(ge=0, le=10**15)]
"""A count that fits every store and every float; a line with any other makes no sense."""
Restart = Annotated[int, Meta(ge=0, le=10**9)]


Time = Annotated[float, Meta(ge=0, le=2.5e11)]
"""Seconds since the epoch, as far as calendars go."""
Amount = Annotated[float, Meta(ge=0, le=1e15)]
"""A duration, an epoch, a speed: below zero or beyond this it makes no sense."""
Value = Annotated[float, Meta(ge=-1e39, le=1e39)]
"""What was measured: everything that a float32 holds."""


class Record(Struct, kw_only=True, tag_field="type", omit_defaults=True):
    """What every record carries."""

    time: Time = field(default_factory=time.time)
    """Seconds since the epoch by the writer's clock; for people, never for ordering."""


# --- written by a job, into journal/<stage>.<attempt>.jsonl ---


class Started(Record, tag="started"):
    """The attempt holds its lease and begins. What it belongs to is empty in journals of earlier commits."""

    run_id: str = ""
    stage: str = ""
    attempt: Natural = 0
    home: str = ""
    """`Home.identities` says which."""
    submission: str = ""
    host: str = ""
    pid: Natural = 0
    code: str = ""
    """Digest of the code snapshot the job runs from."""
    engine: str = ""
    """Digest of the code that may change a number: experiments' spec and jobs/engine."""
    resumed_step: Natural | None = None
    job: str = ""
    """The executor's id of the job, such as Slurm's `4711_3`; empty for a local worker's."""
    restart: Restart = 0
    """How often the executor had started this job before."""
    numerics: dict[str, int] = {}
    """Versions of the parts of the engine that make its numbers, by part."""
    libraries: dict[str, str] = {}
    """Versions of the packages that it imports."""
    generation: Natural = 1
    """Counts the times that the stage was begun anew; the newest generation is the one that counts."""


class Checkpointed(Record, tag="checkpointed"):
    step: Natural
    file: str
    seconds: Amount
    """How long the write took."""
    held_seconds: Amount = 0.0
    """How long training stood still for it: for the copy, and where the next one or the end waited for its write."""


class Preempted(Record, tag="preempted"):
    """The job was asked to stop and wrote a checkpoint; not terminal: it comes back."""

    step: Natural | None = None
    reason: str = ""
    """Why, as far as it could be told: `timeout`, `preempted`, `cancelled`, `superseded`."""


class Succeeded(Record, tag="succeeded"):
    """Terminal: the stage is complete."""


class Failed(Record, tag="failed"):
    """Terminal: the stage ended by an error of its own."""

    error: str
    """One line, for people."""
    traceback: str = ""
    kind: str = "error"
    """`error`, `nan`, `exploded`, `input`."""


class Died(Record, tag="died"):
    """Written by the worker that watched the process vanish without a terminal record."""

    reason: str


class Heartbeat(Record, tag="heartbeat"):
    """Where the job stands."""

    step: Natural
    steps: Natural
    epoch: Amount = 0.0
    epochs: Amount = 0.0
    images_per_second: Amount | None = None
    memory_mb: Amount | None = None
    activity: str = ""
    """For people: `training`, or the benchmark being run."""


class Metrics(Record, tag="metrics"):
    """Scalars of one step; a value that is not finite is written as null."""

    step: Natural
    epoch: Amount
    values: dict[str, Value | None]


class Measure(Struct, kw_only=True, omit_defaults=True):
    """One measured number. Accuracies and successes are counts; others are a mean over `total` with its spread."""

    name: str
    unit: str
    """`accuracy`, `error`, `success`, `nats` or `share`."""
    total: Natural
    correct: Natural | None = None
    value: Value | None = None
    std: Annotated[float, Meta(ge=0, le=1e39)] | None = None
    """Standard deviation over the images, for a mean."""

    def __post_init__(self) -> None:
        """Raise ValueError for more images that are correct than there are."""
        if self.correct is not None and self.correct > self.total:
            raise ValueError(f"{self.correct} of {self.total} images are correct")


class Result(Record, tag="result"):
    """Everything one benchmark found, in one line: half a benchmark never counts."""

    evaluation_id: str
    benchmark: AnyBenchmark
    data_digest: str
    checkpoint_step: Natural
    engine: str
    measures: list[Measure]
    per_sample: str | None = None
    """Correct or not for each image in data set order: base64 of zlib of packed bits."""
    seconds: Amount = 0.0
    libraries: dict[str, str] = {}
    """Versions of the packages that made the numbers."""
    numerics: dict[str, int] = {}
    """Versions of the parts of the engine that made them, by part."""
    generation: Natural = 1
    """Counts the times that it was measured anew."""


# --- written by a job, into partial/<evaluation_id>.<share>.jsonl, and no business of the store's ---


class Piece(Struct, kw_only=True):
    """One number for each of some images: arrays as zlib of their bytes, little-endian."""

    name: str
    unit: str
    kind: Literal["bool", "float32", "float64"]
    samples: bytes
    """Their indices, int64."""
    values: bytes
    """Of `kind`."""


class Partial(Record, tag="partial", kw_only=True):
    """All that an evaluation found on one batch: an attempt that follows does not measure it again."""

    origin: str
    """What made it: numbers of another origin are not mixed with it."""
    data_digest: str
    part: str
    """Which of the image sets of the evaluation, where there are several; else empty."""
    batch: Natural
    pieces: list[Piece] = []
    corrupt: dict[int, str] = {}
    """Why images could not be decoded, by index."""
    seconds: Amount = 0.0


# --- written by `cebctl submit`, into submissions/<name>.jsonl ---


NOBODY = "none"
"""The executor of a submission that only gives claims back: a cancellation."""


class Submitted(Record, tag="submitted"):
    """A submission begins; the claims follow."""

    name: str
    matrix: str
    matrix_path: str
    executor: str
    code: str
    commit: str | None = None
    user: str = ""
    host: str = ""
    home: str = ""
    """As in `Started`."""


class Array(Record, tag="array"):
    """An array of jobs is about to be sent; the claims that name it are its elements."""

    job: str
    """Its unique name, by which it is found again."""
    stage: Stage
    resources: Resources
    after: list[str] = []
    """The names of the arrays it waits for."""


class Claim(Record, tag="claim"):
    """This submission, and no other, will run this stage of this run."""

    run_id: Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,79}$")]
    """The name of a folder."""
    label: str
    stage: Stage
    spec: dict[str, Any]
    benchmarks: list[AnyBenchmark] = []
    execution: Execution = Execution()
    """How to train it."""
    generation: Natural = 1
    """Counts how often the run was submitted again (`submit --again`): what is claimed is done anew in this one."""
    training: Natural = 1
    """The generation of the training that is made, or measured."""
    extended: Natural = 1
    """That of the training of the run that this one extends: it is not begun before that is complete."""
    job: str | None = None
    """The array that works on it; None: any worker of the submission."""
    index: Natural | None = None
    """Of its element."""


class Launched(Record, tag="launched"):
    """A job that will work on the claims reached the executor."""

    job: str
    """Its unique name."""
    executor_id: str
    """What the executor knows it by: Slurm's job id, or the process of a local worker (`jobs.processes`)."""
    pid: Natural | None = None


class Released(Record, tag="released"):
    """A claim of some submission given back, because nothing will run it any more."""

    submission: str
    run_id: str
    stage: Stage
    reason: str


JobRecord = Started | Checkpointed | Preempted | Succeeded | Failed | Died | Heartbeat | Metrics | Result
SubmissionRecord = Submitted | Array | Claim | Launched | Released
AnyRecord = JobRecord | SubmissionRecord | Partial

TERMINAL = (Succeeded, Failed)
_MAY_WAIT = (Heartbeat, Metrics, Partial)
"""Not worth an fsync of their own."""

SENSELESS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What `decode` raises for a line that is no record."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyRecord)


def decode(line: bytes) -> AnyRecord:
    """Return the record of a line. Raises one of `SENSELESS`."""
    record: AnyRecord = _decoder.decode(line)
    return record


class Journal:
    """The writer of one journal file.

    Every line is one `write` to a file opened for appending, so it is either whole or the torn last one; what is
    written behind a torn one, on a disk that has room again, begins a new line.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o664)
        size = os.fstat(self._fd).st_size
        self._torn = bool(size) and os.pread(self._fd, 1, size - 1) != b"\n"
        self._synced = time.monotonic()
        self.seconds = 0.0
        """Spent in writing so far: more than a moment is a file system that is slow."""
        fsync_folder(path.parent)

    def write(self, *records: AnyRecord) -> None:
        """Append the records; on return they survive a killed process, and a dead machine unless they may wait."""
        before = time.monotonic()
        lines = b"\n" * self._torn + b"".join(_encoder.encode(record) + b"\n" for record in records)
        self._torn = True
        while lines:
            lines = lines[os.write(self._fd, lines) :]
        self._torn = False
        due = time.monotonic() - self._synced > SYNC_SECONDS
        if due or not all(isinstance(record, _MAY_WAIT) for record in records):
            os.fsync(self._fd)
            self._synced = time.monotonic()
        self.seconds += time.monotonic() - before

    def close(self) -> None:
        os.fsync(self._fd)
        os.close(self._fd)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Chunk:
    """What a reader got: the records, where to go on, and how many whole lines made no sense."""

    records: list[AnyRecord]
    offset: int
    damaged: int


def read(path: Path, offset: int = 0, limit: int = 64 << 20) -> Chunk:
    """Read whole lines from a byte offset, at most about `limit` bytes; an unfinished last line is left."""
    with path.open("rb") as file:
        return read_open(file, offset, limit)


@dataclass
class Owner:
    """Whose records a journal is to hold, by its path; and whether those being read are another's.

    A journal that was copied, or appended to another, says so where an attempt or a submission begins: what follows
    is foreign until one begins whose journal this is. Earlier commits did not say; theirs are taken at their path's
    word.
    """

    homes: tuple[str, ...]
    """The ids of the home; empty: it has none to hold a record against."""
    job: tuple[str, str, int] | None = None
    """The run, the stage and the attempt whose journal it is, or else …"""
    submission: str = ""
    """… the submission."""
    foreign: bool = False

    @classmethod
    def of_attempt(cls, paths: RunPaths, stage: Stage, attempt: int) -> Owner:
        return cls(paths.home.identities(), (paths.run_id, stage, attempt))

    def sift(self, records: Iterable[AnyRecord]) -> list[AnyRecord]:
        """Return the records that belong here; called for one piece of the journal after the other."""
        own = []
        for record in records:
            kind = type(record)
            if kind is Started or kind is Submitted:
                self.foreign = bool(self.complaint(record))
            if not self.foreign:
                own.append(record)
        return own

    def complaint(self, head: AnyRecord) -> str:
        """Return what a record says that it belongs to, if that is something else; else nothing."""
        if isinstance(head, Submitted) and self.submission and head.name != self.submission:
            return f"submission {head.name}"
        if isinstance(head, Started) and self.job and head.run_id:
            job = (head.run_id, head.stage, head.attempt)
            if job != self.job:
                return "run {} ({}.{})".format(*job)
        if isinstance(head, Started | Submitted) and head.home and self.homes and head.home not in self.homes:
            return f"home {head.home}"
        return ""


def records(path: Path, owner: Owner | None = None) -> Iterator[AnyRecord]:
    """Every record of a journal that belongs to its owner (None: every one), however long it is."""
    offset = 0
    while (chunk := read(path, offset)).offset > offset:
        yield from owner.sift(chunk.records) if owner else chunk.records
        offset = chunk.offset


def of_attempt(paths: RunPaths, stage: Stage, attempt: int) -> Iterator[AnyRecord]:
    """Every record that belongs to an attempt."""
    return records(paths.journal(stage, attempt), Owner.of_attempt(paths, stage, attempt))


def head_of(paths: RunPaths, stage: Stage, attempt: int) -> Started | None:
    """The record with which an attempt began; None where it has none or the journal is another's."""
    first = read(paths.journal(stage, attempt), limit=4096).records[:1]
    own = Owner.of_attempt(paths, stage, attempt).sift(first)
    return next((record for record in own if isinstance(record, Started)), None)


def of_submission(home: Home, name: str) -> Iterator[AnyRecord]:
    """Every record that belongs to a submission."""
    return records(home.submission(name), Owner(home.identities(), submission=name))


def identify(home: Home) -> str:
    """Return the id of a home; one that has none takes on those that its journals name, the most frequent first."""
    if not home.identities():
        heads = (read(path, limit=4096).records[:1] for path in home.journals() if path.is_file())
        ids = Counter(head.home for first in heads for head in first if isinstance(head, Started | Submitted))
        home.identify(name for name, _ in ids.most_common() if re.fullmatch(r"h[0-9a-f]{16}", name))
    return home.identify()


def read_open(file: BinaryIO, offset: int, limit: int) -> Chunk:
    """`read`, of a file that is open already. Raises InputError if it is somebody's who is not believed."""
    file_ownership.check(Path(file.name), os.fstat(file.fileno()).st_uid)
    file.seek(offset)
    data = file.read(limit)
    end = data.rfind(b"\n") + 1
    if not end and len(data) == limit:  # one line longer than the limit
        data += file.readline()
        end = len(data) if data.endswith(b"\n") else 0
    records: list[AnyRecord] = []
    damaged = 0
    for line in data[:end].split(b"\n"):
        if not line:
            continue
        try:
            records.append(_decoder.decode(line))
        except SENSELESS:
            damaged += 1
    return Chunk(records, offset + end, damaged)


def fsync_folder(folder: Path) -> None:
    """Make a created or renamed entry of this folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
