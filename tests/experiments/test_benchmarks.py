from __future__ import annotations

import pytest

from experiments.benchmarks import (
    AnyBenchmark,
    AutoAttack,
    Cifar101,
    Clean,
    CommonCorruptions,
    Pgd,
    Transfer,
    column,
    describe,
    full_column,
    measures,
)

RANDOM = Pgd(norm="linf", eps=16 / 255, step_size=2 / 255, target="random")
TRANSFER = Transfer(source="r0123456789abcdef", norm="l2", eps=1.0)


@pytest.mark.parametrize(
    ("benchmark", "columns", "full"),
    [
        (Clean(), ("clean",), "clean"),
        (Pgd(norm="linf", eps=8 / 255), ("pgd_linf",), "pgd_linf@eps=8/255,n=20"),
        (RANDOM, ("pgd_linf", "pgd_linf_success"), "pgd_linf@eps=16/255,n=20,step_size=2/255,target=random"),
        (TRANSFER, ("transfer_l2",), "transfer_l2@eps=1,n=20,source=r0123456789abcdef"),
        (AutoAttack(norm="linf", eps=8 / 255), ("autoattack_linf",), "autoattack_linf@eps=8/255"),
        (AutoAttack(norm="l2", eps=1, version="rand"), ("autoattack_l2",), "autoattack_l2@eps=1,version=rand"),
        (Cifar101(version="v4"), ("cifar10_1",), "cifar10_1@version=v4"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_columns(benchmark: AnyBenchmark, columns: tuple[str, ...], full: str) -> None:
    assert measures(benchmark) == columns == tuple(column(benchmark, measure) for measure in columns)
    assert full_column(benchmark, columns[0]) == full
    assert describe(benchmark)


def test_corruptions_come_with_both_summaries() -> None:
    found = measures(CommonCorruptions(pipeline="official"))
    assert found[:2] == ("mce", "average_ce") and len(found) == 17
