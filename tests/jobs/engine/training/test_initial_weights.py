"""Runs that begin with another run's checkpoint or with imported weights."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from experiments import spec
from experiments.errors import InputError
from experiments.identity import run_id
from jobs.engine import checkpoint_format, weights_file
from jobs.engine.models import build
from jobs.engine.training.loop import train
from jobs.journal.files import Journal, read
from jobs.journal.records import Checkpointed, Metrics, Succeeded
from jobs.paths import Home, RunPaths

Content = dict[str, Any]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def trained(home: Home) -> Callable[[spec.Run], Content]:
    """Train a run in the home to its success; what its last checkpoint holds, but for whose it is."""

    def trained(run: spec.Run) -> Content:
        paths = home.run(run_id(run))
        with Journal(paths.journal("train", paths.next_attempt("train"))) as journal:
            train(run, paths, journal, home.folder, "cpu", lambda: False)
            journal.write(Succeeded())
        loaded = checkpoint_format.load_newest(run, paths.checkpoints)
        assert loaded is not None
        return {name: value for name, value in loaded.state.items() if name != "run_id"} | {"step": loaded.step}

    return trained


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        # The versions of imported weights stand in a checkpoint too.
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one if key != "numerics")
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


# --- a run that extends another ---

CONSTANT: dict[str, Any] = {"schedule": spec.Schedule(), "objective": spec.Ceb(rho=1.0)}
COSINE = spec.Schedule(name="cosine", warmup_epochs=1.0, horizon_epochs=3.0)
GATED = spec.GatedJumpStart(epochs=1, threshold=0.05)
NORMED = spec.WideResNet(blocks=1, width=1, norm="batch", z_dim=4)


@pytest.mark.parametrize(
    ("fields", "first", "epochs"),
    [
        (CONSTANT, (2,), 4.0),
        ({}, (2,), 3.5),  # a warm-up, a drop, a jump-start that is not over yet, an end in the middle of an epoch
        ({}, (1, 2), 3.0),
        ({"objective": spec.Cceb(rho=0.0, jump_start=GATED), "precision": "bf16"}, (1,), 3.0),
        ({"objective": spec.Xent(), "optimiser": spec.Sgd(lr=0.01), "network": NORMED}, (2,), 3.0),
        ({"optimiser": spec.RmsProp(form="tensorflow"), "schedule": COSINE}, (2,), 3.0),
        (
            {"optimiser": spec.NAdam(decoupled=True), "schedule": spec.Schedule(name="one_cycle", horizon_epochs=3)},
            (1,),
            3.0,
        ),
    ],
    ids=[
        "constant rate",
        "schedules",
        "twice",
        "gated, bf16",
        "sgd, batch norm",
        "cosine, rmsprop",
        "one cycle, nadam",
    ],
)
def test_extended_it_ends_as_the_run_of_that_length(
    trained: Any, change: Callable[..., spec.Run], fields: dict[str, Any], first: tuple[int, ...], epochs: float
) -> None:
    for number, length in enumerate(first):
        trained(change(**fields, epochs=float(length), extends=first[:number] or msgspec.UNSET))
    extended = change(**fields, epochs=epochs, extends=first)
    whole = change(**fields, epochs=epochs)
    assert same(trained(extended), trained(whole))
    assert run_id(extended) != run_id(whole)


def test_the_run_it_extends_stays_as_it_was(trained: Any, home: Home, change: Callable[..., spec.Run]) -> None:
    run = change(epochs=2.0)
    trained(run)
    folder = home.run(run_id(run)).folder
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    longer = change(epochs=3.0, extends=(2,))
    trained(longer)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    steps = [r.step for r in read(home.run(run_id(longer)).journal("train", 1)).records if isinstance(r, Metrics)]
    assert steps == [21]  # 7 an epoch


def test_what_it_can_not_go_on_from_is_named(trained: Any, home: Home, change: Callable[..., spec.Run]) -> None:
    run, longer = change(epochs=1.0), change(epochs=2.0, extends=(1,))
    with pytest.raises(
        InputError, match=f"the run {run_id(run)} of 1 epochs, which this one extends: it is not trained"
    ):
        trained(longer)
    trained(run)
    for path in home.run(run_id(run)).checkpoints.iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="it has no intact checkpoint"):
        trained(longer)


# --- imported weights ---


@pytest.fixture
def imported(home: Home, change: Callable[..., spec.Run]) -> Callable[..., spec.Run]:
    """Put a file into the home; a run that begins with its weights."""

    def imported(content: object, **fields: Any) -> spec.Run:
        beside = home.folder / "given.pt"
        torch.save(content, beside)
        data = beside.read_bytes()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        home.weights(digest).parent.mkdir(exist_ok=True)
        home.weights(digest).write_bytes(data)
        return change(weights=digest, **fields)

    return imported


@pytest.fixture
def others(change: Callable[..., spec.Run]) -> weights_file.Weights:
    """The weights of a network that was begun with another seed."""
    return build(change(seed=7)).state_dict()


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: state,
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"epoch": 90, "best": 0.87, "state_dict": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model": {f"module.{name}": tensor.half().double() for name, tensor in state.items()}},
    ],
    ids=["a state_dict", "of DataParallel", "a checkpoint", "both, in float64"],
)
def test_imported_and_not_trained_they_are_its_only_checkpoint(
    trained: Any, imported: Any, home: Home, others: weights_file.Weights, wrapped: Callable[[Any], Any]
) -> None:
    run = imported(wrapped(others), epochs=0.0)
    found = trained(run)
    assert found["step"] == 0
    assert all(torch.allclose(found["model"][name], others[name], rtol=1e-3, atol=1e-4) for name in others)
    records = read(home.run(run_id(run)).journal("train", 1)).records
    assert [type(record) for record in records] == [Checkpointed, Succeeded]
    assert same(trained(run), found)  # again: it is there already


def test_training_goes_on_from_imported_weights(trained: Any, imported: Any, change: Any) -> None:
    state = build(change(seed=7)).state_dict()
    fine_tuned = trained(imported(state, epochs=1.0))
    assert fine_tuned["step"] == 7
    assert not same(fine_tuned["model"], trained(change(epochs=1.0))["model"])
    # Begun with the very weights of its own seed, it is the run from nothing.
    assert same(trained(imported(build(change()).state_dict(), epochs=1.0)), trained(change(epochs=1.0)))


def test_an_average_begins_with_imported_weights(trained: Any, imported: Any, others: weights_file.Weights) -> None:
    found = trained(imported(others, epochs=0.0, ema_decay=0.9))
    assert same(found["ema"]["tensors"], found["model"]) and same(found["model"], dict(others))


def test_what_does_not_fit_is_one_line_with_what_the_network_expects(
    trained: Any, imported: Any, others: weights_file.Weights
) -> None:
    names = list(others)
    renamed = {("conv1.weight" if name == names[0] else name): tensor for name, tensor in others.items()}
    with pytest.raises(InputError) as caught:
        trained(imported(renamed, epochs=0.0))
    assert (
        "does not fit the network: it lacks network.0.weight (2, 1, 3, 3); the network has no conv1.weight (2"
        in str(caught.value)
    )
    reshaped = others | {"classifier.bias": torch.zeros(100)}
    with pytest.raises(InputError, match=r"other shapes: classifier.bias \(100\), not \(10\)$"):
        trained(imported(reshaped, epochs=0.0))
    with pytest.raises(InputError, match=r"it lacks network.0.weight .* and \d+ more; the network has no a \(1\)$"):
        trained(imported({"a": torch.zeros(1)}, epochs=0.0))


def test_a_file_that_is_gone_or_changed_is_named(trained: Any, imported: Any, home: Home, others: Any) -> None:
    run = imported(others, epochs=0.0)
    path = home.weights(str(run.weights))
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(InputError, match="has changed since it was imported"):
        trained(run)
    path.unlink()
    with pytest.raises(InputError, match="No such file or directory; `cebctl import FILE`"):
        trained(run)


def test_batch_norm_without_its_counter_is_as_before(change: Callable[..., spec.Run]) -> None:
    model = build(change(network=NORMED))
    old = {name: tensor + 1 for name, tensor in model.state_dict().items() if "num_batches_tracked" not in name}
    weights_file.load_into(model, old, "old.pt")
    assert same({name: tensor for name, tensor in model.state_dict().items() if name in old}, old)


def test_names_are_changed_as_the_readme_does(
    others: weights_file.Weights, change: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    text = (Path(spec.__file__).parent / "README.md").read_text()
    [recipe] = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "theirs" in block]
    renamed = {name.replace("network", "encoder").replace("classifier", "fc"): one for name, one in others.items()}
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": renamed}, "theirs.pt")
    exec(recipe, {})
    model = build(change())
    weights_file.load_into(model, weights_file.read((tmp_path / "ours.pt").read_bytes(), "ours.pt"), "ours.pt")
    assert same(dict(model.state_dict()), dict(others))


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch harmed",)


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (pickle.dumps(Harmful()), "is no file of torch.save|holds more than tensors"),
        (b"", "is no file of torch.save"),
        (b"PK\x03\x04 torn", "is no file of torch.save"),
    ],
)
def test_what_is_no_state_dict_is_refused(data: bytes, wrong: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"x.pt: ({wrong})"):
        weights_file.read(data, "x.pt")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ({"model": Harmful()}, "holds more than tensors, and opening it could run code"),
        (torch.nn.Linear(2, 2), "holds more than tensors, and opening it could run code"),
        ([1, 2], "holds no state_dict"),
        ({}, "holds no state_dict"),
        ({"state_dict": {"a": 1}}, "holds no state_dict"),
    ],
)
def test_what_torch_saved_but_is_no_state_dict_is_refused(
    content: object, wrong: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, "x.pt")
    with pytest.raises(InputError, match=f"x.pt: {wrong}"):
        weights_file.read((tmp_path / "x.pt").read_bytes(), "x.pt")
    assert not (tmp_path / "harmed").exists()


def test_a_home_names_its_weights_once(home: Home) -> None:
    assert RunPaths(home.runs / "r1").weights("sha256:ab") == home.weights("sha256:ab") == home.folder / "weights/ab.pt"
