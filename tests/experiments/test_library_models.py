"""Networks of timm and torchvision in a matrix: their names and arguments, checked without importing a library."""

from __future__ import annotations

import subprocess
import sys

import pytest

from experiments import library_models
from experiments.errors import MatrixError
from experiments.spec import Timm


def test_the_names_are_those_that_the_libraries_list() -> None:
    timm = pytest.importorskip("timm")
    import torchvision

    assert library_models.model_names("timm") == set(timm.list_models())
    listed = torchvision.models.list_models(module=torchvision.models)
    assert library_models.model_names("torchvision") == set(listed)


def test_a_matrix_is_read_without_importing_torch_or_timm(write) -> None:
    file = write(
        "base: {data: digits, network: {name: timm, model: resnet18, args: {drop_path_rate: 0.1}}, objective: xent, "
        "optimiser: adam, epochs: 1, batch: 8}"
    )
    script = (
        "import sys; from pathlib import Path; from experiments.matrix.load import load; "
        f"load(Path({str(file)!r})); assert not {{'torch', 'timm', 'torchvision'}} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_arguments_are_one_field_whose_order_does_not_matter(expand) -> None:
    args = "{drop_path_rate: 0.1, depths: [2, 2], act_layer: gelu}"
    other = "{act_layer: gelu, depths: [2, 2], drop_path_rate: 0.1}"
    first, second = (
        expand(f"grids: [{{objective: xent, network: {{name: timm, model: convnext_atto, args: {text}}}}}]").runs[0]
        for text in (args, other)
    )
    assert first.run_id == second.run_id
    assert first.run.network == Timm(
        model="convnext_atto", args='{"act_layer":"gelu","depths":[2,2],"drop_path_rate":0.1}'
    )


def test_models_and_arguments_are_axes(expand) -> None:
    runs = expand(
        "grids: [{network: timm, model: [resnet18, resnet34], args: [{}, {drop_path_rate: 0.1}], objective: xent}]"
    ).runs
    assert [run.name for run in runs] == [
        'xent model=resnet18 args={}', 'xent model=resnet18 args={"drop_path_rate":0.1}',
        'xent model=resnet34 args={}', 'xent model=resnet34 args={"drop_path_rate":0.1}',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("{name: timm, model: resnet19}", r"model 'resnet19': timm .* none of that name; did you mean 'resnet1"),
        ("{name: timm, model: resnet19.a1_in1k}", r"model 'resnet19.a1_in1k': timm .*; did you mean 'resnet1"),
        ("{name: torchvision, model: ResNet18}", r"model 'ResNet18': torchvision .*; did you mean 'resnet18'"),
        ("{name: torchvision, model: fasterrcnn_resnet50_fpn}", "model .* torchvision .* has 80 models"),
        ("{name: timm, model: resnet18, args: {num_classes: 3}}", "args: num_classes follows from the other fields"),
        ("{name: timm, model: resnet18, args: {checkpoint_path: /tmp/x}}", "args: checkpoint_path .* loads weights"),
        ("{name: torchvision, model: resnet18, args: {weights: DEFAULT}}", "args: weights follows from the other"),
        ("{name: timm, model: resnet18, args: [1]}", "args: expected a mapping of names to numbers, text"),
        ("{name: timm, model: resnet18, normalise: model}", "normalise: the model's mean is of 3 channels"),
        ("{name: timm}", "network.model is missing"),
    ],
)
def test_what_can_not_be_built_is_named_in_its_place(expand, network: str, message: str) -> None:
    with pytest.raises(MatrixError, match=rf"m.*\.yaml:\d+:\d+: {message}"):
        expand(f"grids: [{{objective: xent, network: {network}}}]")
