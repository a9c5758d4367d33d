"""The claims of a matrix in its report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cebctl.report.cells import Report
from cebctl.report.claims.evidence import Evidence
from cebctl.report.claims.history import claim_history, compared_evaluations, read_statements, withdrawn_claims
from cebctl.report.claims.judge import Judge
from cebctl.status.off_target import OffTarget
from experiments.matrix.planned_run import Matrix
from jobs.paths import Home
from store import queries
from store.connect import Store
from store.row_types import ResultRow

ONLY_WHOLE = "Claims are judged on all runs of a matrix, never on a selection of them: see the report without --only."


def with_claims(
    report: Report, matrix: Matrix, rows: Iterable[ResultRow], store: Store, home: Home, off_target: OffTarget
) -> Report:
    """Return the report with a verdict on each claim of the matrix, or with a note where some runs were left out."""
    if matrix.left_out:
        return replace(report, notes=(*report.notes, ONLY_WHOLE)) if matrix.claims else report
    results = {(row.run_id, row.evaluation_id, row.name): row for row in rows}
    judge = Judge(matrix, Evidence(matrix, store, results), report.verdicts, off_target.last_rho)
    statements = read_statements(matrix, store, home)
    run_ids = [run.run_id for run in matrix.runs]

    def first(name: str) -> float | None:
        return queries.first_result(store, run_ids, compared_evaluations(name, matrix, statements))

    verdicts = [judge.judge(name, claim_history(name, matrix, statements, first(name))) for name in matrix.claims]
    withdrawn = withdrawn_claims(matrix, statements, first)
    notes = [f"Withdrawn after the first result: the claim {', '.join(withdrawn)}."] if withdrawn else []
    return replace(report, claims=tuple(verdicts), notes=(*report.notes, *notes))
