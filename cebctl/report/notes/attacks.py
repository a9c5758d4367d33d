"""The footnotes about attacks: their settings, the limits of PGD and the audits of gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import structs

from cebctl.render.console import pluralize
from cebctl.report.audit_verdict import MEASURES, verdict
from cebctl.report.cells import Audit
from experiments.benchmarks import EOT_DRAWS, AutoAttack, GradientAudit, Pgd, Transfer, format_eps, judged_draws
from experiments.matrix.planned_run import Matrix
from store.row_types import ResultRow

Verdicts = Mapping[str, Mapping[str, Audit]]
"""By run_id, then by threat model (`linf eps=0.15`)."""


def attack_notes(matrix: Matrix, results: Sequence[ResultRow]) -> list[str]:
    """Return the settings of each attack and the limits of PGD's numbers."""
    radii: dict[Pgd | Transfer | AutoAttack, list[float]] = {}
    for benchmark in matrix.benchmarks:
        if isinstance(benchmark, Pgd | Transfer | AutoAttack):
            radii.setdefault(structs.replace(benchmark, eps=1.0), []).append(benchmark.eps)
    lines = [_attack(matrix, attack, ", ".join(map(eps_on_both_scales, eps))) for attack, eps in radii.items()]
    lines += _unattacked(matrix, results)
    if any(isinstance(benchmark, Pgd) for benchmark in matrix.benchmarks):
        lines.append(_strongest(results))
    return [*lines, _gradients(results)]


def audit_verdicts(results: Iterable[ResultRow]) -> dict[str, dict[str, Audit]]:
    """Return the verdict of every complete gradient audit."""
    measured: dict[tuple[str, str], dict[str, float]] = {}
    images: dict[tuple[str, str], int] = {}
    for row in results:
        if isinstance(row.benchmark, GradientAudit) and row.total:
            value = row.correct / row.total if row.correct is not None else row.value
            audit = row.run_id, _threat(row.benchmark)
            if value is not None:
                measured.setdefault(audit, {})[row.name] = value
                images[audit] = row.total
    verdicts: dict[str, dict[str, Audit]] = {}
    for (run_id, threat), values in sorted(measured.items()):
        # An audit that was cut off has some measures only: it gets no verdict.
        if values.keys() >= set(MEASURES):
            verdicts.setdefault(run_id, {})[threat] = Audit(verdict(values), images[run_id, threat])
    return verdicts


def audit_notes(matrix: Matrix, verdicts: Verdicts) -> list[str]:
    """Return a footnote for each threat model and verdict, and for the runs without an audit."""
    names: dict[tuple[str, str], list[str]] = {}
    for threat in dict.fromkeys(_threat(b) for b in matrix.benchmarks if isinstance(b, GradientAudit)):
        for run in matrix.runs:
            if any(isinstance(b, GradientAudit) and _threat(b) == threat for b in run.benchmarks):
                audit = verdicts.get(run.run_id, {}).get(threat, "no audit yet")
                names.setdefault((threat, str(audit)), []).append(run.name)
    return [f"gradient audit, {threat}: {verdict}: {', '.join(runs)}." for (threat, verdict), runs in names.items()]


def _threat(audit: GradientAudit) -> str:
    return f"{audit.norm} eps={format_eps(audit.eps)}"


