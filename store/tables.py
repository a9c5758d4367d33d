"""The tables of the store; `store/README.md` describes them.

Every row comes from exactly one journal, so that the rows of a replaced journal can be deleted and read again. Times
are seconds since the epoch by the clock of the record's writer: for people, never for ordering.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
)

SCHEMA = 5
"""The number of this schema: raise it with every change of the tables. The first two were written `0001` and `0002`."""

VERSION_TABLE = "cebctl_schema"
"""The table with the number of the schema. Its name and its column stay: every version of cebctl has to read them."""

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

NULLABLE_JSON = sa.JSON(none_as_null=True)

journals = Table(
    "journals",
    metadata,
    Column("path", Text, primary_key=True, doc="relative to CEBCTL_HOME"),
    Column("byte_offset", BigInteger, nullable=False, doc="everything before it is in the store"),
    Column("fingerprint", Text, nullable=False, doc="of the bytes before the offset: see store.journal_scan"),
    Column("mtime_ns", BigInteger, nullable=False, doc="of the file when it was read"),
    Column("damaged", Integer, nullable=False, doc="lines that made no sense, or belong to another run"),
    Column("foreign", sa.Boolean, nullable=False, doc="whether what follows the offset belongs to another run"),
)

submissions = Table(
    "submissions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("matrix", Text, nullable=False, server_default=""),
    Column("matrix_path", Text, nullable=False, server_default=""),
    Column("executor", Text, nullable=False, server_default=""),
    Column("code", Text, nullable=False, server_default="", doc="digest of the code snapshot"),
    Column("git_commit", Text),
    Column("submitted_by", Text, nullable=False, server_default=""),
    Column("host", Text, nullable=False, server_default=""),
    Column("submitted_at", Double),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("label", Text, nullable=False, doc="as the newest submission names it"),
    Column("submission", Text, ForeignKey("submissions.name"), nullable=False, doc="the newest"),
    Column("spec", sa.JSON, nullable=False),
)

claims = Table(
    "claims",
    metadata,
    Column("submission", Text, ForeignKey("submissions.name"), primary_key=True),
    Column("run_id", Text, ForeignKey("runs.run_id"), primary_key=True, index=True),
    Column("stage", Text, primary_key=True),
    Column("label", Text, nullable=False),
    Column("benchmarks", sa.JSON, nullable=False),
    Column("claimed_at", Double, nullable=False),
    Column("job", Text, doc="the unique name of the array that works on it; null: any worker of the submission"),
    Column("array_index", BigInteger, doc="of its element"),
    Column("generation", BigInteger, nullable=False, server_default="1", doc="in which the stage is done"),
)

releases = Table(
    "releases",
    metadata,
    # No foreign key to claims: the journal that releases may be read before the one that claims.
    Column("submission", Text, primary_key=True, doc="whose claim is given back"),
    Column("run_id", Text, primary_key=True),
    Column("stage", Text, primary_key=True),
    Column("released_by", Text, ForeignKey("submissions.name"), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("released_at", Double, nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("submission", Text, ForeignKey("submissions.name"), primary_key=True),
    Column("job", Text, primary_key=True, doc="the executor's unique name of it"),
    Column("executor_id", Text, nullable=False),
    Column("pid", BigInteger),
    Column("launched_at", Double, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    # No foreign key to runs: a job's journal is readable whatever became of its submission's.
    Column("run_id", Text, primary_key=True),
    Column("stage", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("submission", Text),
    Column("host", Text),
    Column("pid", BigInteger),
    Column("state", Text, nullable=False, doc="started, preempted, succeeded, failed, died"),
    Column("error", Text),
    Column("error_kind", Text),
    Column("traceback", Text),
    Column("failed_benchmarks", NULLABLE_JSON, doc="the error of each benchmark that failed, by evaluation_id"),
    Column("started_at", Double),
    Column("updated_at", Double, nullable=False),
    Column("step", BigInteger),
    Column("steps", BigInteger),
    Column("epoch", Double),
    Column("epochs", Double),
    Column("images_per_second", Double),
    Column("memory_mb", Double),
    Column("activity", Text),
    Column("resumed_step", BigInteger),
    Column("checkpoint_step", BigInteger),
    Column("checkpoint_file", Text),
    Column("code", Text, doc="digest of the code snapshot"),
    Column("engine", Text, doc="digest of the code that may change a number"),
    Column("executor_job", Text, doc="the executor's id of the job"),
    Column("restart", Integer, doc="how often the executor had started it before, null for never"),
    Column("numerics", NULLABLE_JSON, doc="versions of the parts that make its numbers, by part"),
    Column("libraries", NULLABLE_JSON, doc="versions of the packages it imports"),
    Column(
        "generation", BigInteger, nullable=False, server_default="1", doc="counts the times its stage was begun anew"
    ),
)

metrics = Table(
    "metrics",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("stage", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("epoch", Double, nullable=False),
    Column("value", Double, doc="null where it was not finite"),
    ForeignKeyConstraint(
        ["run_id", "stage", "attempt"], ["jobs.run_id", "jobs.stage", "jobs.attempt"], ondelete="CASCADE"
    ),
    sqlite_with_rowid=False,  # the key is the table: half the size, a third less time to fill
)

results = Table(
    "results",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("evaluation_id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("stage", Text, primary_key=True),
    Column("name", Text, primary_key=True, doc="of the measure"),
    Column("unit", Text, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("correct", BigInteger),
    Column("value", Double),
    Column("std", Double),
    Column("benchmark", sa.JSON, nullable=False),
    Column("data_digest", Text, nullable=False),
    Column("checkpoint_step", BigInteger, nullable=False),
    Column("engine", Text, nullable=False),
    Column("measured_at", Double, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("numerics", NULLABLE_JSON, doc="versions of the parts that made it, by part"),
    Column("libraries", NULLABLE_JSON, doc="versions of the packages that made it"),
    Column(
        "generation", BigInteger, nullable=False, server_default="1", doc="the newest counts, then the newest attempt"
    ),
    Column("per_sample", Text),  # last, so that reading the others does not touch it
    ForeignKeyConstraint(
        ["run_id", "stage", "attempt"], ["jobs.run_id", "jobs.stage", "jobs.attempt"], ondelete="CASCADE"
    ),
    Index("ix_results_run_id_stage_attempt", "run_id", "stage", "attempt"),
)

views = sa.MetaData()
latest_results = results.to_metadata(views, name="latest_results")
"""A view: of each evaluation the measures of the newest attempt of its newest generation. Measures of a generation
before that of the newest complete training don't count."""

