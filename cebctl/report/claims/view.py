"""The words, the table and the JSON of verdicts."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from cebctl.render.console import pluralize
from cebctl.report.claims.judge import ClaimVerdict, Reason, format_difference, unit_text
from cebctl.report.formats.text_grid import Grid, GridCell, GridColumn
from cebctl.report.number_format import NONE, scale

TITLE = "Claims"


def claims_grids(verdicts: Sequence[ClaimVerdict]) -> list[Grid]:
    """Return the table of verdicts, a row for each claim; none without claims."""
    if not verdicts:
        return []
    columns: dict[str, list[str]] = {
        "verdict": [verdict.outcome for verdict in verdicts],
        "A": [verdict.a.name if verdict.a else verdict.claim.a for verdict in verdicts],
        "B": [verdict.b.name if verdict.b else verdict.claim.b for verdict in verdicts],
        "A - B": [difference_text(verdict) for verdict in verdicts],
        "rule": [rule_text(verdict) for verdict in verdicts],
        "seeds": [seeds_text(verdict) for verdict in verdicts],
        "measure": [column_text(verdict) for verdict in verdicts],
    }
    names = [verdict.name if verdict.claim.primary else f"{verdict.name} (exploratory)" for verdict in verdicts]
    stub = GridColumn(("claim",), tuple(GridCell(name) for name in names), left=True)
    strips = [
        GridColumn((head,), tuple(GridCell(text, bold=head == "verdict") for text in texts), left=True)
        for head, texts in columns.items()
    ]
    return [Grid(TITLE, (stub,), tuple(strips))]


def column_text(verdict: ClaimVerdict) -> str:
    """Return the column that is compared, or both."""
    if verdict.a is None or verdict.b is None:
        return verdict.claim.measure
    names = dict.fromkeys((verdict.a.column_name, verdict.b.column_name))
    return " against ".join(names)


def difference_text(verdict: ClaimVerdict) -> str:
    """Return the difference with its interval; a dash where there is none."""
    if verdict.difference is None:
        return NONE
    return format_difference(verdict.difference, verdict.low, verdict.high)


def rule_text(verdict: ClaimVerdict) -> str:
    """Return the condition under which the claim holds: `> 2 points`."""
    claim = verdict.claim
    factor, unit = 1.0, ""
    if verdict.difference is not None:
        factor, unit = scale(verdict.difference.unit)[0], f" {unit_text(verdict.difference.unit)}"
    margin = f"{claim.margin * factor:g}"
    texts = {"higher": f"> {margin}", "lower": f"< {'-' * bool(claim.margin)}{margin}", "equivalent": f"± {margin}"}
    return texts[claim.relation] + unit


def seeds_text(verdict: ClaimVerdict) -> str:
    """Return the seeds of both sides, `5` or `5, 3`."""
    if verdict.a is None or verdict.b is None:
        return NONE
    return ", ".join(dict.fromkeys(str(len(side.runs)) for side in (verdict.a, verdict.b)))


def sentence(verdict: ClaimVerdict) -> str:
    """Return the verdict in one sentence: `pgd: undecided: CEB is …: too few seeds: about 7 on each side would do.`"""
    parts = [f"{verdict.name}: {verdict.outcome}", verdict.claim.sentence.rstrip(".")]
    if verdict.reasons:
        parts.append("; ".join(reason.text for reason in verdict.reasons))
    elif verdict.difference is not None:
        parts.append(f"{difference_text(verdict)}, rule {rule_text(verdict)}")
    marks = [verdict.history.describe(), "" if verdict.claim.primary else "exploratory"]
    behind = "; ".join(filter(None, marks))
    return ": ".join(parts) + (f" ({behind})" if behind else "") + "."


def sentences(verdicts: Sequence[ClaimVerdict]) -> list[str]:
    """Return a sentence for each claim, then how intervals were made and when the rules were fixed."""
    return [*map(sentence, verdicts), *method_notes(verdicts)] if verdicts else []


def method_notes(verdicts: Sequence[ClaimVerdict]) -> list[str]:
    """Return notes on the intervals, on the matches and stronger attacks, and on the age of the rules."""
    primary = sum(verdict.claim.primary for verdict in verdicts)
    levels = ", ".join(dict.fromkeys(f"{1 - verdict.alpha:.4g}" for verdict in verdicts))
    corrected = f", corrected for {primary} primary claims (Bonferroni)" if primary > 1 else ""
    notes = [
        f"Claims: intervals of A - B of level {levels}{corrected}, over seeds and images; the figure shows the same."
    ]
    if alone := [v.name for v in verdicts if v.difference and not v.difference.is_over_images]:
        notes.append(f"Over seeds alone, for these images: {', '.join(alone)}.")
    notes += [f"{v.name}: {v.match}." for v in verdicts if v.match]
    notes += [f"{v.name}, under a stronger attack: {'; '.join(v.stronger)}." for v in verdicts if v.stronger]
    for v in verdicts:
        if v.history.added_seeds:
            seeds = ", ".join(map(str, v.history.added_seeds))
            notes.append(f"{v.name}: seed {seeds} added after the first result; the level does not allow for that.")
    stated = [v.history.stated_at for v in verdicts if v.history.stated_at is not None and not v.history.describe()]
    if stated:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(max(stated)))
        has_results = any(v.history.first_result is not None for v in verdicts)
        age = "before the first result" if has_results else "and there is no result yet"
        notes.append(f"{pluralize(len(stated), 'claim')} fixed by a submission of {when}, {age}.")
    return notes


def claims_csv(verdicts: Sequence[ClaimVerdict]) -> list[dict[str, Any]]:
    """Return a line of CSV for each verdict, in the columns of a report's cells and in `CSV_FIELDS`."""
    lines = []
    for verdict in verdicts:
        record = _json(verdict)
        runs = [run_id for side in record["sides"].values() for run_id in side["run_ids"]]
        lines.append(
            {
                "table": TITLE,
                "run_ids": " ".join(runs),
                "column": verdict.name,
                "value": record["difference"],
                "measure": record.get("unit", ""),
                "interval_over": " ".join(record.get("over", ())),
                "reasons": "; ".join(reason.text for reason in verdict.reasons),
                "changed": verdict.history.describe(),
            }
            | {key: record.get(key) for key in ("low", "high", "n", "verdict", "relation", "margin", "primary")}
        )
    return lines


