"""What the benchmarks print is what is read out of it."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.conftest import ROOT


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import measure

    return measure


@pytest.mark.parametrize("values", [[0.05, 0.0512, 0.06], [0.97, 1.0, 1.22], [18.4, 28.1, 31.0], [1_194.0, 2_291.4]])
def test_a_ratio_is_read_as_it_was_written(measure: ModuleType, values: list[float]) -> None:
    ratio = measure.Ratio.around(values)
    for text in (str(ratio), ratio.seconds()):
        read = measure.Ratio.read(text)
        assert (read.median, read.low, read.high) == pytest.approx((ratio.median, ratio.low, ratio.high), rel=0.06)
    assert str(ratio).count("x") == 1 and "x" not in ratio.seconds()


@pytest.mark.parametrize("cell", ["", "not installed", "0 of 64", "wide_resnet 10x1", "1.2.3"])
def test_what_is_no_ratio_is_not_read_as_one(measure: ModuleType, cell: str) -> None:
    assert measure.Ratio.read(cell) is None


def test_a_plain_figure_is_a_ratio_without_spread(measure: ModuleType) -> None:
    assert measure.Ratio.read("10.6x") == measure.Ratio(10.6, 10.6, 10.6)


def test_ways_are_taken_in_turn_and_every_other_round_backwards(measure: ModuleType) -> None:
    order: list[str] = []
    found = measure.in_turn([lambda: order.append("a") or 1, lambda: order.append("b") or 2], rounds=2, before=1)
    assert found == [[1, 1], [2, 2]]
    assert "".join(order) == "abbaab"


def test_rows_of_several_tables(measure: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    measure.head("what", "ratio", "ratio")
    measure.row("flip", "2.0x", "")
    print("between them")
    measure.head("network", "s")
    measure.row("cnn | 32", 3)
    with pytest.raises(ValueError):
        measure.rows(text := capsys.readouterr().out)
    assert measure.rows(text.replace(" | 32", " 32")) == [
        {"what": "flip", "ratio": "2.0x", "ratio 2": ""},
        {"network": "cnn 32", "s": "3"},
    ]