open_claims = claims.to_metadata(views, name="open_claims")
"""A view: the claims that were not released."""

_QUERIES = {
    latest_results: """FROM results AS result
        WHERE NOT EXISTS (
            SELECT 1 FROM results AS newer
            WHERE newer.run_id = result.run_id AND newer.evaluation_id = result.evaluation_id
            AND (newer.generation, newer.attempt, newer.stage) > (result.generation, result.attempt, result.stage))
        AND NOT EXISTS (
            SELECT 1 FROM jobs
            WHERE jobs.run_id = result.run_id AND jobs.stage = 'train' AND jobs.state = 'succeeded'
            AND jobs.generation > result.generation)""",
    open_claims: """FROM claims
        WHERE NOT EXISTS (
            SELECT 1 FROM releases
            WHERE releases.submission = claims.submission AND releases.run_id = claims.run_id
            AND releases.stage = claims.stage)""",
}

version_table = Table(VERSION_TABLE, sa.MetaData(), Column("version_num", Integer, nullable=False))

NAMES = (*metadata.tables, *views.tables, VERSION_TABLE)
"""The names of all tables and views of a store."""


def create(connection: Connection) -> None:
    """Create the schema in an empty database, inside the caller's transaction."""
    metadata.create_all(connection, checkfirst=False)
    for view, query in _QUERIES.items():
        connection.exec_driver_sql(f"CREATE VIEW {view.name} AS SELECT {', '.join(view.c.keys())} {query}")
    version_table.create(connection)
    connection.execute(version_table.insert().values(version_num=SCHEMA))