CSV_FIELDS = ("verdict", "relation", "margin", "primary", "reasons")


def claims_json(verdicts: Sequence[ClaimVerdict]) -> list[dict[str, Any]]:
    """Return the verdicts for `--json`, fractions as everywhere; the keys are part of the interface."""
    return [_json(verdict) for verdict in verdicts]


def _json(verdict: ClaimVerdict) -> dict[str, Any]:
    difference = verdict.difference
    record: dict[str, Any] = {
        "name": verdict.name,
        **msgspec.to_builtins(verdict.claim),
        "verdict": verdict.outcome,
        "reasons": [_reason_json(reason) for reason in verdict.reasons],
        "difference": None if difference is None else float(difference.spread.difference),
        "low": None if math.isnan(verdict.low) else verdict.low,
        "high": None if math.isnan(verdict.high) else verdict.high,
        "interval_level": 1 - verdict.alpha,
        "corrected_for": verdict.corrected_for,
        "matched": verdict.match,
        "stronger_attacks": verdict.stronger,
        "sides": {
            key: {
                "name": side.name,
                "run_ids": [run.run_id for run in side.runs],
                "column": side.column_name,
                "mean": None if difference is None else getattr(difference, f"mean_{key}"),
            }
            for key, side in (("a", verdict.a), ("b", verdict.b))
            if side is not None
        },
        "stated_at": verdict.history.stated_at,
        "first_result": verdict.history.first_result,
        "stated_late": verdict.history.is_late,
        "changed": verdict.history.changes,
        "added_seeds": verdict.history.added_seeds,
    }
    if difference is not None:
        record |= {
            "unit": difference.unit,
            "n": difference.n,
            "over": ["seeds"] * bool(difference.spread.seeds) + ["images"] * difference.is_over_images,
        }
    return record


def _reason_json(reason: Reason) -> dict[str, Any]:
    return {"kind": reason.kind, "text": reason.text, "seeds": reason.seeds}
