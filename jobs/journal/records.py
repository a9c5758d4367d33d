"""Journals: append-only JSON lines, one writer per file, the only thing a job reports through.

A line is one record, a tagged object (`type`). A torn last line is legal: its writer was killed. The next
writer of the same file begins on a new line, and a reader never consumes a line without its newline.
The store is rebuilt from these files alone, so what is not in a journal has not happened.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from experiments.benchmarks import AnyBenchmark
from experiments.resources import Execution, Resources, Stage

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


class PlannedArray(Record, tag="array"):
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
SubmissionRecord = Submitted | PlannedArray | Claim | Launched | Released
AnyRecord = JobRecord | SubmissionRecord | Partial

TERMINAL = (Succeeded, Failed)

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What `decode` raises for a line that is no record."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyRecord)


def encode(record: AnyRecord) -> bytes:
    """Return a record as the line of a journal, without its end."""
    return _encoder.encode(record)


def decode(line: bytes) -> AnyRecord:
    """Return the record of a line. Raises one of `DECODE_ERRORS`."""
    record: AnyRecord = _decoder.decode(line)
    return record
