"""Every path under CEBCTL_HOME, named once."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.files import replacing
from experiments.own_data import data_folder as data_folder
from experiments.resources import STAGES as STAGES
from experiments.resources import Stage as Stage


@dataclass(frozen=True)
class RunPaths:
    """The directory of one run; a job writes nowhere else."""

    folder: Path
    generation: int = 1
    """Of the training that is meant: `submit --again train` makes another beside the ones before it."""

    @property
    def run_id(self) -> str:
        return self.folder.name

    def beside(self, run_id: str) -> RunPaths:
        """The directory of another run of the same home."""
        return RunPaths(self.folder.with_name(run_id))

    @property
    def spec(self) -> Path:
        """The resolved spec, written before the first job is queued."""
        return self.folder / "spec.json"

    @property
    def provenance(self) -> Path:
        """Code, machine and library versions of the newest training attempt."""
        return self.folder / "provenance.json"

    @property
    def checkpoints(self) -> Path:
        """Those of this generation of the training."""
        return self.folder / ("checkpoints" if self.generation == 1 else f"checkpoints.{self.generation}")

    def generations(self) -> list[RunPaths]:
        """Return this run with each generation of its training that has a folder of checkpoints."""
        numbers = [path.suffix[1:] or "1" for path in self.folder.glob("checkpoints*") if path.stem == "checkpoints"]
        return [RunPaths(self.folder, int(number)) for number in sorted(numbers) if number.isdecimal()]

    def weights(self, digest: str) -> Path:
        """As in `Home`."""
        return Home(self.folder.parents[1]).weights(digest)

    @property
    def partial(self) -> Path:
        """What evaluations that are under way have found so far; empty once they are done."""
        return self.folder / "partial"

    def partial_of(self, generation: int) -> Path:
        """Those of one generation: no number is made of two."""
        return self.partial if generation == 1 else self.partial / str(generation)

    def journal(self, stage: Stage, attempt: int) -> Path:
        return self.folder / "journal" / f"{stage}.{attempt}.jsonl"

    def log(self, stage: Stage, attempt: int) -> Path:
        """What the job printed, standard output and errors together."""
        return self.folder / "logs" / f"{stage}.{attempt}.log"

    def lease(self, stage: Stage) -> Path:
        return self.folder / f"{stage}.lease"

    def attempts(self, stage: Stage) -> list[int]:
        """The numbers of the attempts that have a journal, oldest first."""
        return sorted(int(path.suffixes[0][1:]) for path in self.folder.glob(f"journal/{stage}.*.jsonl"))

    def next_attempt(self, stage: Stage) -> int:
        return max(self.attempts(stage), default=0) + 1


@dataclass(frozen=True)
class Home:
    """CEBCTL_HOME: run directories, submission journals, code snapshots and the default store."""

    folder: Path

    @classmethod
    def from_environment(cls) -> Home:
        return cls(Path(os.environ.get("CEBCTL_HOME") or ".cebctl").absolute())

    @property
    def store_url(self) -> str:
        """CEBCTL_STORE, or the SQLite file beside the runs."""
        return os.environ.get("CEBCTL_STORE") or f"sqlite:///{self.folder / 'store.sqlite'}"

    @property
    def has_own_store(self) -> bool:
        """Whether CEBCTL_STORE names the store, so that it may exist without this folder."""
        return bool(os.environ.get("CEBCTL_STORE"))

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def code(self) -> Path:
        """Snapshots of the code, one folder per content digest."""
        return self.folder / "code"

    def weights(self, digest: str) -> Path:
        """The imported file with this digest, `sha256:…`."""
        return self.folder / "weights" / f"{digest.removeprefix('sha256:')}.pt"

    @property
    def submissions(self) -> Path:
        """One journal per `cebctl submit` that submitted something."""
        return self.folder / "submissions"

    def submission(self, name: str) -> Path:
        return self.submissions / f"{name}.jsonl"

    @property
    def queue(self) -> Path:
        """The cluster's queue as it was last seen: see `cebctl.control.queue`."""
        return self.folder / "queue.json"

    def workers(self, submission: str) -> Path:
        """submitit's folder of a submission: batch scripts and logs of arrays, pickles and logs of local workers."""
        return self.folder / "workers" / submission

    def array_log(self, submission: str, job: str) -> Path:
        """What an element printed before its attempt had a log, by Slurm's id of it."""
        return self.workers(submission) / f"{job}_0_log.out"

    def run(self, run_id: str, generation: int = 1) -> RunPaths:
        """The directory of a run, with the generation of its training that is meant."""
        return RunPaths(self.runs / run_id, generation)

    def journals(self) -> Iterator[Path]:
        """Every journal there is, those of submissions first, each group in order of name."""
        yield from sorted(self.submissions.glob("*.jsonl"))
        yield from sorted(self.runs.glob("*/journal/*.jsonl"))


TIME = "%Y%m%d-%H%M%S"
"""How the name of a submission begins: names are in the order of time."""


def new_submission() -> str:
    """A name that no other submission has."""
    return f"{time.strftime(TIME, time.gmtime())}-{secrets.token_hex(2)}"


def put(path: Path, data: bytes) -> None:
    """Write a file in the place of what is there: whoever reads sees the old one or the new one, whole."""
    with replacing(path) as beside:
        beside.write_bytes(data)
