"""Where one run stands, and where its jobs print: what following its logs needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cebctl.status.collect import load_observations
from cebctl.status.states import State, attempt_state, slurm_note
from jobs.paths import STAGES, Home, Stage
from store.connect import Store

StateNote = tuple[State, str]
"""A state, and what the cluster says of it."""


@dataclass(frozen=True)
class LogSources:
    """Of the stages that were claimed."""

    stages: Mapping[Stage, StateNote]
    paths: Mapping[Stage, tuple[Path, ...]]
    """What the cluster's jobs printed outside their attempts."""

    @property
    def under_way(self) -> bool:
        return any(state in ("queued", "running") for state, _ in self.stages.values())


def find_log_sources(run_id: str, store: Store, home: Home) -> LogSources:
    """Read the journals anew and ask the cluster."""
    facts = load_observations([run_id], store, home)
    claims = {stage: facts.claims.get((run_id, stage), ()) for stage in STAGES}
    stages = {
        stage: (attempt_state(run_id, stage, facts), slurm_note(run_id, stage, facts))
        for stage in STAGES
        if claims[stage] or (run_id, stage) in facts.jobs
    }
    printed = {
        stage: tuple(
            home.array_log(claim.submission, f"{worker.executor_id}_{claim.array_index}")
            for claim in claims[stage]
            for worker in claim.workers
            if claim.job is not None and worker.job == claim.job
        )
        for stage in STAGES
    }
    return LogSources(stages, printed)
