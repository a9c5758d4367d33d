from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.errors import InputError, MatrixError
from experiments.matrix import load

ROOT = Path(__file__).parents[2]
BASE = "{data: digits, network: small_cnn, optimiser: adam, epochs: 1, batch: 8}"


def test_a_product_in_the_order_of_the_file(expand) -> None:
    matrix = expand("grids:\n  - objective: [ceb, vib]\n    rho: {from: -1, to: 0, by: 0.5}\nseeds: [0, 1]")
    assert [run.name for run in matrix.runs][:5] == [
        "ceb rho=-1 seed=0", "ceb rho=-1 seed=1", "ceb rho=-0.5 seed=0", "ceb rho=-0.5 seed=1", "ceb rho=0 seed=0",
    ]  # fmt: skip
    assert len(matrix.runs) == 12


def test_the_papers_25_values_of_rho(expand) -> None:
    runs = expand("grids: [{objective: ceb, rho: {from: -1, to: 5, by: 0.25}}]").runs
    assert [run.axes["rho"] for run in runs] == [-1 + 0.25 * i for i in range(25)]


def test_decimal_ranges_are_exact(expand) -> None:
    runs = expand("grids: [{objective: ceb, rho: {from: 0, to: 1, by: 0.1}}]").runs
    assert [run.axes["rho"] for run in runs] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def test_a_field_without_effect_does_not_exist(expand) -> None:
    """rho inherited from base by xent falls away, so the run is the one of a matrix that never had it."""
    inherited = load(_write_again(expand, "objective: {name: ceb, rho: 3}"))
    plain = expand("grids: [{objective: xent}]")
    assert inherited.runs[0].run_id == plain.runs[0].run_id


def _write_again(expand, extra: str) -> Path:
    path = expand("grids: [{objective: xent}]").path
    path.write_text(f"base: {BASE[:-1]}, {extra}}}\ngrids: [{{objective: xent}}]")
    return path


def test_variants_zip_exclude_include(expand) -> None:
    matrix = expand(
        "variants:\n  narrow: {network.width: 4}\n  wide: {network: {width: 8, z_dim: 32}}\n"
        "grids:\n  - variants: [narrow, wide]\n    objective: ceb\n    zip: {rho: [1, 2], epochs: [3, 4]}\n"
        "    exclude: ['width = 8, rho = 2']\n    include: [{objective: xent}]\n"
    )
    found = [(run.run.network.width, run.axes.get("rho"), run.run.epochs) for run in matrix.runs]
    assert found == [(4, 1.0, 3.0), (4, 2.0, 4.0), (8, 1.0, 3.0), (16, None, 1.0)]


def test_lists_of_benchmark_parameters_are_axes(expand) -> None:
    matrix = expand(
        "grids: [{objective: xent}]\nevaluate: [clean, pgd: {norm: linf, eps: [8/255, 16 px], steps: [20, 50]}]"
    )
    assert [(b.eps, b.steps) for b in matrix.benchmarks[1:]] == [
        (8 / 255, 20), (8 / 255, 50), (16 / 255, 20), (16 / 255, 50),
    ]  # fmt: skip


