"""The records of the journals: append-only files of JSON lines with one writer each.

A line is one record, an object with its tag in `type`. A torn last line is legal: its writer was killed. The next
writer of the same file begins on a new line, and a reader never consumes a line without its newline. Jobs report
through journals only, and the store is rebuilt from them alone: an event without a record has not happened.

Old journals are read for ever. So tags and fields keep their names, a new field needs a default, and values at their
default are not written.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from experiments.benchmarks import AnyBenchmark
from experiments.resources import Execution, Resources, Stage

Natural = Annotated[int, Meta(ge=0, le=10**15)]
"""A count that fits every database and is exact as a float; a line with a larger one counts as damaged."""
Restart = Annotated[int, Meta(ge=0, le=10**9)]
Time = Annotated[float, Meta(ge=0, le=2.5e11)]
"""Seconds since the epoch, within Python's calendar."""
Amount = Annotated[float, Meta(ge=0, le=1e15)]
"""A duration, an epoch or a speed."""
LARGEST_VALUE = 1e39
Value = Annotated[float, Meta(ge=-LARGEST_VALUE, le=LARGEST_VALUE)]
"""A measured value: the range of a float32."""


class Record(Struct, kw_only=True, tag_field="type", omit_defaults=True):
    """The base of all records."""

    time: Time = field(default_factory=time.time)
    """The writer's clock; for people, never for ordering: machines' clocks differ."""


# --- written by a job, into journal/<stage>.<attempt>.jsonl ---


class Started(Record, tag="started"):
    """The attempt holds its lease and begins. Journals of earlier commits don't name its owner."""

    run_id: str = ""
    stage: str = ""
    attempt: Natural = 0
    home: str = ""
    """The home's id, see `Home.identities`."""
    submission: str = ""
    host: str = ""
    pid: Natural = 0
    code: str = ""
    """Digest of the code snapshot the job runs from."""
    engine: str = ""
    """Digest of the code that may change a number: `jobs.provenance.engine_digest`."""
    resumed_step: Natural | None = None
    """In journals of earlier commits: the step in the name of the newest checkpoint, whether or not it could be read.
    Today `Resumed` has the step that training went on from."""
    job: str = ""
    """The executor's id of the job, such as Slurm's `4711_3`; empty for a local worker's."""
    restart: Restart = 0
    """How often the executor had started this job before."""
    numerics: dict[str, int] = {}
    """Versions of the parts of the engine that make its numbers, by part (`experiments.numerics`)."""
    libraries: dict[str, str] = {}
    """Versions of the packages that it imports."""
    generation: Natural = 1
    """The count of the times that `submit --again` began the stage anew; the newest generation is valid."""


class Resumed(Record, tag="resumed"):
    """Training goes on from a checkpoint, which was read."""

    step: Natural
    file: str
    """Its name."""


class Checkpointed(Record, tag="checkpointed"):
    """A checkpoint is complete on the disk."""

    step: Natural
    file: str
    seconds: Amount
    """The duration of the write."""
    held_seconds: Amount = 0.0
    """The time that training stood still: for the copy, and waiting for the write at the next checkpoint or the end."""


class Preempted(Record, tag="preempted"):
    """The job was asked to stop and wrote a checkpoint; not terminal: the stage can be resumed."""

    step: Natural | None = None
    reason: str = ""
    """`timeout`, `preempted`, `cancelled` or `superseded`; empty if unknown."""


class Succeeded(Record, tag="succeeded"):
    """Terminal: the stage is complete."""


class Failed(Record, tag="failed"):
    """Terminal: the stage ended by an error of its own."""

    error: str
    """One line, for people."""
    traceback: str = ""
    kind: str = "error"
    """`error`, or the `kind` of the exception: `nan`, `exploded`, `input`, `code`, `memory`, `retries`, …"""
    benchmarks: dict[str, str] = {}
    """Of an evaluation, the error of each benchmark that failed, by evaluation id."""


class Died(Record, tag="died"):
    """The process ended without a terminal record; written by the worker or the batch script that started it."""

    reason: str


class Heartbeat(Record, tag="heartbeat"):
    """The progress of a job that is at work."""

    step: Natural
    steps: Natural
    epoch: Amount = 0.0
    epochs: Amount = 0.0
    images_per_second: Amount | None = None
    memory_mb: Amount | None = None
    activity: str = ""
    """For people: `training`, or the benchmark that runs."""


class Metrics(Record, tag="metrics"):
    """Scalars of one step; a value that is not finite is null."""

    step: Natural
    epoch: Amount
    values: dict[str, Value | None]


