"""Parts of one's own in a matrix: fields, faults with their places, names, identities."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from experiments.benchmarks import AnyBenchmark, full_column, measures
from experiments.errors import InputError, MatrixError
from experiments.identity import canonical, run_id
from experiments.matrix import selection
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix
from experiments.own_parts.read import ReferenceFault, read_part
from experiments.spec import ObjectivePart, Part, Run

PARTS = '''import sys
sys.exit("a matrix is read without running this")
class Vit:
    """A transformer."""
    def __init__(self, image, patch: int = 4, width: float = 1, rate: float = 0.1, kind: str = "a"): pass
def mlp(image, width: int, depth: int = 2): pass
def free_ceb(model, f, z, y, gamma, free_nats: float = 0.1, patch: int = 1): pass
def noise(model, images, labels, rng, std: float, steps: float = 1.5): pass
def both(model, images, labels, rng) -> "dict[Literal['low', 'high'], Tensor]": pass
def clean(model, images, labels, rng): pass
def gap(logits, labels, k: float = 1): pass
def prior(z_dim, classes, std: float = 1.0): pass
def free_vib(model, f, z, y, gamma, *fields): pass
def late(model, images, labels, rng, only: str): pass
'''
BASE = "base: {data: digits, optimiser: adam, epochs: 1, batch: 8, network: small_cnn, objective: xent}\n"

Load = Callable[..., Matrix]


@pytest.fixture
def expand(tmp_path: Path) -> Load:
    def expand(sections: str, parts: str = PARTS) -> Matrix:
        (tmp_path / "parts.py").write_text(parts)
        (tmp_path / "m.yaml").write_text(BASE + sections)
        return load(tmp_path / "m.yaml")

    return expand


def names(matrix: Matrix) -> list[str]:
    return [run.name for run in matrix.runs]


def test_fields_have_defaults_types_and_short_names(expand: Load) -> None:
    matrix = expand("grids: [{network: {from: parts.py:Vit, width: 2}, patch: [2, 4], rate: 0.5}]")
    assert names(matrix) == ["xent patch=2", "xent patch=4"]
    network = matrix.runs[0].run.network
    assert isinstance(network, Part) and network.origin == "parts.py:Vit"
    assert network.fields == {"patch": 2, "width": 2.0, "rate": 0.5, "kind": "a"}
    assert type(network.fields["width"]) is float
    assert len(matrix.select("patch = 4").runs) == 1
    assert not matrix.select("network = parts.py:Vit").runs[0].run.weights


def test_it_is_a_value_of_an_axis_beside_built_in_kinds(expand: Load) -> None:
    matrix = expand(
        "grids:\n  - network: [small_cnn, {from: parts.py:mlp, width: 3}, parts.py:Vit]\n"
        "    objective: [xent, {from: parts.py:free_ceb, rho: 3}]\n"
        "    exclude: ['free_nats = 0.1, network = small_cnn']"
    )
    assert names(matrix) == [
        "xent network=small_cnn width=16",
        "xent network=parts.py:mlp width=3",
        "parts.py:free_ceb network=parts.py:mlp width=3 rho=3",
        "xent network=parts.py:Vit width=1",
        "parts.py:free_ceb network=parts.py:Vit width=1 rho=3",
    ]
    objective = matrix.runs[-1].run.objective
    assert isinstance(objective, ObjectivePart)
    assert (objective.rho, objective.fields) == (3.0, {"free_nats": 0.1, "patch": 1})


def test_a_marginal_is_built_in_or_ones_own(expand: Load) -> None:
    matrix = expand(
        "grids: [{objective: vib, rho: 1, marginal: [mixture, vamp, {name: diagonal_mixture, components: 3}, "
        "{from: parts.py:prior, std: 2, marginal_lr: 0.1}]}]"
    )
    assert names(matrix) == [
        "vib rho=1 components=None marginal_lr=0.01",
        "vib rho=1 marginal=vamp components=None marginal_lr=0.01",
        "vib rho=1 marginal=diagonal_mixture components=3 marginal_lr=0.01",
        "vib rho=1 marginal=parts.py:prior marginal_lr=0.1",
    ]
    *_, own = (planned.run.objective.marginal for planned in matrix.runs)  # type: ignore[union-attr]
    assert own.own and own.own.fields == {"std": 2.0} and own.lr == 0.1
    assert len(matrix.select("std = 2").runs) == len(matrix.select("marginal = vamp").runs) == 1
    assert b'"marginal":{"components":null,"marginal_lr":0.01}' in canonical(matrix.runs[0].run)


def test_a_built_in_field_keeps_its_short_name(expand: Load) -> None:
    # `patch` is a field of two parts, `width` one of a part and of small_cnn.
    matrix = expand(
        "grids: [{network: {from: parts.py:Vit}, objective: parts.py:free_ceb, network.patch: [1, 2], "
        "objective.patch: [3, 4]}]"
    )
    assert names(matrix)[0] == "parts.py:free_ceb network.patch=1 rho=0 objective.patch=3"
    with pytest.raises(MatrixError, match=r"'patch' could be any of network\.patch, objective\.patch"):
        expand("grids: [{network: parts.py:Vit, objective: parts.py:free_ceb, patch: 1}]")


def test_a_spec_is_read_without_the_file(expand: Load) -> None:
    run = expand("grids: [{network: {from: parts.py:Vit}, objective: {from: parts.py:free_ceb, rho: 1}}]").runs[0].run
    assert msgspec.json.decode(msgspec.json.encode(run), type=Run) == run
    assert hash(msgspec.json.decode(msgspec.json.encode(run), type=Run)) == hash(run)


def test_its_source_is_part_of_the_identity_and_its_folder_is_not(expand: Load, tmp_path: Path) -> None:
    text = "grids: [{network: {from: parts.py:Vit}}]"
    first = expand(text.replace("FILE", "parts.py")).runs[0].run_id
    assert first == expand(text.replace("FILE", "parts.py"), PARTS.replace("A transformer", "Another")).runs[0].run_id
    assert (
        first != expand(text.replace("FILE", "parts.py"), PARTS.replace('"a")', '"a", more: int = 1)')).runs[0].run_id
    )
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "parts.py").write_text(PARTS)
    assert first == expand(text.replace("parts.py", "nets/parts.py")).runs[0].run_id
    matrix = load(tmp_path / "m.yaml")
    assert matrix.runs[0].run_id == run_id(matrix.runs[0].run)


@pytest.mark.parametrize(
    ("sections", "place", "wrong"),
    [
        ("grids: [{network: {from: part.py:Vit}}]", "2:26", r"part\.py does not exist; did you mean 'parts\.py'\?"),
        ("grids: [{network: {from: parts.py:Vitt}}]", "2:26", r"has no function or class 'Vitt'; did you mean 'Vit'\?"),
        ("grids: [{network: {from: parts.py}}]", "2:26", "is no part; write from: FILE.py:NAME"),
        ("grids: [{network: {from: lab.nets:Vit}}]", "2:26", "the module lab.nets is not installed here"),
        ("grids: [{network: {from: parts.py:Vit, patches: 2}}]", "2:40", "unknown field 'patches'; did you mean"),
        ("grids: [{network: {from: parts.py:Vit, patch: 2.5}}]", "2:47", "expected a whole number"),
        ("grids: [{network: {from: parts.py:mlp}}]", "2:26", "network.width is missing"),
        ("grids: [{network: {from: parts.py:mlp, width: 2, patch: 1}}]", "2:50", "unknown field 'patch'"),
        ("grids: [{network: small_cnn, width: 1.5}, {network: parts.py:Vit}]", "2:37", "width: expected a whole"),
        ("grids: [{objective: {from: parts.py:free_vib}}]", "2:28", r"parts\.py:13: free_vib takes \*fields"),
        ("grids: [{adversary: {from: parts.py:Vit}}]", "2:28", "adversary: no part of one's own can be used here"),
    ],
)  # fmt: skip
def test_a_fault_has_a_place_and_a_way_out(sections: str, place: str, wrong: str, expand: Load) -> None:
    with pytest.raises(MatrixError, match=wrong) as error:
        expand(sections)
    assert f"m.yaml:{place}: " in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (Path.mkdir, "parts.py is no file"),
        (os.mkfifo, "parts.py is no file"),
        (lambda path: path.symlink_to("/dev/zero"), "parts.py is no file"),
        (lambda path: path.symlink_to("parts.py"), "parts.py can't be read: Too many levels of symbolic links"),
        (lambda path: path.symlink_to("part.py"), "parts.py does not exist$"),
        (lambda path: path.with_name("part.py").touch(), "parts.py does not exist; did you mean 'part.py'?"),
        (lambda path: path.write_bytes(b"\0"), "parts.py: is no Python: source code string cannot contain null bytes"),
        (lambda path: path.write_text("#" * 1_000_001), "parts.py: has 1,000,001 bytes; a source file has at most"),
    ],
    ids=range(8),
)
def test_what_is_no_source_is_named(make: Callable[[Path], object], wrong: str, tmp_path: Path) -> None:
    make(tmp_path / "parts.py")
    with pytest.raises(ReferenceFault, match=wrong) as fault:
        read_part("parts.py:f", "network", tmp_path)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("name", ["digest", "origin", "fields", "columns", "objective", "seed", "lr", "épaisseur"])
def test_a_field_may_be_called_as_ours(name: str, expand: Load) -> None:
    parts = f"def f(model, f, z, y, gamma, {name}: int): pass\ndef g(model, images, labels, rng, {name}: int): pass"
    own = f"objective: [{{from: parts.py:f, {name}: 1}}, {{from: parts.py:f, {name}: 2}}]"
    matrix = expand(f"grids: [{{{own}}}]\nevaluate: [{{from: parts.py:g, {name}: [3, 4]}}]", parts)
    assert [run.run.objective.fields for run in matrix.runs] == [{name: 1}, {name: 2}]  # type: ignore[union-attr]
    assert columns(matrix) == [f"g@{name}=3", f"g@{name}=4"]


def test_a_text_can_not_command_a_terminal(expand: Load) -> None:
    with pytest.raises(MatrixError, match=r"kind: 'a.x1b\[31m' has a character that can't be printed") as error:
        expand('grids: [{network: {from: parts.py:Vit, kind: "a\\e[31m"}}]')
    assert str(error.value).isprintable()


def test_two_files_of_one_name_can_not_be_told_apart(expand: Load, tmp_path: Path) -> None:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "parts.py").write_text(PARTS)
    with pytest.raises(MatrixError, match=r"nets/parts\.py:Vit would be called as parts\.py:Vit is; rename one"):
        expand("grids: [{network: [parts.py:Vit, nets/parts.py:Vit]}]")


def test_a_selection_of_nothing_names_what_there_is(expand: Load) -> None:
    matrix = expand("grids: [{network: {from: parts.py:Vit}, patch: [2, 4]}]")
    with pytest.raises(InputError, match=r"patch is 2, 4 there"):
        matrix.select("patch = 3")


def test_an_installed_package_is_found_without_importing_it(
    expand: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site" / "lab").mkdir(parents=True)
    (tmp_path / "site" / "lab" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "site" / "lab" / "_fast.so").touch()
    (tmp_path / "site" / "lab" / "nets.py").write_text(PARTS)
    monkeypatch.syspath_prepend(tmp_path / "site")
    text = "grids: [{network: {from: lab.nets:Vit, patch: 8}}]"
    network = expand(text).runs[0].run.network
    assert isinstance(network, Part) and network.digest.startswith("sha256:")  # not installed: by its source
    (tmp_path / "site" / "lab-2.5.dist-info").mkdir()
    (tmp_path / "site" / "lab-2.5.dist-info" / "METADATA").write_text("Name: lab\nVersion: 2.5\n")
    network = expand(text).runs[0].run.network
    assert isinstance(network, Part)
    assert (network.digest, network.origin) == ("lab==2.5", "lab.nets:Vit")
    (tmp_path / "site" / "lab" / "nets.py").write_text(PARTS + "from lab._fast import sums")  # its own affair by now
    assert expand(text).runs[0].run.network == network
    with pytest.raises(MatrixError, match="the module math has no source in Python"):
        expand("grids: [{network: {from: math:sqrt}}]")


def columns(matrix: Matrix) -> list[str]:
    return [full_column(benchmark, measure) for benchmark in matrix.benchmarks for measure in measures(benchmark)]


def test_benchmarks_and_losses_of_ones_own(expand: Load) -> None:
    matrix = expand(
        "evaluate: [{from: parts.py:noise, std: [0.1, 2], only: seed = 0}, parts.py:both, "
        "pgd: {norm: l2, eps: 1, loss: [dlr, {from: parts.py:gap, k: 2}]}, pgd: {norm: l2, eps: 1, loss: parts.py:gap}]"
    )
    assert columns(matrix) == [
        "noise@std=0.1,steps=1.5",
        "noise@std=2.0,steps=1.5",
        "both_low",
        "both_high",
        "pgd_l2@eps=1,n=20,loss=dlr",
        "pgd_l2@eps=1,n=20,loss=parts.py:gap k=2.0",
        "pgd_l2@eps=1,n=20,loss=parts.py:gap k=1.0",
    ]
    assert (
        msgspec.json.decode(msgspec.json.encode(matrix.benchmarks), type=tuple[AnyBenchmark, ...]) == matrix.benchmarks
    )
    selected = selection.benchmarks("noise, std > 1", matrix.benchmarks, matrix.parts.benchmark_schema)
    assert selected == [matrix.benchmarks[1]]


@pytest.mark.parametrize(
    ("entry", "wrong"),
    [
        ("{from: parts.py:noise}", "parts.py:noise: std is missing: expected a number"),
        ("{from: parts.py:noise, std: high}", "std: expected a number, got 'high'"),
        ("{from: parts.py:noise, std: 1, sigma: 2}", "unknown parameter 'sigma'"),
        ("{from: parts.py:nois, std: 1}", "has no function or class 'nois'; did you mean 'noise'"),
        ("{from: parts.py:late, std: 1}", "the field 'only' is the engine's own"),
        ("{from: parts.py:clean}", "clean is a benchmark of cebctl's; call it otherwise"),
        ("pgd: {norm: l2, eps: 1, steps: 2.5}", "steps: expected a whole number"),
        ("pgd: {norm: l2, eps: 1, loss: {from: parts.py:gap, j: 2}}", "unknown field 'j'"),
        ("pgd: {norm: l2, eps: 1, loss: {from: parts.py:gap}, target: random}", "parts.py:gap has no target"),
        ("pgd: {norm: l2, eps: 1, loss: softmax}", "expected one of cross_entropy, margin, dlr"),
        ("pgd: {norm: parts.py:gap, eps: 1}", "expected one of linf, l2"),
    ],
)
def test_a_fault_of_a_benchmark_is_one_line(entry: str, wrong: str, expand: Load) -> None:
    with pytest.raises(MatrixError, match=wrong) as error:
        expand(f"evaluate: [{entry}, {{from: parts.py:noise, std: 3}}]")
    assert "\n" not in str(error.value)
