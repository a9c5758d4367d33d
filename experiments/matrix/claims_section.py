"""Read the `claims` section of a matrix: statements about its results, each with the rule that decides it.

claims:
  pgd:
    sentence: At the same clean accuracy CEB is more accurate under PGD than cross-entropy.
    a: objective = ceb
    b: objective = xent
    measure: pgd_linf
    margin: 0.02
    primary: true
    match: clean_holdout
    within: 0.01

`submit` journals the claims, so that a report can say whether a rule is older than the results that it judges.
`cebctl.report.claims` applies the rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET
from yaml.nodes import MappingNode, Node

from experiments import own_dataset
from experiments.benchmarks import AnyBenchmark, column, full_column, measures
from experiments.errors import Fault, InputError, expected
from experiments.matrix import selection
from experiments.matrix.planned_run import PlannedRun, seed_groups
from experiments.matrix.spec_fields import Schema, Value, read_assignments, schema
from experiments.matrix.stated_claim import StatedClaim, columns_named
from experiments.matrix.yaml_nodes import fault_at

MOST_PRIMARY = 3
"""Primary claims in a file: the more there are, the wider is the interval of each."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")

Fields = Mapping[str, Value]
"""The fields that a file sets for one claim, with their places."""


def read(node: Node | None, faults: list[Fault]) -> dict[str, tuple[StatedClaim, Fields]]:
    """Return the claims of the section by name, and add its faults to `faults`."""
    if node is None:
        return {}
    if not isinstance(node, MappingNode):
        faults.append(fault_at(node, "claims: expected a mapping of names to claims"))
        return {}
    claims: dict[str, tuple[StatedClaim, Fields]] = {}
    for key, value in node.value:
        if not _NAME.fullmatch(key.value):
            faults.append(fault_at(key, f"claims: {key.value!r} is no name; letters, digits, - and _, at most 40"))
        elif (claim := _claim(key, value, faults)) is not None:
            claims[key.value] = claim
    primary = [fields["primary"] for claim, fields in claims.values() if claim.primary]
    for item in primary[MOST_PRIMARY:]:
        message = f"primary: at most {MOST_PRIMARY} claims of a file are; leave it out: the claim is then exploratory"
        faults.append(fault_at(item.node, message))
    return claims


def _claim(key: Node, node: Node, faults: list[Fault]) -> tuple[StatedClaim, Fields] | None:
    before = len(faults)
    fields = {path[0]: item for path, item in read_assignments(schema(StatedClaim), node, (), faults).items()}
    if len(faults) > before:
        return None
    required = [info.name for info in msgspec.structs.fields(StatedClaim) if info.required]
    if missing := [name for name in required if name not in fields]:
        faults.append(fault_at(key, f"claims.{key.value}: {', '.join(missing)} must be set"))
        return None
    claim = msgspec.convert({name: item.value for name, item in fields.items()}, StatedClaim)
    if claim.relation == "equivalent" and claim.margin == 0:
        faults.append(fault_at(key, f"claims.{key.value}: `relation: equivalent` needs a margin above 0"))
    if (claim.match is UNSET) != (claim.within is UNSET):
        faults.append(fault_at(key, f"claims.{key.value}: `match` and `within` go together; set both or neither"))
    if claim.match is UNSET and "choose" in fields:
        faults.append(fault_at(fields["choose"].node, "choose: there is nothing to choose by without `match`"))
    return claim, fields


def check(
    claims: Mapping[str, tuple[StatedClaim, Fields]], runs: Sequence[PlannedRun], tree: Schema, faults: list[Fault]
) -> dict[str, tuple[int, ...]]:
    """Return the seeds of each claim by its name, and add a fault for each claim whose selections or columns do not fit
    the expanded runs."""
    seeds: dict[str, tuple[int, ...]] = {}
    for name, (claim, fields) in claims.items():
        before = len(faults)
        sides = [_side(fields[key], key, runs, tree, faults) for key in ("a", "b")]
        if len(faults) > before:
            continue
        a, b = sides
        seeds[name] = tuple(sorted({run.run.seed for run in (*a, *b)}))
        _check_settings(claim, fields, a, b, faults)
        _check_column(fields["measure"], "measure", a, faults)
        if "measure_b" in fields:
            _check_column(fields["measure_b"], "measure_b", b, faults)
        elif len(faults) == before:  # a name that A does not have is one fault
            _check_column(fields["measure"], "measure", b, faults)
        if "match" in fields:
            _check_column(fields["match"], "match", (*a, *b), faults)
    return seeds


def _side(field: Value, name: str, runs: Sequence[PlannedRun], tree: Schema, faults: list[Fault]) -> list[PlannedRun]:
    try:
        selected = selection.parse(field.value, tree)
    except InputError as error:
        faults.append(fault_at(field.node, f"{name}: {error}"))
        return []
    side = [run for run in runs if selected.matches(run.leaves)]
    if not side:
        faults.append(fault_at(field.node, f"{name}: {field.value!r} selects none of the {len(runs)} runs"))
    return side


def _check_settings(
    claim: StatedClaim, fields: Fields, a: Sequence[PlannedRun], b: Sequence[PlannedRun], faults: list[Fault]
) -> None:
    settings = {"a": len(seed_groups(a)), "b": len(seed_groups(b))}
    for name, count in settings.items():
        if count > 1 and claim.match is UNSET:
            wrong = f"{name}: it selects {count} settings; one is compared, with its seeds, or set `match` to choose it"
            faults.append(fault_at(fields[name].node, wrong))
    if min(settings.values()) > 1 and claim.match is not UNSET:
        faults.append(fault_at(fields["b"].node, "b: both sides have several settings; `match` chooses on one of them"))
    if claim.measure_b in (UNSET, claim.measure) and {run.run_id for run in a} & {run.run_id for run in b}:
        faults.append(fault_at(fields["b"].node, "b: runs of side A are selected again; the sides must differ"))
    if not all(own_dataset.is_same(run.run.data.name, a[0].run.data.name) for run in (*a, *b)):
        faults.append(fault_at(fields["b"].node, "b: the sides are measured on different images"))


def _check_column(field: Value, name: str, side: Sequence[PlannedRun], faults: list[Fault]) -> None:
    """Add a fault unless the name stands for one column that every run of the side is asked for."""
    common = [b for b in side[0].benchmarks if all(b in run.benchmarks for run in side)]
    columns = columns_named(field.value, common)
    if not columns:
        names = _columns(common)
        faults.append(fault_at(field.node, f"{name}: no column {field.value!r} of all runs of the side; "
                                           f"{expected(names, field.value)}"))  # fmt: skip
    elif len(columns) > 1:
        full = ", ".join(full_column(benchmark, measure) for benchmark, measure in columns)
        faults.append(fault_at(field.node, f"{name}: {field.value!r} could be any of {full}; write which"))


def _columns(benchmarks: Sequence[AnyBenchmark]) -> list[str]:
    return list(dict.fromkeys(column(b, measure) for b in benchmarks for measure in measures(b)))