class Measure(Struct, kw_only=True, omit_defaults=True):
    """One measured number: a count of `correct` among `total` images, or a mean over `total` images with its spread."""

    name: str
    unit: str
    """`accuracy`, `error`, `success`, `nats` or `share`."""
    total: Natural
    correct: Natural | None = None
    value: Value | None = None
    std: Annotated[float, Meta(ge=0, le=1e39)] | None = None
    """Standard deviation over the images, for a mean."""

    def __post_init__(self) -> None:
        """Raise ValueError if more images are correct than there are images."""
        if self.correct is not None and self.correct > self.total:
            raise ValueError(f"{self.correct} of {self.total} images are correct")


class Result(Record, tag="result"):
    """All measures of one benchmark, in one line, so that no part of a benchmark can count without the rest."""

    evaluation_id: str
    benchmark: AnyBenchmark
    data_digest: str
    checkpoint_step: Natural
    engine: str
    measures: list[Measure]
    per_sample: str | None = None
    """Correct or not for each image in data set order, encoded by `jobs.per_sample`."""
    seconds: Amount = 0.0
    libraries: dict[str, str] = {}
    """Versions of the packages that made the numbers."""
    numerics: dict[str, int] = {}
    """Versions of the parts of the engine that made them, by part."""
    generation: Natural = 1
    """The count of the times that it was measured anew."""
    batch_size: Natural | None = None
    """The images of a batch, if memory was too small for those of the others."""


# --- written by a job, into partial/<evaluation_id>.<share>.jsonl; the store does not read these ---


class Piece(Struct, kw_only=True):
    """One number for each of some images; the arrays are zlib of their little-endian bytes."""

    name: str
    unit: str
    kind: Literal["bool", "float32", "float64"]
    samples: bytes
    """The indices of the images, int64."""
    values: bytes
    """The numbers, of type `kind`."""


class Partial(Record, tag="partial", kw_only=True):
    """The numbers of an evaluation on one batch, so that the next attempt does not measure them again."""

    origin: str
    """Identifies code, checkpoint and settings: numbers of different origins are never mixed."""
    data_digest: str
    part: str
    """The image set, where the evaluation has several; else empty."""
    batch: Natural
    pieces: list[Piece] = []
    corrupt: dict[int, str] = {}
    """The errors of images that could not be decoded, by index."""
    seconds: Amount = 0.0


# --- written by `cebctl submit`, into submissions/<name>.jsonl ---


NOBODY = "none"
"""The executor of a submission that only releases claims: a cancellation."""


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
    stated_claims: dict[str, dict[str, Any]] = {}
    """The `claims` of the matrix at that time, by name: what its results are to decide, no claims of stages."""
    claim_seeds: dict[str, tuple[int, ...]] = {}
    """The seeds that each of them had then."""


class PlannedArray(Record, tag="array"):
    """A job array is about to be submitted; the claims that name it are its tasks.

    Written before `sbatch` runs, so that the array is identified by its name even if this process dies meanwhile.
    """

    job: str
    """Its unique name."""
    stage: Stage
    resources: Resources
    after: list[str] = []
    """The names of the arrays that it waits for."""


class Claim(Record, tag="claim"):
    """The exclusive right of this submission to run one stage of one run, until it is released."""

    run_id: Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,79}$")]
    """The name of a folder."""
    label: str
    stage: Stage
    spec: dict[str, Any]
    benchmarks: list[AnyBenchmark] = []
    execution: Execution = Execution()
    """Settings of the training that don't change the run's identity."""
    generation: Natural = 1
    """The count of the times that the run was submitted with `--again`: the claimed work is done anew in this one."""
    training: Natural = 1
    """The generation of the training that is made, or evaluated."""
    extended: Natural = 1
    """The generation of the parent's training, for a run that `extends` another: it waits until that is complete."""
    job: str | None = None
    """The name of the array that works on it; None: any local worker of the submission."""
    index: Natural | None = None
    """The index of its task in the array."""


class Launched(Record, tag="launched"):
    """The executor accepted a job that will work on the claims."""

    job: str
    """Its unique name."""
    executor_id: str
    """The executor's id of it: Slurm's job id, or the process of a local worker (`jobs.processes`)."""
    pid: Natural | None = None


class Released(Record, tag="released"):
    """A claim is given back, because nothing will run it any more: the next submission may claim the stage."""

    submission: str
    """The submission that made the claim, which may be an earlier one."""
    run_id: str
    stage: Stage
    reason: str


JobRecord = Started | Resumed | Checkpointed | Preempted | Succeeded | Failed | Died | Heartbeat | Metrics | Result
SubmissionRecord = Submitted | PlannedArray | Claim | Launched | Released
AnyRecord = JobRecord | SubmissionRecord | Partial

TERMINAL = (Succeeded, Failed)

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The exceptions of `decode` for a line that is no record."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyRecord)


def encode(record: AnyRecord) -> bytes:
    """Return the line of a record, without its newline."""
    return _encoder.encode(record)


def decode(line: bytes) -> AnyRecord:
    """Return the record of a line. Raises one of `DECODE_ERRORS`."""
    record: AnyRecord = _decoder.decode(line)
    return record
