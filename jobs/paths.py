"""Every path under CEBCTL_HOME, named once."""

from __future__ import annotations

import os
import re
import secrets
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import quote

from experiments import user_paths
from experiments.atomic_files import sweep
from experiments.errors import InputError
from experiments.own_dataset import data_folder as data_folder
from experiments.regular_files import read_regular
from experiments.resources import STAGES as STAGES
from experiments.resources import Stage as Stage

_JOURNAL = re.compile(r"(train|evaluate)\.(0|[1-9][0-9]{0,8})\.jsonl", re.ASCII)
_LAST_ATTEMPT = 999_999_999
"""The largest attempt number that fits the name of a journal."""


def attempt_of(journal: str) -> tuple[Stage, int] | None:
    """Return the stage and the attempt that a journal's name tells, as in `train.2.jsonl`; None for any other name."""
    match = _JOURNAL.fullmatch(journal)
    return (cast(Stage, match[1]), int(match[2])) if match else None


@dataclass(frozen=True)
class RunPaths:
    """The directory of one run; a job writes nowhere else."""

    folder: Path
    generation: int = 1
    """The generation of the training: `submit --again train` begins a new one beside the earlier ones."""

    @property
    def run_id(self) -> str:
        return self.folder.name

    def beside(self, run_id: str) -> RunPaths:
        """Return the directory of another run of the same home."""
        return RunPaths(self.folder.with_name(run_id))

    @property
    def spec(self) -> Path:
        """The resolved spec, written before the first job is queued; `jobs.spec_file` reads it."""
        return self.folder / "spec.json"

    @property
    def provenance(self) -> Path:
        """Code, machine and library versions of the newest training attempt."""
        return self.folder / "provenance.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of this generation's checkpoints."""
        return self.folder / ("checkpoints" if self.generation == 1 else f"checkpoints.{self.generation}")

    def generations(self) -> list[RunPaths]:
        """Return this run with each generation of its training that has a folder of checkpoints."""
        numbers = [path.suffix[1:] or "1" for path in self.folder.glob("checkpoints*") if path.stem == "checkpoints"]
        return [RunPaths(self.folder, int(number)) for number in sorted(numbers) if number.isdecimal()]

    def weights(self, digest: str) -> Path:
        """Return the imported file, as `Home.weights` does."""
        return self.home.weights(digest)

    @property
    def partial(self) -> Path:
        """Partial results of evaluations that are under way; empty once they are done."""
        return self.folder / "partial"

    def partial_of(self, generation: int) -> Path:
        """Return the folder of one generation's partial results: no number is made of two generations."""
        return self.partial if generation == 1 else self.partial / str(generation)

    def journal(self, stage: Stage, attempt: int) -> Path:
        return self.folder / "journal" / f"{stage}.{attempt}.jsonl"

    def log(self, stage: Stage, attempt: int) -> Path:
        """Return the file of the job's standard output and errors together."""
        return self.folder / "logs" / f"{stage}.{attempt}.log"

    def lease(self, stage: Stage) -> Path:
        return self.folder / f"{stage}.lease"

    def attempts(self, stage: Stage) -> list[int]:
        """Return the numbers of the attempts that have a journal, oldest first; files of other names don't count."""
        names = [attempt_of(path.name) for path in self.folder.glob(f"journal/{stage}.*.jsonl")]
        return sorted(name[1] for name in names if name and name[0] == stage)

    def next_attempt(self, stage: Stage) -> int:
        return max((n for n in self.attempts(stage) if n < _LAST_ATTEMPT), default=0) + 1

    @property
    def home(self) -> Home:
        return Home(self.folder.parents[1])


