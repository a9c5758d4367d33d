"""`cebctl import`: whose weights are taken of a checkpoint that holds several, and what is refused before any job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.matrix.load import load
from jobs.engine.models import build
from jobs.paths import Home
from tests.cebctl.conftest import Answer, Cebctl

MATRIX = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, batch: 256}
grids: [{objective: xent, epochs: 0, weights: "WEIGHTS"}]
evaluate: [clean]
"""
State = dict[str, torch.Tensor]
Import = Callable[..., Answer]


@pytest.fixture
def raw(tmp_path: Path) -> State:
    path = tmp_path / "any.yaml"
    path.write_text(MATRIX.replace(', weights: "WEIGHTS"', "").replace("epochs: 0", "epochs: 1"))
    return dict(build(load(path).runs[0].run).state_dict())


@pytest.fixture
def take(call: Cebctl, tmp_path: Path) -> Import:
    """Save what is given, and import it with these options."""

    def take(content: object, *options: str) -> Answer:
        torch.save(content, tmp_path / "x.pt")
        return call("import", tmp_path / "x.pt", *options)

    return take


def _taken(answer: Answer, home: Path) -> State:
    """Return the weights that a matrix with the printed line would begin with."""
    from jobs.engine import weights_file

    assert answer.code == 0, answer.err
    path = Home(home).weights(answer.out.strip().removeprefix("weights: "))
    return weights_file.read(path.read_bytes(), path)


def _average(raw: State) -> State:
    return {name: tensor + 1 for name, tensor in raw.items()}


PAIRS: dict[str, tuple[Callable[[State], Any], str, str]] = {
    "timm": (lambda raw: {"epoch": 3, "state_dict": raw, "state_dict_ema": _average(raw)},
             "state_dict", "state_dict_ema"),
    "deit": (lambda raw: {"model": raw, "model_ema": _average(raw), "args": {"lr": 0.1}}, "model", "model_ema"),
    "nested": (lambda raw: {"model": raw, "ema": {"decay": 0.999, "state_dict": _average(raw)}},
               "model", "ema.state_dict"),
    "torch's AveragedModel": (
        lambda raw: {"model": raw, "swa": {"n_averaged": torch.tensor(7)}
                     | {f"module.{name}": tensor for name, tensor in _average(raw).items()}},
        "model", "swa"),
    "parallel": (lambda raw: {"state_dict": {f"module.{n}": t for n, t in raw.items()}, "teacher": _average(raw)},
                 "state_dict", "teacher"),
    "without buffers": (lambda raw: {"net_ema": {n: t for n, t in _average(raw).items() if "bias" not in n},
                                     "model": raw}, "model", "net_ema"),
}  # fmt: skip


@pytest.mark.parametrize("kind", PAIRS)
def test_of_several_versions_one_has_to_be_named(take: Import, raw: State, home: Path, kind: str) -> None:
    content, plain, average = PAIRS[kind]
    refused = take(content(raw))
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert f"under {plain}" in refused.err and f"`--key {plain}`" in refused.err and f"`--key {average}`" in refused.err
    assert not home.exists()
    for key, shift in ((plain, 0), (average, 1)):
        answer = take(content(raw), "--key", key)
        assert f"under {key}" in answer.err
        assert all(torch.equal(tensor, raw[name] + shift) for name, tensor in _taken(answer, home).items())


def test_an_average_that_is_no_state_dict_is_not_passed_over(take: Import, raw: State, home: Path) -> None:
    content = {"model": raw, "ema": {"decay": 0.99, "shadow_params": list(_average(raw).values())}}
    refused = take(content)
    assert refused.code == 2 and "under model, ema.shadow_params" in refused.err
    assert all(torch.equal(t, raw[name]) for name, t in _taken(take(content, "--key", "model"), home).items())


def test_a_key_that_is_not_there_lists_those_that_are(take: Import, raw: State) -> None:
    assert "allowed: model, model_ema" in take({"model": raw, "model_ema": raw}, "--key", "ema").err
    assert "`--key weights`" in take({"weights": raw}).err


