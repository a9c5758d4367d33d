"""The state of one run and the files that its Slurm jobs print to, for `logs --follow`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cebctl.status.collect import load_observations
from cebctl.status.states import State, attempt_state, slurm_note
from jobs.paths import STAGES, Home, Stage
from store.connect import Store

StateNote = tuple[State, str]
"""A state, and Slurm's words on it."""


@dataclass(frozen=True)
class LogSources:
    """The stages of a run that were claimed."""

    stages: Mapping[Stage, StateNote]
    paths: Mapping[Stage, tuple[Path, ...]]
    """The files of what Slurm's jobs printed outside their attempts."""

    @property
    def is_under_way(self) -> bool:
        return any(state in ("queued", "running") for state, _ in self.stages.values())


def find_log_sources(run_id: str, store: Store, home: Home) -> LogSources:
    """Return the log sources of a run, by its journals and the cluster's queue as of now."""
    observations = load_observations([run_id], store, home)
    claims = {stage: observations.claims.get((run_id, stage), ()) for stage in STAGES}
    stages = {
        stage: (attempt_state(run_id, stage, observations), slurm_note(run_id, stage, observations))
        for stage in STAGES
        if claims[stage] or (run_id, stage) in observations.jobs
    }
    paths = {
        stage: tuple(
            home.array_log(claim.submission, f"{worker.executor_id}_{claim.array_index}")
            for claim in claims[stage]
            for worker in claim.workers
            if claim.job is not None and worker.job == claim.job
        )
        for stage in STAGES
    }
    return LogSources(stages, paths)
