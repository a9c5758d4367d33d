"""The verdict on each claim: which settings are compared, by how much they differ, and what keeps it undecided.

Accuracies under attack are upper bounds of robustness. So a claim on them needs more than its interval: a stronger
attack that gives the same verdict (AutoAttack on mean encodings in the same ball, beside PGD and transfer), and
informative gradients, by the gradient audit, of the side whose number must not be too high: A's if A is found better,
B's if B is, both sides' if they are found equivalent. A claim with a `measure_b` compares two measurements, not two
networks, and needs neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

from msgspec import UNSET

from cebctl.report.cells import Audit
from cebctl.report.claims.decision import Outcome, corrected_alpha, decide, seeds_to_decide
from cebctl.report.claims.evidence import Column, Difference, Evidence, Side
from cebctl.report.claims.history import History
from cebctl.report.comparison.variance_components import least_detectable
from cebctl.report.number_format import scale
from cebctl.status import run_names
from experiments.benchmarks import AnyBenchmark, AutoAttack, GradientAudit, Pgd, Transfer, format_eps, measures
from experiments.matrix import selection
from experiments.matrix.planned_run import Matrix, PlannedRun, seed_groups
from experiments.matrix.stated_claim import StatedClaim, columns_named

ReasonKind = Literal[
    "incomplete", "off_target", "no_match", "other_images", "too_few_seeds", "too_few_images", "no_stronger_attack",
    "stronger_attack_differs", "no_audit", "audit_not_clean",
]  # fmt: skip


@dataclass(frozen=True)
class Reason:
    """One thing that keeps a claim undecided."""

    kind: ReasonKind
    text: str
    seeds: int | None = None
    """Of `too_few_seeds`: about how many on each side would decide; None if no spread over seeds is known."""


@dataclass(frozen=True)
class ClaimVerdict:
    """The outcome of a claim. Fractions are in the unit of the measure."""

    name: str
    claim: StatedClaim
    outcome: Outcome
    alpha: float
    """The probability with which the interval may miss."""
    corrected_for: int
    """The number of primary claims that `alpha` is corrected for."""
    a: Side | None = None
    """The setting that was compared; None where none could be chosen."""
    b: Side | None = None
    difference: Difference | None = None
    low: float = float("nan")
    high: float = float("nan")
    reasons: tuple[Reason, ...] = ()
    """Of `undecided`."""
    match: str = ""
    """How the sides agree in what they had to be matched in."""
    stronger: tuple[str, ...] = ()
    """The differences under stronger attacks, in words."""
    history: History = field(default_factory=History)


@dataclass(frozen=True)
class Judge:
    """Judges the claims of a matrix by its measurements."""

    matrix: Matrix
    evidence: Evidence
    audits: Mapping[str, Mapping[str, Audit]]
    """By run_id and threat model."""
    off_target: Mapping[str, float | None]
    """By run_id, the runs whose target rho was not in force at the end."""

    def judge(self, name: str, history: History) -> ClaimVerdict:
        """Return the verdict on the claim of this name."""
        claim = self.matrix.claims[name]
        primary = sum(other.primary for other in self.matrix.claims.values())
        alpha = corrected_alpha(claim, primary)

        def undecided(*reasons: Reason, a: Side | None = None, b: Side | None = None, match: str = "") -> ClaimVerdict:
            return ClaimVerdict(
                name, claim, "undecided", alpha, max(1, primary), a, b, reasons=reasons, match=match, history=history
            )

        chosen = self._choose_sides(claim)
        if isinstance(chosen, Reason):
            return undecided(chosen)
        a, b, match = chosen
        if unmeasured := [*self.evidence.unmeasured(a), *self.evidence.unmeasured(b)]:
            return undecided(_incomplete(unmeasured, a.column_name), a=a, b=b, match=match)
        if off := [run.name for run in (*a.runs, *b.runs) if run.run_id in self.off_target]:
            text = f"the target rho was not in force at the end of {run_names.join_truncated(off)}"
            return undecided(Reason("off_target", text), a=a, b=b, match=match)
        try:
            difference = self.evidence.difference(a, b)
        except ValueError as error:
            return undecided(Reason("other_images", str(error)), a=a, b=b, match=match)
        low, high = difference.interval(alpha)
        outcome = decide(claim, low, high)
        reasons = [*_too_few(claim, difference, outcome, alpha)]
        stronger: list[str] = []
        if claim.measure_b is UNSET and isinstance(a.column[0], Pgd | Transfer | AutoAttack):
            unconfirmed, stronger = self._stronger_attacks(claim, a, b, outcome, alpha)
            reasons += [*unconfirmed, *self._audits(outcome, a, b, claim)]
        return ClaimVerdict(
            name, claim, "undecided" if reasons else outcome, alpha, max(1, primary), a, b, difference, low, high,
            tuple(reasons), match, tuple(stronger), history,
        )  # fmt: skip

    # --- which settings ---

    def _choose_sides(self, claim: StatedClaim) -> tuple[Side, Side, str] | Reason:
        """Return both sides and how they match, or why none can be chosen."""
        groups_a, groups_b = (self._groups(text) for text in (claim.a, claim.b))
        measure_b = claim.measure if claim.measure_b is UNSET else str(claim.measure_b)
        column_a, column_b = _column(claim.measure, *groups_a), _column(measure_b, *groups_b)
        if claim.match is UNSET:
            return _side(groups_a[0], column_a), _side(groups_b[0], column_b), ""
        match = _column(str(claim.match), *groups_a, *groups_b)
        candidates, (reference,) = (groups_a, groups_b) if len(groups_b) == 1 else (groups_b, groups_a)
        if unmeasured := [run for run in chain(*candidates, reference) if not self._is_measured(run, match)]:
            return _incomplete(unmeasured, str(claim.match))
        target = self._mean(reference, match)
        distances = [
            (abs(self._mean(group, match) - target), group[0].axes.get("rho", 0.0), index)
            for index, group in enumerate(candidates)
            if not any(run.run_id in self.off_target for run in group)
        ]
        unit = self._unit(reference[0], match)
        factor, digits = scale(unit)
        limit = f"{float(claim.within or 0) * factor:g} {unit_text(unit)}"
        agreeing = [entry for entry in distances if entry[0] <= float(claim.within or 0) + 1e-12]
        if not agreeing:
            nearest = f", the nearest by {min(distances)[0] * factor:.{digits}f}" if distances else ""
            text = f"none of {len(candidates)} settings agrees in {claim.match} to {limit}{nearest}"
            return Reason("no_match", f"no match: {text}")
        by_rho = claim.choose == "lowest_rho"
        distance, _, index = min(agreeing, key=lambda entry: (entry[1], entry[0]) if by_rho else entry[:2])
        by = f"{distance * factor:.{digits}f}"
        agreement = f"{claim.match} differs by {by}; {len(agreeing)} of {len(candidates)} settings are within {limit}"
        a, b = (candidates[index], reference) if len(groups_b) == 1 else (reference, candidates[index])
        return _side(a, column_a), _side(b, column_b), agreement

    def _groups(self, text: str) -> list[list[PlannedRun]]:
        selected = selection.parse(text, self.matrix.parts.schema)
        return seed_groups(run for run in self.matrix.runs if selected.matches(run.leaves))

    def _is_measured(self, run: PlannedRun, column: Column) -> bool:
        return self.evidence.measurement(run, column) is not None

    def _mean(self, runs: Sequence[PlannedRun], column: Column) -> float:
        mean = self.evidence.mean(runs, column)
        assert mean is not None  # all are measured
        return mean

    def _unit(self, run: PlannedRun, column: Column) -> str:
        number = self.evidence.measurement(run, column)
        return number.unit if number else ""

    # --- attacks ---

    def _stronger_attacks(
        self, claim: StatedClaim, a: Side, b: Side, outcome: Outcome, alpha: float
    ) -> tuple[list[Reason], list[str]]:
        """Return why no stronger attack confirms the outcome, and the difference under each in words."""
        attack = a.column[0]
        if isinstance(attack, AutoAttack) or not isinstance(attack, Pgd | Transfer):
            return [], []
        reasons: list[Reason] = []
        differences: list[str] = []
        runs = (*a.runs, *b.runs)
        attacks = [
            other
            for other in a.runs[0].benchmarks
            if _is_stronger(other, attack) and all(other in run.benchmarks for run in runs)
        ]
        if not attacks:
            where = f"{attack.norm} eps={format_eps(attack.eps)}"
            text = f"no stronger attack than {a.column_name} was asked for: add autoattack ({where})"
            reasons.append(Reason("no_stronger_attack", text))
        for other in attacks:
            column = (other, measures(other)[0])
            side_a, side_b = Side(a.runs, column), Side(b.runs, column)
            if unmeasured := [*self.evidence.unmeasured(side_a), *self.evidence.unmeasured(side_b)]:
                names = run_names.join_truncated([run.name for run in unmeasured])
                reasons.append(Reason("no_stronger_attack", f"{side_a.column_name} was not run yet on {names}"))
                continue
            try:
                difference = self.evidence.difference(side_a, side_b)
            except ValueError as error:
                reasons.append(Reason("no_stronger_attack", f"{side_a.column_name}: {error}"))
                continue
            low, high = difference.interval(alpha)
            differences.append(f"{side_a.column_name} {format_difference(difference, low, high)}")
            stronger = decide(claim, low, high)
            if outcome != "undecided" and stronger != outcome:
                text = f"a stronger attack says {stronger}: {differences[-1]}"
                reasons.append(Reason("stronger_attack_differs", text))
        return reasons, differences

    def _audits(self, outcome: Outcome, a: Side, b: Side, claim: StatedClaim) -> Iterator[Reason]:
        """Yield why gradients of the sides that the outcome rests on are not known to be informative."""
        attack = a.column[0]
        assert isinstance(attack, Pgd | Transfer | AutoAttack)
        rests_on_a = (outcome == "supported") == (claim.relation == "higher")
        sides = [a, b] if claim.relation == "equivalent" or outcome == "undecided" else [a if rests_on_a else b]
        threat = f"{attack.norm} eps={format_eps(attack.eps)}"
        for side in sides:
            audits = {run.name: self.audits.get(run.run_id, {}).get(threat) for run in side.runs}
            if without := [name for name, audit in audits.items() if audit is None]:
                asked = any(isinstance(benchmark, GradientAudit) for benchmark in side.runs[0].benchmarks)
                verb = "has no gradient audit yet" if asked else "has no gradient audit: add gradient_audit"
                yield Reason("no_audit", f"{run_names.join_truncated(without)} {verb} ({threat})")
            suspect = {name: audit for name, audit in audits.items() if audit and not audit.verdict.informative}
            if suspect:
                name, audit = next(iter(suspect.items()))
                more = f" and {len(suspect) - 1} more" if len(suspect) > 1 else ""
                yield Reason("audit_not_clean", f"the audit is not clean: {name}{more}: {audit}")


def _side(group: Sequence[PlannedRun], column: Column) -> Side:
    return Side(tuple(sorted(group, key=lambda run: run.run.seed)), column)


def _column(name: str, *groups: Sequence[PlannedRun]) -> Column:
    """Return the one column of this name that all runs have, as `experiments.matrix.claims_section` made sure of."""
    runs = [*chain(*groups)]
    return columns_named(name, [b for b in runs[0].benchmarks if all(b in run.benchmarks for run in runs)])[0]


def _is_stronger(other: AnyBenchmark, attack: Pgd | Transfer) -> bool:
    """Return whether this is AutoAttack on mean encodings in the same ball."""
    if not isinstance(other, AutoAttack) or other.version == "rand":
        return False
    return (other.norm, other.eps) == (attack.norm, attack.eps)


def _incomplete(runs: Sequence[PlannedRun], column: str) -> Reason:
    names = run_names.join_truncated([run.name for run in runs])
    return Reason("incomplete", f"no {column} of {names}")


def _too_few(claim: StatedClaim, difference: Difference, outcome: Outcome, alpha: float) -> Iterator[Reason]:
    """Yield why the interval does not decide: seeds, or images. One seed never decides."""
    if not difference.spread.seeds:
        text = "too few seeds: one seed on a side shows no spread over training; run three or more"
        yield Reason("too_few_seeds", text)
    elif outcome == "undecided":
        seeds = seeds_to_decide(claim, difference.spread, alpha)
        if seeds is not None:
            yield Reason("too_few_seeds", f"too few seeds: about {seeds:,} on each side would decide", seeds)
            return
        factor, digits = scale(difference.unit)
        least = least_detectable(difference.spread, alpha) * factor
        tell = f"{difference.n:,} images tell {least:.{digits}f} {unit_text(difference.unit)} at best"
        why = f"the margin is too near, {tell}" if least else "the difference is the margin"
        yield Reason("too_few_images", f"no number of seeds would decide: {why}")


def format_difference(difference: Difference, low: float, high: float) -> str:
    """Return `+12.3 [+8.1, +16.5] points`, or nats."""
    factor, digits = scale(difference.unit)
    value, start, end = (f"{factor * x:+.{digits}f}" for x in (float(difference.spread.difference), low, high))
    return f"{value} [{start}, {end}] {unit_text(difference.unit)}"


def unit_text(unit: str) -> str:
    """Return the unit of a difference for people: shares differ by points."""
    factor, _ = scale(unit)
    return "points" if factor == 100.0 else unit
