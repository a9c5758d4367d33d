"""How a matrix writes optimisers and other parts of a recipe, and what that makes of a run's identity."""

from __future__ import annotations

import msgspec
import pytest

from experiments import lineage
from experiments.errors import MatrixError
from experiments.identity import canonical
from experiments.matrix.spec_fields import schema
from experiments.spec import Run


@pytest.mark.parametrize(
    ("field", "same", "other"),
    [
        ("optimiser", "{name: sgd, lr: 1, nesterov: true}", "{name: sgd, lr: 1, nesterov: false}"),
        ("schedule", "steps", "cosine"),
        ("schedule", "{name: steps, drops: [], factor: 0.1}", "one_cycle"),
        ("optimiser", "{name: adam, beta1: 0.9, beta2: 0.999, epsilon: 1e-8}", "{name: adam, beta1: 0.8}"),
    ],
)
def test_what_absence_means_may_be_written_and_leaves_the_id(expand, field: str, same: str, other: str) -> None:
    bare = "{drops: []}" if field == "schedule" else "{name: sgd, lr: 1}" if "sgd" in same else "{name: adam}"
    ids = [expand(f"grids: [{{{field}: {text}, objective: xent}}]").runs[0].run_id for text in (bare, same, other)]
    assert ids[0] == ids[1] != ids[2]


def test_an_axis_may_hold_what_absence_means(expand) -> None:
    matrix = expand("grids: [{optimiser: {name: sgd, lr: 1}, objective: xent, nesterov: [true, false]}]")
    assert [run.name for run in matrix.runs] == ["xent", "xent nesterov=False"]
    assert b"nesterov" not in canonical(matrix.runs[0].run)
    for text, runs in (("nesterov = true", matrix.runs[:1]), ("nesterov = false", matrix.runs[1:])):
        assert matrix.select(text).runs == runs


def test_every_optimiser_by_its_name_and_back(expand) -> None:
    kinds = [tag for tag in schema(Run).sections["optimiser",].kinds if tag != "sgd"]
    runs = expand(f"grids: [{{optimiser: [{', '.join(kinds)}], objective: xent, lr: 0.1}}]").runs
    assert {"adamw", "rmsprop"} < {run.axes["optimiser"] for run in runs} == {*kinds}
    assert all(msgspec.json.decode(canonical(run.run), type=Run) == run.run for run in runs)


def test_todays_schedule_has_no_tag(expand) -> None:
    (planned,) = expand("grids: [{objective: xent, schedule: {name: steps, warmup_epochs: 1, drops: [1]}}]").runs
    written = msgspec.json.decode(canonical(planned.run))["schedule"]
    assert written == {"warmup_epochs": 1.0, "drops": [1.0], "factor": 0.1}


def test_schedules_are_an_axis_and_select_their_runs(expand) -> None:
    """Of an earlier layer a field that the chosen kind lacks falls away."""
    matrix = expand(
        "variants: {short: {drops: [0.5], factor: 0.3}}\n"
        "grids: [{objective: xent, variants: short, schedule: [steps, cosine, {name: one_cycle, rise: 0.2}]}]"
    )
    assert [run.name for run in matrix.runs] == ["xent", "xent schedule=cosine", "xent schedule=one_cycle rise=0.2"]
    schedules = [run.run.schedule for run in matrix.runs]
    assert [schedule.drops for schedule in schedules] == [(0.5,), (), ()] and schedules[1].factor == 0.1
    assert (schedules[1].horizon_epochs, schedules[1].final_factor, schedules[2].rise) == (1.0, 0.0, 0.2)
    assert all(msgspec.json.decode(canonical(run.run), type=Run) == run.run for run in matrix.runs)
    assert matrix.select("schedule = steps").runs == matrix.runs[:1]
    assert matrix.select("schedule != steps, horizon_epochs = 1").runs == matrix.runs[1:]


def test_a_run_that_extends_gets_the_horizon_of_the_first(expand) -> None:
    grid = "grids: [{objective: xent, schedule: {name: cosine, final_factor: 0.1}, epochs: 4"
    (longer,), (first,) = expand(f"{grid}, extends: [[1, 2]]}}]").runs, expand(f"{grid[:-1]}1}}]").runs
    assert longer.run.schedule == first.run.schedule and longer.run.schedule.horizon_epochs == 1.0
    assert next(lineage.ancestors(longer.run)) == first.run


def test_augmentations_and_mixtures_are_axes(expand) -> None:
    matrix = expand("grids: [{objective: ceb, rho: 1, augment: [none, trivialaugment, augmix], mixup: [0, 0.2]}]")
    assert [run.name for run in matrix.runs][-2:] == ["ceb augment=augmix rho=1", "ceb augment=augmix mixup=0.2 rho=1"]
    (plain,) = expand("grids: [{objective: ceb, rho: 1, erasing: 0, cutmix: 0}]").runs
    assert matrix.runs[0].run_id == plain.run_id


