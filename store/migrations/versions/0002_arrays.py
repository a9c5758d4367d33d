"""Arrays of a cluster: which element of which array works on a claim, and which of its starts an attempt is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("claims", sa.Column("job", sa.Text))
    op.add_column("claims", sa.Column("array_index", sa.BigInteger))
    op.add_column("jobs", sa.Column("executor_job", sa.Text))
    op.add_column("jobs", sa.Column("restart", sa.Integer))
    op.execute("DROP VIEW open_claims")
    op.execute(
        """CREATE VIEW open_claims AS
        SELECT submission, run_id, stage, label, benchmarks, claimed_at, job, array_index FROM claims
        WHERE NOT EXISTS (
            SELECT 1 FROM releases
            WHERE releases.submission = claims.submission AND releases.run_id = claims.run_id
            AND releases.stage = claims.stage)"""
    )
