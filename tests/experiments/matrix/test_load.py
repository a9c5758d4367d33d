from __future__ import annotations

import itertools
import json
import math
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.errors import InputError, MatrixError
from experiments.matrix.load import load

ROOT = Path(__file__).parents[3]
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
    fields = [(run.run.network.width, run.axes.get("rho"), run.run.epochs) for run in matrix.runs]
    assert fields == [(4, 1.0, 3.0), (4, 2.0, 4.0), (8, 1.0, 3.0), (16, None, 1.0)]


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
    "infinite": ("grids: [{objective: ceb, rho: 1e999}]", "rho: expected a number >= -20 and <= 1000, got inf"),
    "nan": ("grids: [{objective: ceb, rho: .nan}]", "rho: expected a number, got '.nan'"),
    "all excluded": ("grids: [{objective: ceb, rho: 1, exclude: ['rho = 1']}]", "the matrix has no runs"),
    "only nothing": ("grids: [{objective: xent}]\nevaluate: [pgd: {norm: l2, eps: 1, only: rho = 3}]",
                     "m.yaml:3:12: pgd: only: it leaves none of the runs"),
    "wrong data": ("grids: [{objective: xent}]\nevaluate: [imagenet_a]", "it is for imagenet, not for digits; allowed"),
    "no such class": ("grids: [{objective: xent}]\nevaluate: [pgd: {norm: l2, eps: 1, target: 10}]",
                      "target: digits has the classes 0 to 9"),
    "too far": ("grids: [{objective: xent}]\nevaluate: [autoattack: {norm: linf, eps: 1.5}]",
                "eps: 1.5 is larger than the range of digits in linf; at most 1 in"),
    "no noise": ("grids: [{objective: xent}]\nevaluate: [autoattack: {norm: linf, eps: 0.1, version: rand}]",
                 "version: rand attacks sampled z; xent has none"),
    "no draws": ("grids: [{objective: ceb, rho: 1}]\nevaluate: [autoattack: {norm: l2, eps: 1, draws: 5}]",
                 "m.yaml:3:12: autoattack: draws: standard judges mean encodings and draws no z; expected version"),
    "no source": ("grids: [{objective: xent}]\nevaluate: [transfer: {source: rho = 3, norm: l2, eps: 1}]",
                  "source: it selects 0 of the 1 runs; expected one"),
    "source missing": ("grids: [{objective: xent}]\nevaluate: [transfer: {norm: l2, eps: 1}]",
                       "source is missing: expected a selection of one run"),
    "stage": ("grids: [{objective: xent}]\nresources: {trian: {}}", "unknown field 'trian' of resources"),
    "injection": ("grids: [{objective: xent}]\nresources: {train: {partition: 'gpu --wrap=ls'}}",
                  "partition: expected names, with commas and no spaces or null, got 'gpu --wrap=ls'"),
    "time": ("grids: [{objective: xent}]\nresources: {train: {time: 90}}",
             "time: expected a time such as 2-12:00:00 or null, got 90"),
    "when": ("grids: [{objective: xent}]\nresources: {when: [{train: {nodes: 2}}]}", "expected `only: a selection`"),
    "report": ("grids: [{objective: xent}]\nreport: {figures: [v3-1]}", "figures: expected one of v1-1, v1-2"),
    "zero step": ("grids: [{objective: ceb, rho: {from: 1, to: 2, by: 0}}]", "never ends"),
    "huge": ("grids: [{objective: ceb, rho: {from: 0, to: 1, by: 1e-9}}]", "at most 200,000 runs"),
    "huge product": ("grids: [{objective: ceb, rho: {from: 1, to: 900, by: 1}, seed: {from: 1, to: 900, by: 1}}]",
                     "a grid of more than 200,000 runs"),
    "twice": ("grids: [{objective: ceb, rho: [1, 1.0]}]", "the run ceb rho=1 stands here a second time"),
    "no effect": ("grids: [{objective: xent, rho: 1}]", "m.yaml:2:32: rho: objective 'xent' has no such field"),
    "no kind": ("grids: [{rho: 1}]", "m.yaml:2:15: rho is set but no objective is chosen; allowed: cceb, ceb, "),
    "missing": ("grids: [{objective: ceb}]", "objective.rho is missing; objective 'ceb' needs it"),
    "ambiguous": ("grids: [{objective: xent, steps: 3}]", "could be any of adversary.steps, objective"),
    "empty zip": ("grids: [{objective: xent, zip: {}}]", "zip: expected a mapping of axes"),
    "zip": ("grids: [{objective: ceb, zip: {rho: [1, 2], epochs: [1]}}]", "the axes have 2, 1 values"),
    "variant": ("grids: [{variants: [x], objective: xent}]", "unknown variant 'x'"),
    "top": ("grid: []", "m.yaml:2:1: unknown field 'grid' of a matrix; did you mean 'grids'?"),
    "benchmark": ("grids: [{objective: xent}]\nevaluate: [clen]", "unknown benchmark 'clen'; did you mean 'clean'?"),
    "eps": ("grids: [{objective: xent}]\nevaluate: [pgd: {norm: l2, eps: -1}]", "eps: expected a number > 0"),
    "exclude": ("grids: [{objective: xent, exclude: ['rho ~ 3']}]", "selection 'rho ~ 3'"),
    "no list": ("grids: [{objective: xent}]\nevaluate: clean", "evaluate: expected a list of benchmarks"),
    "no name": ("grids: [{objective: xent}]\nevaluate: [[clean]]", "expected a name, or one name with its parameters"),
    "no mapping": ("grids: [{objective: xent}]\nevaluate: [clean: 3]", "clean: expected a mapping of parameters"),
    "parameter": ("grids: [{objective: xent}]\nevaluate: [pgd: {norm: l2, eps: 1, step: 3}]",
                  "m.yaml:3:36: pgd: unknown parameter 'step'; did you mean 'steps'?"),
    "no selection": ("grids: [{objective: xent}]\nevaluate: [clean: {only: 3}]",
                     "m.yaml:3:26: expected a selection such as"),
    "selection": ("grids: [{objective: xent}]\nevaluate: [clean: {only: rho ~ 3}]", "m.yaml:3:26: selection 'rho ~ 3'"),
    "benchmark twice": ("grids: [{objective: xent}]\nevaluate: [clean, clean]",
                        "m.yaml:3:19: this benchmark stands here twice for the same runs"),
    "title": ("grids: [{objective: xent}]\ntitle: 3", "m.yaml:3:8: title: expected text"),
    "variants": ("variants: [x]\ngrids: [{objective: xent}]", "variants: expected a mapping of name to fields"),
    "axis twice": ("grids: [{objective: ceb, objective.rho: 1, rho: 2}]", "m.yaml:2:49: rho is set twice: here,"),
    "axis within an axis": ("grids: [{objective: [vib, {name: ceb, rho: 5}], rho: [1]}]",
                            "2:55: rho is set twice: here, and at line 2, column 44; leave one of them out"),
    "axis around an axis": ("grids: [{jump_start.steps: 3, objective: [{name: ceb, rho: 1, jump_start: {steps: 4}}]}]",
                            "2:83: jump_start.steps is set twice: here, and at line 2, column 28; leave"),
    "axis of kinds": ("grids: [{rho: 1, objective.name: [vib], objective: {name: ceb}}]", "objective is set twice"),
    "zipped twice": ("grids: [{objective: ceb, rho: [1, 2], zip: {objective.rho: [3, 4], seed: [0, 1]}}]",
                     "2:61: rho is set twice: here, and at line 2, column 32"),
    "twice within zip": ("grids: [{zip: {objective: [{name: ceb, rho: 1}], rho: [2]}}]", "2:56: rho is set twice"),
    "set twice": ("grids: [{objective: xent, include: [{objective: ceb, rho: 1, objective.rho: 2}]}]",
                  "2:77: rho is set twice: here, and at line 2, column 59; leave one of them out"),
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
    assert [(fault.line, fault.column) for fault in caught.value.faults] == [(3, 27), (4, 6), (5, 12), (5, 18), (5, 18)]