FAULTS = {
    "rhoo": ("grids: [{objective: ceb, rhoo: 3}]", "m.yaml:2:26: unknown field 'rhoo'; did you mean 'rho'?"),
    "type": ("grids: [{objective: ceb, rho: [1, thre]}]", "m.yaml:2:35: rho: expected a number, got 'thre'"),
    "literal": ("grids: [{objective: cebb}]", "m.yaml:2:21: objective: expected one of"),
    "empty axis": ("grids: [{objective: ceb, rho: []}]", "rho: an axis needs at least one value"),
    "endless": ("grids: [{objective: ceb, rho: {from: 1, to: 2, by: -1}}]", "a range from 1 to 2 by -1 never ends"),
    "zero step": ("grids: [{objective: ceb, rho: {from: 1, to: 2, by: 0}}]", "never ends"),
    "huge": ("grids: [{objective: ceb, rho: {from: 0, to: 1, by: 1e-9}}]", "at most 200,000 runs"),
    "huge product": ("grids: [{objective: ceb, rho: {from: 1, to: 900, by: 1}, seed: {from: 1, to: 900, by: 1}}]",
                     "a grid of more than 200,000 runs"),
    "twice": ("grids: [{objective: ceb, rho: [1, 1.0]}]", "the run objective=ceb rho=1 stands here a second time"),
    "no effect": ("grids: [{objective: xent, rho: 1}]", "m.yaml:2:32: rho: objective 'xent' has no such field"),
    "missing": ("grids: [{objective: ceb}]", "objective.rho is missing; objective 'ceb' needs it"),
    "ambiguous": ("grids: [{objective: xent, steps: 3}]", "could be any of adversary.steps, objective"),
    "zip": ("grids: [{objective: ceb, zip: {rho: [1, 2], epochs: [1]}}]", "the axes have 2, 1 values"),
    "variant": ("grids: [{variants: [x], objective: xent}]", "unknown variant 'x'"),
    "top": ("grid: []", "m.yaml:2:1: unknown field 'grid' of a matrix; did you mean 'grids'?"),
    "benchmark": ("grids: [{objective: xent}]\nevaluate: [clen]", "unknown benchmark 'clen'; did you mean 'clean'?"),
    "eps": ("grids: [{objective: xent}]\nevaluate: [pgd: {norm: l2, eps: -1}]", "eps: expected a number > 0"),
    "exclude": ("grids: [{objective: xent, exclude: ['rho ~ 3']}]", "selection 'rho ~ 3'"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_names_file_place_and_what_is_allowed(expand, name: str) -> None:
    text, message = FAULTS[name]
    with pytest.raises(InputError) as caught:
        expand(text)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_every_fault_is_reported_in_order(expand) -> None:
    with pytest.raises(MatrixError) as caught:
        expand("grids:\n  - {objective: ceb, rho: []}\n  - {objektive: ceb}\nevaluate: [clen, pgd]")
    assert [(fault.line, fault.column) for fault in caught.value.faults] == [(3, 27), (4, 6), (5, 12), (5, 18)]


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_any_order_of_keys_and_axes_gives_the_same_ids(tmp_path_factory, data) -> None:
    axes = {
        "objective": ["ceb", "vib"],
        "rho": data.draw(st.lists(st.integers(-3, 9), min_size=1, max_size=3, unique=True)),
        "seed": data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=2, unique=True)),
    }
    path = tmp_path_factory.mktemp("m") / "m.yaml"

    def ids(shuffle: random.Random | None) -> list[str]:
        items = [(key, list(values)) for key, values in axes.items()]
        if shuffle:
            shuffle.shuffle(items)
            for _, values in items:
                shuffle.shuffle(values)
        path.write_text(f"base: {BASE}\ngrids: [{json.dumps(dict(items))}]")
        return [run.run_id for run in load(path).runs]

    straight = ids(None)
    assert len(set(straight)) == len(straight)
    assert ids(None) == straight
    assert sorted(ids(data.draw(st.randoms(use_true_random=False)))) == sorted(straight)


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_matrix_here_expands_and_says_what_it_costs(path: Path) -> None:
    assert load(path).runs
    head = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert "Cost:" in head and "Expect" in head


def test_the_demo_holds_the_runs_it_promises() -> None:
    runs = load(ROOT / "experiments" / "digits.yaml").runs
    found = {}
    for run in runs:
        found.setdefault(run.axes["objective"], []).append(run.axes.get("rho"))
    assert found == {"xent": [None], "ceb": [5, 3, 2, 1, 0, -1], "vib": [5, 3, 1, 0, -1], "cceb": [3, 1, 0, -1]}


def test_a_selection_that_leaves_nothing_is_an_error(expand) -> None:
    matrix = expand("grids: [{objective: ceb, rho: [1, 2, 3]}]")
    assert [run.axes["rho"] for run in matrix.only("rho <= 2").runs] == [1, 2]
    with pytest.raises(InputError, match="selects none of the 3 runs"):
        matrix.only("rho > 3")