@pytest.mark.parametrize(
    "beside",
    [
        {"optimizer": {"state": {0: {"exp_avg": torch.zeros(4), "step": torch.tensor(3.0)}}}},
        {"criterion": {"margin": torch.ones(3)}, "ema_decay": 0.999, "rng": {"cpu": torch.get_rng_state()}},
    ],
)
def test_what_else_a_checkpoint_holds_is_no_second_version(take: Import, raw: State, home: Path, beside: Any) -> None:
    answer = take({"state_dict": raw} | beside)
    assert all(torch.equal(tensor, raw[name]) for name, tensor in _taken(answer, home).items())


BAD: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
    "int8": (lambda tensor: (tensor * 10).to(torch.int8), "quantised tensors (int8): {}"),
    "uint8": (lambda tensor: tensor.to(torch.uint8), "quantised tensors (uint8): {}"),
    "float8": (lambda tensor: tensor.to(torch.float8_e4m3fn), "quantised tensors (float8_e4m3fn): {}"),
    "meta": (lambda tensor: tensor.to("meta"), "holds no values (meta tensors): {}"),
    "sparse": (lambda tensor: tensor.reshape(-1).to_sparse(), "sparse tensors: {}"),
    "complex": (lambda tensor: tensor.to(torch.complex64), "complex tensors (complex64): {}"),
    "nan": (lambda tensor: tensor * torch.nan, "NaN or infinity: {}"),
    "infinity": (lambda tensor: tensor / 0.0, "NaN or infinity: {}"),
}


@pytest.mark.parametrize("kind", BAD)
def test_values_that_are_no_weights_are_refused_at_the_import(take: Import, raw: State, home: Path, kind: str) -> None:
    spoil, wrong = BAD[kind]
    name = "classifier.weight"
    refused = take(raw | {name: spoil(raw[name])})
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert wrong.format(name) in refused.err and not home.exists()


MISFITS: dict[str, tuple[Callable[[State], State], str]] = {
    "another network": (
        lambda raw: {"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.bias": torch.zeros(1000)},
        "it lacks network.0.weight (4, 1, 3, 3)"),
    "one name less": (lambda raw: {n: t for n, t in raw.items() if n != "classifier.bias"}, "it lacks classifier.bias"),
    "one name more": (lambda raw: raw | {"head.x": torch.zeros(2)}, "the network has no head.x (2)"),
    "another shape": (lambda raw: raw | {"classifier.bias": torch.zeros(100)},
                      "other shapes: classifier.bias (100), not (10)"),
    "integers": (lambda raw: raw | {"classifier.bias": torch.zeros(10, dtype=torch.int64)},
                 "other types: classifier.bias int64, not float32"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MISFITS)
def test_weights_of_another_network_are_refused_by_submit(
    take: Import, call: Cebctl, raw: State, home: Path, tmp_path: Path, kind: str
) -> None:
    change, wrong = MISFITS[kind]
    answer = take(change(raw))
    assert answer.code == 0, answer.err
    matrix = tmp_path / "m.yaml"
    matrix.write_text(MATRIX.replace("WEIGHTS", answer.out.strip().removeprefix("weights: ")))
    refused = call("submit", matrix, "--on", "local")
    assert (refused.code, refused.err.count("\n")) == (2, 1) and wrong in refused.err
    assert not (home / "submissions").exists()


def test_an_import_says_which_networks_a_file_fits(take: Import) -> None:
    import torchvision

    weights = torchvision.models.shufflenet_v2_x0_5(weights=None).state_dict()
    answer = take({"state_dict": {f"module.{name}": tensor for name, tensor in weights.items()}})
    assert answer.code == 0
    assert "it fits network: {name: torchvision, model: shufflenet_v2_x0_5} with 1,000 classes" in answer.err


@pytest.mark.parametrize(
    ("network", "text"),
    [
        ("torchvision:shufflenet_v2_x1_0", "does not fit the network: other shapes: network.features.model."),
        ("torchvision:shufflenet_v3", "model 'shufflenet_v3': torchvision"),
        ("timm", "Object missing required field `model`"),
        ("{name: wide_resnet}", "blocks"),
        ("{name: wide_resnet", "while parsing a flow mapping; as in a matrix"),
        ("mlp", "network: expected one of small_cnn"),
    ],
)
def test_a_network_that_it_does_not_fit_is_one_line_and_nothing_is_taken(
    take: Import, home: Path, network: str, text: str
) -> None:
    import torchvision

    refused = take(torchvision.models.shufflenet_v2_x0_5(weights=None).state_dict(), "--network", network)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert text in refused.err and not home.exists()