def test_faults_of_all_sections_come_together(expand) -> None:
    """Those of the runs too, found by expanding every grid; one that every grid inherits is one."""
    with pytest.raises(MatrixError) as caught:
        expand("grids:\n  - {objective: ceb}\n  - {objective: vib}\n  - {objective: xent, rho: 1}\n"
               "evaluate: [clen]\nresources: {train: {nodes: 0}}\nreport: {table: x}")  # fmt: skip
    assert [(fault.line, fault.column) for fault in caught.value.faults] == [
        (3, 17), (4, 17), (5, 28), (6, 12), (7, 28), (8, 17),
    ]  # fmt: skip


def test_a_fault_that_every_grid_inherits_is_one(write) -> None:
    path = write(f"base: {BASE.replace('epochs: 1, ', '')}\ngrids: [{{objective: xent}}, {{objective: ceb, rho: 1}}]")
    with pytest.raises(MatrixError, match="epochs is missing; every run needs it") as caught:
        load(path)
    assert len(caught.value.faults) == 1


# --- properties of the expansion ---

VALUES = {
    "objective": ["ceb", "vib", "cceb"], "rho": [-1, 0, 0.5, 3, 5], "seed": [0, 1, 2], "lr": [1e-3, 1e-2],
    "network.width": [1, 2, 3], "epochs": [1, 2],
}  # fmt: skip
AXES = st.fixed_dictionaries(
    {"objective": st.lists(st.sampled_from(VALUES["objective"]), min_size=1, unique=True),
     "rho": st.lists(st.sampled_from(VALUES["rho"]), min_size=1, unique=True)},
    optional={key: st.lists(st.sampled_from(VALUES[key]), min_size=1, unique=True)
              for key in ("seed", "lr", "network.width", "epochs")},
)  # fmt: skip