def test_an_objective_of_ones_own_gets_one_label(expand, tmp_path) -> None:
    (tmp_path / "parts.py").write_text("def mine(model, f, z, y, gamma):\n    return f.mean()\n")
    for field in ("mixup", "cutmix", "label_smoothing"):
        with pytest.raises(MatrixError, match=f"{field}: an objective of one's own is given one label for each image"):
            expand(f"grids: [{{objective: {{from: 'parts.py:mine'}}, {field}: 0.1}}]")


def test_what_regularises_is_absent_where_it_is_nothing(expand) -> None:
    matrix = expand("grids: [{objective: xent, label_smoothing: [0, 0.1], ema_decay: [0, 0.9], ema_every: 1}]")
    assert [run.name for run in matrix.runs] == [
        "xent", "xent ema_decay=0.9", "xent label_smoothing=0.1", "xent label_smoothing=0.1 ema_decay=0.9",
    ]  # fmt: skip
    (plain,) = expand("grids: [{objective: xent}]").runs
    assert matrix.runs[0].run_id == plain.run_id and matrix.select("ema_decay = 0").runs == matrix.runs[::2]
    assert all(msgspec.json.decode(canonical(run.run), type=Run) == run.run for run in matrix.runs)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("mix_probability: 0.5", "mix_probability: without `mixup` or `cutmix` it has no effect; leave it out"),
        (
            "mixup: 0.2, adversary: {name: pgd, eps: 0.1, steps: 1, step_size: 0.1}",
            "data.mixup: an adversary attacks images of one label; leave `data.mixup` or `adversary` out",
        ),
        (
            "data: {name: imagenet, loader: dali, augment: augmix}",
            "the loader dali has no augmix; allowed with it:",
        ),
        ("augment: {name: randaugment, magnitude: 31}", "magnitude: expected a whole number >= 0 and <= 30, got 31"),
        ("augment: {name: augmix, depth: 3}", "unknown field 'depth'"),
        ("erasing: 1.5", "erasing: expected a number >= 0 and <= 1, got 1.5"),
        ("decayed: kernels", "decayed: without a `weight_decay` of the optimiser it has no effect; leave it out"),
        ("ema_judged: false", "ema_judged: without `ema_decay` it has no effect; leave it out"),
        ("ema_decay: 1", "ema_decay: expected a number >= 0 and < 1, got 1"),
        ("clip_norm: 0", "clip_norm: expected a number > 0, got 0"),
        ("schedule: {drops: [1], horizon_epochs: 2}", "schedule 'steps' has no such field; allowed: drops, factor"),
        ("schedule: {name: cosine, drops: [1]}", "schedule 'cosine' has no such field"),
        ("schedule: cosin", "did you mean 'cosine'?"),
        ("schedule: {name: cosine, warmup_epochs: 1}", "warmup_epochs: 1, and the schedule ends at epoch 1"),
        (
            "schedule: {name: cosine, horizon_epochs: 0.5}",
            "the learning rate is 0 from epoch 0.5 on, and the run has 1;",
        ),
        (
            "schedule: cosine, epochs: 3, extends: [[1]]",
            "write `horizon_epochs: 3` here and in the runs that it extends, or a `final_factor` > 0",
        ),
        ("optimiser: {name: sgd, lr: 1, momentum: 0, nesterov: false}", "without momentum it has no effect"),
        ("optimiser: {name: adam, momentum: 0.9}", "optimiser 'adam' has no such field"),
        ("optimiser: {name: adamw, beta1: 1}", "beta1: expected a number >= 0 and < 1, got 1"),
        ("optimiser: adamww", "did you mean 'adamw'?"),
        ("optimiser: {name: rmsprop, form: keras}", "form: expected one of tensorflow, got 'keras'"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(expand, fields: str, message: str) -> None:
    with pytest.raises(MatrixError) as error:
        expand(f"grids: [{{objective: xent, {fields}}}]")
    assert message in str(error.value) and len(error.value.faults) == 1


def test_the_short_names_that_matrices_use_stay_theirs() -> None:
    tree = schema(Run)
    for name, path in {
        "rho": "objective.rho", "eps": "adversary.eps", "lr": "optimiser.lr", "momentum": "optimiser.momentum",
        "factor": "schedule.factor", "warmup_epochs": "schedule.warmup_epochs", "policy": "data.augment.policy",
        "augment": "data.augment.name", "start_rho": "objective.jump_start.start_rho", "width": "network.width",
        "threshold": "objective.jump_start.threshold", "components": "objective.marginal.components",
    }.items():  # fmt: skip
        assert ".".join(tree.resolve(name)) == path
