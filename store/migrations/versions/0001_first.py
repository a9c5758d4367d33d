"""The first schema."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_RESULT_COLUMNS = (
    "run_id, evaluation_id, attempt, stage, name, unit, total, correct, value, std, benchmark, data_digest, "
    "checkpoint_step, engine, measured_at, seconds, per_sample"
)


def upgrade() -> None:
    _reading()
    _submitting()
    _running()
    _views()


def _reading() -> None:
    op.create_table(
        "journals",
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("byte_offset", sa.BigInteger, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=False),
        sa.Column("damaged", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("path", name="pk_journals"),
    )


def _submitting() -> None:
    op.create_table(
        "submissions",
        sa.Column("name", sa.Text, nullable=False),
        *[
            sa.Column(name, sa.Text, nullable=False, server_default="")
            for name in ("matrix", "matrix_path", "executor", "code")
        ],
        sa.Column("git_commit", sa.Text),
        sa.Column("submitted_by", sa.Text, nullable=False, server_default=""),
        sa.Column("host", sa.Text, nullable=False, server_default=""),
        sa.Column("submitted_at", sa.Double),
        sa.PrimaryKeyConstraint("name", name="pk_submissions"),
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("submission", sa.Text, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
        sa.ForeignKeyConstraint(["submission"], ["submissions.name"], name="fk_runs_submissions"),
    )
    op.create_table(
        "claims",
        sa.Column("submission", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("benchmarks", sa.JSON, nullable=False),
        sa.Column("claimed_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("submission", "run_id", "stage", name="pk_claims"),
        sa.ForeignKeyConstraint(["submission"], ["submissions.name"], name="fk_claims_submissions"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_claims_runs"),
    )
    op.create_index("ix_claims_run_id", "claims", ["run_id"])
    op.create_table(
        "releases",
        sa.Column("submission", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("released_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("released_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("submission", "run_id", "stage", "released_by", name="pk_releases"),
        sa.ForeignKeyConstraint(["released_by"], ["submissions.name"], name="fk_releases_submissions"),
    )
    op.create_table(
        "workers",
        sa.Column("submission", sa.Text, nullable=False),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("executor_id", sa.Text, nullable=False),
        sa.Column("pid", sa.BigInteger),
        sa.Column("launched_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("submission", "job", name="pk_workers"),
        sa.ForeignKeyConstraint(["submission"], ["submissions.name"], name="fk_workers_submissions"),
    )


def _running() -> None:
    op.create_table(
        "jobs",
        *_attempt(),
        sa.Column("submission", sa.Text),
        sa.Column("host", sa.Text),
        sa.Column("pid", sa.BigInteger),
        sa.Column("state", sa.Text, nullable=False),
        *[sa.Column(name, sa.Text) for name in ("error", "error_kind", "traceback")],
        sa.Column("started_at", sa.Double),
        sa.Column("updated_at", sa.Double, nullable=False),
        *[sa.Column(name, sa.BigInteger) for name in ("step", "steps")],
        *[sa.Column(name, sa.Double) for name in ("epoch", "epochs", "images_per_second", "memory_mb")],
        sa.Column("activity", sa.Text),
        *[sa.Column(name, sa.BigInteger) for name in ("resumed_step", "checkpoint_step")],
        *[sa.Column(name, sa.Text) for name in ("checkpoint_file", "code", "engine")],
        sa.PrimaryKeyConstraint("run_id", "stage", "attempt", name="pk_jobs"),
    )
    op.create_table(
        "metrics",
        *_attempt(),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.Double, nullable=False),
        sa.Column("value", sa.Double),
        sa.PrimaryKeyConstraint("run_id", "stage", "attempt", "name", "step", name="pk_metrics"),
        _of_job("fk_metrics_jobs"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "results",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("evaluation_id", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("correct", sa.BigInteger),
        sa.Column("value", sa.Double),
        sa.Column("std", sa.Double),
        sa.Column("benchmark", sa.JSON, nullable=False),
        sa.Column("data_digest", sa.Text, nullable=False),
        sa.Column("checkpoint_step", sa.BigInteger, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("measured_at", sa.Double, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("per_sample", sa.Text),
        sa.PrimaryKeyConstraint("run_id", "evaluation_id", "attempt", "stage", "name", name="pk_results"),
        _of_job("fk_results_jobs"),
    )
    op.create_index("ix_results_run_id_stage_attempt", "results", ["run_id", "stage", "attempt"])


def _attempt() -> list[sa.Column[Any]]:
    return [
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
    ]


def _of_job(name: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["run_id", "stage", "attempt"],
        ["jobs.run_id", "jobs.stage", "jobs.attempt"],
        name=name,
        ondelete="CASCADE",
    )


def _views() -> None:
    op.execute(
        f"""CREATE VIEW latest_results AS
        SELECT {_RESULT_COLUMNS} FROM results AS found
        WHERE NOT EXISTS (
            SELECT 1 FROM results AS newer
            WHERE newer.run_id = found.run_id AND newer.evaluation_id = found.evaluation_id
            AND (newer.attempt, newer.stage) > (found.attempt, found.stage))"""
    )
    op.execute(
        """CREATE VIEW open_claims AS
        SELECT submission, run_id, stage, label, benchmarks, claimed_at FROM claims
        WHERE NOT EXISTS (
            SELECT 1 FROM releases
            WHERE releases.submission = claims.submission AND releases.run_id = claims.run_id
            AND releases.stage = claims.stage)"""
    )