def _ids(folder: Path, *grids: dict, **top: object) -> list[str]:
    """The ids of a matrix written as JSON, which is YAML."""
    path = folder / "m.yaml"
    items = [("grids", list(grids)), *top.items()]
    path.write_text(f"base: {BASE}\n" + "\n".join(f"{key}: {json.dumps(value)}" for key, value in items))
    return [run.run_id for run in load(path).runs]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("matrices")


@given(axes=AXES)
@settings(max_examples=60)
def test_expansion_is_the_product_stable_and_unique(folder: Path, axes: dict) -> None:
    ids = _ids(folder, axes)
    assert len(ids) == len(set(ids)) == math.prod(len(values) for values in axes.values())
    assert _ids(folder, axes) == ids


@given(axes=AXES, key=st.sampled_from(["objective", "rho"]), shuffle=st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_a_grid_is_the_sum_of_its_parts(folder: Path, axes: dict, key: str, shuffle: random.Random) -> None:
    """Split along any axis, in any order, the runs are the same; a value given alone is a list of one."""
    parts = [{**axes, key: value} for value in axes[key]]
    shuffle.shuffle(parts)
    assert sorted(_ids(folder, *parts)) == sorted(_ids(folder, axes))


@given(axes=AXES, data=st.data())
@settings(max_examples=60)
def test_what_is_excluded_can_be_included_again(folder: Path, axes: dict, data: st.DataObject) -> None:
    every = _ids(folder, axes)
    rho = data.draw(st.sampled_from(axes["rho"]))
    left_out = {**axes, "exclude": [f"rho = {rho}"]}
    cells = [dict(zip(axes, cell, strict=True)) for cell in itertools.product(*{**axes, "rho": [rho]}.values())]
    assert sorted(_ids(folder, {**left_out, "include": cells})) == sorted(every)
    if len(axes["rho"]) > 1:
        assert set(_ids(folder, left_out)) < set(every)
        assert _ids(folder, {**left_out, "exclude": left_out["exclude"] * 2}) == _ids(folder, left_out)


FIELDS = st.sets(st.sampled_from(["width", "z_dim"]))


@given(inside=FIELDS, beside=FIELDS, zipped=FIELDS, shuffle=st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_axes_override_variants_and_never_each_other(
    folder: Path, inside: set[str], beside: set[str], zipped: set[str], shuffle: random.Random
) -> None:
    """Check every order, with a field within a mapping, beside it or in a zip."""
    places = {
        "network": [{"name": "small_cnn", **dict.fromkeys(inside, 2)}],
        **{f"network.{field}": [4] for field in beside},
        **({"zip": {field: [8] for field in zipped}} if zipped else {}),
    }
    items = list(places.items())
    shuffle.shuffle(items)
    grid = {"variants": ["small"], "objective": "xent", **dict(items)}
    variants = {"small": {"network": {"width": 1, "z_dim": 1}}}
    if twice := inside & beside | inside & zipped | beside & zipped:
        with pytest.raises(MatrixError) as caught:
            _ids(folder, grid, variants=variants)
        assert {fault.message.partition(" ")[0] for fault in caught.value.faults} == twice
        return
    _ids(folder, grid, variants=variants)
    [run] = load(folder / "m.yaml").runs
    for field in ("width", "z_dim"):
        expected_value = 2 if field in inside else 4 if field in beside else 8 if field in zipped else 1
        assert getattr(run.run.network, field) == expected_value


@given(axes=AXES)
@settings(max_examples=40)
def test_expansion_is_idempotent(folder: Path, axes: dict) -> None:
    """The runs written out whole, one by one, are the same runs."""
    ids = _ids(folder, axes)
    specs = [msgspec.to_builtins(run.run) for run in load(folder / "m.yaml").runs]
    assert _ids(folder, {"include": specs[1:], **_as_axes(specs[0])}) == ids


def _as_axes(spec: dict) -> dict:
    """A whole spec as a grid of one run; a value that is a list is an axis of one list."""
    return {key: [value] if isinstance(value, list) else value for key, value in spec.items()}


@given(data=st.data())
@settings(max_examples=30)
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


def test_a_bundle_is_named_by_what_tells_it_apart(expand) -> None:
    matrix = expand(
        "variants: {a: {}, b: {width: 8, z_dim: 4, lr: 0.1, epochs: 2}}\ngrids: [{variants: [a, b], objective: xent}]"
    )
    assert [run.name for run in matrix.runs] == ["xent width=16", "xent width=8"]


def test_resources_by_condition_are_no_part_of_identity(expand) -> None:
    grids = "grids: [{objective: ceb, rho: [1, 2, 3]}]\n"
    matrix = expand(grids + "resources:\n  train: {gpus_per_node: 2, memory: 8G}\n  when:\n"
                    "    - {only: rho > 1, train: {nodes: 3}}\n"
                    "    - {only: rho = 3, train: {nodes: 4}, evaluate: {cpus: 2}}")  # fmt: skip
    resources = [matrix.resources(run, "train") for run in matrix.runs]
    assert [(r.nodes, r.gpus, r.memory) for r in resources] == [(1, 2, "8G"), (3, 6, "8G"), (4, 8, "8G")]
    assert [matrix.resources(run, "evaluate").cpus for run in matrix.runs] == [None, None, 2]
    assert matrix.resources(matrix.runs[0], "evaluate") is matrix.resources(matrix.runs[1], "evaluate")
    assert [run.run_id for run in matrix.runs] == [run.run_id for run in expand(grids).runs]


def test_a_benchmark_for_some_of_the_runs(expand) -> None:
    matrix = expand("grids: [{objective: ceb, rho: [1, 2, 3]}]\nevaluate:\n  - clean\n"
                    "  - pgd: {norm: l2, eps: 1, only: rho < 3}\n"
                    "  - transfer: {source: rho = 3, norm: l2, eps: 1}")  # fmt: skip
    assert [[type(b).__name__ for b in run.benchmarks] for run in matrix.runs] == [
        ["Clean", "Pgd", "Transfer"], ["Clean", "Pgd", "Transfer"], ["Clean"],
    ]  # fmt: skip
    assert matrix.benchmarks[-1].source == matrix.runs[2].run_id


def test_the_demo_holds_the_runs_it_promises() -> None:
    runs = load(ROOT / "experiments" / "digits.yaml").runs
    by_stage = {}
    for run in runs:
        by_stage.setdefault(run.axes["objective"], []).append(run.axes.get("rho"))
    assert by_stage == {"xent": [None], "ceb": [5, 3, 2, 1, 0, -1], "vib": [5, 3, 1, 0, -1], "cceb": [3, 1, 0, -1]}


def test_a_selection_that_leaves_nothing_is_an_error(expand) -> None:
    matrix = expand("grids: [{objective: ceb, rho: [1, 2, 3]}]")
    assert [run.axes["rho"] for run in matrix.select("rho <= 2").runs] == [1, 2]
    with pytest.raises(InputError, match="selects none of the 3 runs"):
        matrix.select("rho > 3")


def test_radii_of_adversarial_training_have_the_names_that_select_them(expand) -> None:
    pgd = "{name: pgd, norm: linf, eps: %s, steps: 2, step_size: 1/255}"
    listed = ", ".join(pgd % eps for eps in ("2/255", "0.1", "8px"))
    matrix = expand(f"grids: [{{objective: xent, adversary: [{listed}]}}]")
    names = ["xent eps=2/255", "xent eps=0.1", "xent eps=8/255"]
    assert [run.name for run in matrix.runs] == names
    assert [matrix.select(name.split()[1]).runs[0].name for name in names] == names


@pytest.mark.parametrize(
    ("grid", "names"),
    [
        ("{objective: ceb, rho: [0.30000000000000004, 0.3]}", ["ceb rho=0.30000000000000004", "ceb rho=0.3"]),
        ("{objective: xent, lr: [1e-3, 1.0000001e-3]}", ["xent lr=0.001", "xent lr=0.0010000001"]),
        ("{objective: xent, epochs: [1000000, 1000001]}", ["xent epochs=1e+06", "xent epochs=1000001"]),
        ("{objective: xent, drops: [[1, 2], [1], []]}", ["xent drops=1,2", "xent drops=1", "xent drops=none"]),
        (
            f"{{objective: xent, epochs: 0, weights: [sha256:{'a' * 63}1, sha256:{'a' * 63}2, sha256:{'b' * 64}]}}",
            [f"xent weights=sha256:{'a' * 63}1", f"xent weights=sha256:{'a' * 63}2", "xent weights=sha256:bbbbbbbb"],
        ),
    ],
)
def test_no_two_runs_have_one_name(expand, grid: str, names: list[str]) -> None:
    assert [run.name for run in expand(f"grids: [{grid}]").runs] == names


@pytest.mark.parametrize("values", ["[0.30000000000000004, 0.3]", "[1e-300, 0]", "[999.999999, 999.9999991]"])
def test_a_value_as_a_name_spells_it_selects_its_run(expand, values: str) -> None:
    matrix = expand(f"grids: [{{objective: ceb, rho: {values}}}]")
    for run in matrix.runs:
        assert [chosen.run_id for chosen in matrix.select(run.name.removeprefix("ceb ")).runs] == [run.run_id]