@dataclass(frozen=True)
class Home:
    """CEBCTL_HOME: run directories, submission journals, code snapshots and the default store."""

    folder: Path
    is_apart: bool = False
    """Its store is beside its runs, whatever CEBCTL_STORE names."""

    @classmethod
    def from_environment(cls) -> Home:
        """Return the home in CEBCTL_HOME. Raises InputError as `at` does."""
        return cls._checked(user_paths.from_variable("CEBCTL_HOME", ".cebctl"), "CEBCTL_HOME")

    @classmethod
    def at(cls, folder: str | Path | None) -> Home:
        """Return the home in a folder, by default the command line's. Raises InputError if none can be there."""
        if folder is None:
            return cls.from_environment()
        return cls._checked(user_paths.expand(str(folder), "home"), "home")

    @classmethod
    def _checked(cls, folder: Path, where: str) -> Home:
        if os.pathsep in str(folder):  # jobs import their code from below it, by PYTHONPATH
            raise InputError(where, f"{folder} holds {os.pathsep!r}, at which PYTHONPATH is cut", "name another folder")
        if mark := next((mark for mark in ("%j", "%t") if mark in str(folder)), None):  # submitit's, for a job's id
            raise InputError(where, f"{folder} holds {mark!r}, which submitit replaces", "name another folder")
        return cls(user_paths.check_folder(folder, where))

    @property
    def store_url(self) -> str:
        """CEBCTL_STORE, or the SQLite file beside the runs."""
        url = "" if self.is_apart else os.environ.get("CEBCTL_STORE")
        return url or f"sqlite:///{quote(os.fsencode(self.folder / 'store.sqlite'))}"

    @property
    def has_own_store(self) -> bool:
        """Whether CEBCTL_STORE names the store, so that it may exist without this folder."""
        return bool(os.environ.get("CEBCTL_STORE")) and not self.is_apart

    @property
    def rehearsals(self) -> Path:
        return self.folder / "rehearsals"

    @property
    def speeds(self) -> Path:
        """The speeds of training in a rehearsal, whose home this is."""
        return self.folder / "speeds.json"

    def new_rehearsal(self, matrix: str) -> Home:
        """Return the home of a new rehearsal of the matrix of this name: its runs and its store are those of no other
        command."""
        return Home(self.rehearsals / matrix / new_submission(), is_apart=True)

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def code(self) -> Path:
        """Snapshots of the code, one folder per content digest."""
        return self.folder / "code"

    def weights(self, digest: str) -> Path:
        """Return the imported file with this digest, `sha256:…`."""
        return self.folder / "weights" / f"{digest.removeprefix('sha256:')}.pt"

    @property
    def descriptions(self) -> Path:
        """Copies of the descriptions of the user's own images: see `experiments.own_dataset`."""
        return self.folder / "data" / "own"

    @property
    def submissions(self) -> Path:
        """One journal per `cebctl submit` that submitted something."""
        return self.folder / "submissions"

    def submission(self, name: str) -> Path:
        return self.submissions / f"{name}.jsonl"

    @property
    def queue(self) -> Path:
        """The last answer of the cluster's queue: see `cebctl.status.slurm_queue`."""
        return self.folder / "queue.json"

    def workers(self, submission: str) -> Path:
        """Return the folder of a submission's executor: batch scripts and logs of arrays, pickles of local workers."""
        return self.folder / "workers" / submission

    def array_log(self, submission: str, job: str) -> Path:
        """Return the log of an array task, by Slurm's id of it: all that it prints before its attempt has a log."""
        return self.workers(submission) / f"{job}_0_log.out"

    def run(self, run_id: str, generation: int = 1) -> RunPaths:
        """Return the directory of a run, with a generation of its training."""
        return RunPaths(self.runs / run_id, generation)

    @property
    def ids(self) -> Path:
        """The file of the home's own id, and below it those of homes whose runs a user brought into it."""
        return self.folder / "home-id"

    def identities(self) -> tuple[str, ...]:
        """Return the ids of `ids`, its own first; empty for a home that has none yet.

        An id moves and is copied with the home: its records are those of the same runs wherever they lie.
        """
        try:
            return tuple(read_regular(self.ids).decode("utf-8", "replace").split())
        except OSError:
            return ()

    def identify(self, ids: Iterable[str]) -> str:
        """Return the home's own id, after giving it `ids`, or else a new one, if it has none; several may at once."""
        sweep(self.folder)
        if not self.identities():
            text = "".join(f"{name}\n" for name in ids) or f"h{secrets.token_hex(8)}\n"
            self.folder.mkdir(parents=True, exist_ok=True)
            # A killed process leaves a file by whose name `sweep` knows it.
            prefix = f".home-id.{socket.gethostname()}~{os.getpid()}.part."
            with tempfile.NamedTemporaryFile("w", dir=self.folder, prefix=prefix) as file:
                mask = os.umask(0o077)  # the only way to read it is to set it
                os.umask(mask)
                Path(file.name).chmod(0o666 & ~mask)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                with suppress(FileExistsError):  # another process was quicker
                    os.link(file.name, self.ids)
        return next(iter(self.identities()), "")

    def journals(self, run_ids: Iterable[str] | None = None) -> Iterator[Path]:
        """Yield every journal, those of submissions first, each group in order of name; of attempts only those at the
        given runs, if there are any given."""
        yield from sorted(self.submissions.glob("*.jsonl"))
        for run in ("*",) if run_ids is None else sorted(run_ids):
            yield from sorted(self.runs.glob(f"{run}/journal/*.jsonl"))


TIME = "%Y%m%d-%H%M%S"
"""The format of the time that a submission's name begins with: names sort by time."""


def new_submission() -> str:
    """Return a new name for a submission; the random end makes it unique within a second."""
    return f"{time.strftime(TIME, time.gmtime())}-{secrets.token_hex(2)}"