def _attack(matrix: Matrix, benchmark: Pgd | Transfer | AutoAttack, eps: str) -> str:
    """Return the settings of attacks that differ in their radii only, `eps`."""
    subset = f", {pluralize(benchmark.subset, 'image')}" if benchmark.subset else ""
    if isinstance(benchmark, AutoAttack):
        judged = _judged(benchmark) if benchmark.version == "rand" else "on mean encodings"
        kind = f"{benchmark.version}, {judged}"
        return f"autoattack_{benchmark.norm}: AutoAttack {kind}, eps {eps}{subset}."
    step = "4/3 eps/n" if benchmark.step_size is None else format_eps(benchmark.step_size)
    start = "random start" if benchmark.random_start else "start at the image"
    settings = f"eps {eps}, n {benchmark.steps}, step {step}, {start}"
    if isinstance(benchmark, Transfer):
        names = [run.name for run in matrix.runs if run.run_id == benchmark.source]
        return (
            f"transfer_{benchmark.norm}: PGD examples made on {(names or [benchmark.source])[0]}, {settings}{subset}."
        )
    aim = {"none": "untargeted", "random": "random-target"}.get(str(benchmark.target), f"class-{benchmark.target}")
    loss = "" if benchmark.loss == "cross_entropy" else f", loss {benchmark.loss}"
    restarts = f", the worst of {benchmark.restarts} restarts" if benchmark.restarts > 1 else ""
    return f"pgd_{benchmark.norm}: {aim} PGD, {settings}{loss}{restarts}{subset}."


def _judged(benchmark: AutoAttack) -> str:
    """Return the classifier that `rand` judges."""
    draws = judged_draws(benchmark)
    classifier = f"averaged over {draws} draws of z" if draws > 1 else "that draws one z"
    return f"of the classifier {classifier}: attacked over {max(draws, EOT_DRAWS)} fixed draws, counted on fresh ones"


def _unattacked(matrix: Matrix, results: Iterable[ResultRow]) -> list[str]:
    """Return the accuracy without attack of each classifier that `rand` judged: `clean` is over mean encodings."""
    names = {run.run_id: run.name for run in matrix.runs}
    shares = {
        (judged_draws(row.benchmark), names[row.run_id]): row.value
        for row in results
        if isinstance(row.benchmark, AutoAttack) and row.name == "unattacked_share" and row.run_id in names
    }
    by_draws: dict[int, list[str]] = {}
    for (draws, name), share in shares.items():
        by_draws.setdefault(draws, []).append(f"{share:.1%} ({name})")
    return [
        f"Over {draws} draw{'s' * (draws > 1)} of z and without attack: {', '.join(accuracies)}."
        for draws, accuracies in by_draws.items()
    ]


def _strongest(results: Sequence[ResultRow]) -> str:
    """Return a note on the models with a number of PGD but none of AutoAttack for the same threat model and classifier.

    AutoAttack `rand` does not count: it judges another classifier.
    """
    attacked: dict[tuple[str, str, float], set[str]] = {}
    for row in results:
        of_means = isinstance(row.benchmark, Pgd) or getattr(row.benchmark, "version", "") in ("standard", "plus")
        if row.unit == "accuracy" and of_means and isinstance(row.benchmark, Pgd | AutoAttack):
            threat = (row.run_id, row.benchmark.norm, row.benchmark.eps)
            attacked.setdefault(threat, set()).add("autoattack" if isinstance(row.benchmark, AutoAttack) else "pgd")
    with_autoattack = [kinds for kinds in attacked.values() if "autoattack" in kinds]
    pgd_alone = [kinds for kinds in attacked.values() if "autoattack" not in kinds]
    if not with_autoattack:
        return "Robust accuracies are upper bounds: no stronger attack than PGD was run on these models."
    if pgd_alone:
        return "Robust accuracies are upper bounds: for some, no stronger attack than PGD was run."
    return "Accuracies under PGD are upper bounds; AutoAttack, a stronger attack, stands beside each."


def _gradients(results: Iterable[ResultRow]) -> str:
    shares = [row.value for row in results if row.name == "zero_gradient_share" and row.value]
    if not shares:
        return ""
    return (
        f"PGD met images whose gradient is all zero (up to {max(shares):.1%} of one model's): it may overstate those."
    )


def eps_on_both_scales(eps: float) -> str:
    """Return a radius in [0, 1] pixel units and on the 0-255 scale: `0.15 (38.25/255)`, `8/255 (0.03137)`."""
    text = format_eps(eps)
    return f"{text} ({eps:.4g})" if "/" in text else f"{text} ({eps * 255:g}/255)"
