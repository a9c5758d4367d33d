"""Words of other tools get the field that is meant."""

from __future__ import annotations

import pytest

from experiments.errors import MatrixError
from experiments.matrix.field_hints import ADVICE, FIELDS, VALUES
from experiments.matrix.spec_fields import schema
from experiments.spec import Run

HINTS = {
    "learning_rate: 1e-3": "unknown field 'learning_rate'; did you mean 'optimiser.lr'?",
    "cosine: true": "did you mean 'schedule: cosine'?",
    "optimizer: adam": "did you mean 'optimiser'?",
    "optimizer.learning_rate: 1": "did you mean 'optimiser.lr'?",
    "batch_size: 3": "did you mean 'batch'?",
    "lr_scheduler: cosine": "did you mean 'schedule'?",
    "dataset: cifar10": "did you mean 'data'?",
    "adamw: {lr: 1}": "did you mean 'optimiser: adamw'?",
    "dropout: 0.1": "write it among the network's own arguments",
    "network: {name: wide_resnet, dropout: 0.1}": "write it among the network's own arguments",
    "model: resnet50": "network 'small_cnn' has no such field; allowed: width, z_dim; timm, torchvision: these have it",
    "gamma: 3": "gamma follows from rho, e^-rho, of vib 1 / (1 + e^rho): write `rho`",
    "num_workers: 3": "loaders follow the CPUs: `resources: {train: {cpus_per_gpu: 8}}`",
    "optimiser: {name: sgd, Learning-Rate: 1}": "optimiser: unknown field 'Learning-Rate'; did you mean 'lr'?",
    "schedule: {name: cosine, T_max: 10}": "schedule: unknown field 'T_max'; did you mean 'horizon_epochs'?",
    "optimiser: AdamW": "got 'AdamW'; did you mean 'adamw'?",
    "objective: cross_entropy": "did you mean 'xent'?",
    "schedule: OneCycleLR": "did you mean 'one_cycle'?",
}


@pytest.mark.parametrize("fields", HINTS)
def test_a_word_of_another_tool_gets_the_field_that_is_meant(expand, fields: str) -> None:
    for text in (f"grids: [{{{fields}}}]", f"variants: {{x: {{{fields}}}}}\ngrids: [{{variants: x, objective: xent}}]"):
        with pytest.raises(MatrixError) as error:
            expand(text if "objective" in text else text.replace("[{", "[{objective: xent, "))
        assert HINTS[fields] in str(error.value) and len(error.value.faults) == 1


def test_a_field_of_runs_beside_base_is_sent_there(expand) -> None:
    with pytest.raises(MatrixError) as error:
        expand("optimizer: adam\nlr: 3")
    messages = [fault.message for fault in error.value.faults]
    assert messages == [
        "unknown field 'optimizer' of a matrix; write fields of runs under `base`; did you mean 'optimiser'?",
        "unknown field 'lr' of a matrix; write fields of runs under `base`",
    ]


def test_every_hint_is_right_and_none_stands_for_a_field() -> None:
    tree = schema(Run)
    words = [word for spellings in FIELDS.values() for word in spellings.split()]
    assert len(words) == len(set(words)) and not set(words) & set(ADVICE)
    for name in FIELDS:
        assert tuple(name.split(".")) in {**tree.leaves, **tree.sections}, name
    assert not {word for word in (*words, *ADVICE) if word in tree.unique_names()} - {"model"}
    literals = {tag for section in tree.sections.values() for tag in section.kinds} | {"fp32", "bf16", "fashion_mnist"}
    assert set(VALUES) <= literals
