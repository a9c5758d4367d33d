"""What a run journals, how it ends, and the ways it can fail."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from experiments import spec
from experiments.errors import InputError
from experiments.identity import run_id
from jobs.engine import checkpoint_format, randomness
from jobs.engine.attacks.pgd import pgd
from jobs.engine.attacks.random_start import random_start
from jobs.engine.data import load
from jobs.engine.errors import DivergedError, ForeignCheckpointError, NoCheckpointError
from jobs.engine.training import encoder_noise, loop, step
from jobs.engine.training.epoch_sampler import EpochSampler
from jobs.engine.training.train_state import initial_state
from jobs.errors import Stopped
from jobs.journal.records import AnyRecord, Checkpointed, Heartbeat, Metrics, Resumed

Change = Callable[..., spec.Run]
STEPS, EPOCH_ENDS = 24, [7, 14, 21, 24]
SPEED = {"images_per_second", "data_wait_share", "memory_mb", "steps_averaged"}


def metrics(records: list[AnyRecord]) -> list[Metrics]:
    return [record for record in records if isinstance(record, Metrics)]


def without_speed(records: list[AnyRecord]) -> list[tuple[int, dict[str, float | None]]]:
    return [(m.step, {k: v for k, v in m.values.items() if k not in SPEED}) for m in metrics(records)]


def after(steps: int, then: Callable[[], bool]) -> Callable[[], bool]:
    """A `should_stop` that asks `then` from the given number of steps on."""
    left = iter(range(steps - 1))
    return lambda: then() if next(left, None) is None else False


def test_a_run_journals_each_epoch_and_leaves_its_last_checkpoint(attempt: Any, tiny: spec.Run) -> None:
    records = attempt(tiny)
    assert [m.step for m in metrics(records)] == EPOCH_ENDS
    assert [m.epoch for m in metrics(records)] == pytest.approx([1, 2, 3, 24 / 7])
    (saved,) = [record for record in records if isinstance(record, Checkpointed)]
    assert saved.step == STEPS
    assert [path.name for path in attempt.paths.checkpoints.iterdir()] == [saved.file]
    (beat,) = [record for record in records if isinstance(record, Heartbeat)]  # one a second, and it takes less
    assert (beat.steps, beat.epochs) == (STEPS, pytest.approx(24 / 7))
    assert beat.images_per_second and beat.memory_mb and beat.activity == "training"


@pytest.mark.parametrize(
    ("objective", "names"),
    [
        (spec.Xent(), {"loss", "conditional_entropy"}),
        (spec.Vib(rho=1.0), {"loss", "conditional_entropy", "rate", "rho", "gamma"}),
        (spec.Ceb(rho=1.0), {"loss", "conditional_entropy", "rate", "residual_information", "rho", "gamma"}),
        (spec.Cceb(rho=1.0), {"loss", "conditional_entropy", "rate", "residual_information", "rho", "gamma"}),
    ],
)
def test_every_objective_journals_what_it_has(attempt: Any, change: Change, objective: object, names: set[str]) -> None:
    last = metrics(attempt(change(objective=objective)))[-1].values
    assert set(last) == names | SPEED | {"train_accuracy", "lr", "collapsed"}
    assert all(value is not None and math.isfinite(value) for value in last.values())


def test_metrics_are_means_over_the_epoch_and_schedules_are_in_force(attempt: Any, tiny: spec.Run) -> None:
    first, second, third, last = (m.values for m in metrics(attempt(tiny)))
    assert [m["steps_averaged"] for m in (first, second, third, last)] == [7, 7, 7, 3]
    # At the last step of each epoch: the warm-up ends after 3.5 steps, the drop comes with step 14.
    assert [m["lr"] for m in (first, second, third, last)] == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3])
    assert [m["gamma"] for m in (first, second)] == pytest.approx([math.exp(-1) * 6 / 9, math.exp(-1)])
    assert second["rho"] == pytest.approx(1)
    assert 0 <= first["train_accuracy"] <= 1 and 0 <= first["data_wait_share"] <= 1


def test_a_long_epoch_journals_windows_too(attempt: Any, tiny: spec.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "METRICS_STEPS", 3)
    found = metrics(attempt(tiny))
    assert [(m.step, m.values["steps_averaged"]) for m in found[:3]] == [(3, 3), (6, 3), (7, 7)]
    window, following, epoch = (m.values["loss"] for m in found[:3])
    assert min(window, following) < epoch


def test_looking_at_losses_rarely_changes_none_of_them(
    new_attempt: Any, tiny: spec.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    rarely = without_speed(new_attempt("rarely")(tiny))
    monkeypatch.setattr(loop, "COLLECT_STEPS", 1)
    assert without_speed(new_attempt("each")(tiny)) == rarely


def test_the_noise_of_an_image_does_not_depend_on_those_left_out(
    attempt: Any, tiny: spec.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_batches, real_step, seen = loop.training_batches, step.train_step, []

    def with_gaps(*asked: Any) -> Iterator[tuple[torch.Tensor, ...]]:
        for number, batch in enumerate(real_batches(*asked)):
            yield tuple(tensor[1:] if number % 2 else tensor[[0, 3, 5]] for tensor in batch)

    def noted(state: Any, now: Any, epoch: int, samples_B: torch.Tensor, *rest: torch.Tensor) -> Any:
        assert torch.equal(rest[2], encoder_noise.draw(tiny, epoch, samples_B, "cpu"))
        seen.append(len(samples_B))
        return real_step(state, now, epoch, samples_B, *rest)

    monkeypatch.setattr(loop, "training_batches", with_gaps)
    monkeypatch.setattr(step, "train_step", noted)
    attempt(tiny)
    assert seen[:7] == [3, 7, 3, 7, 3, 7, 3]


def test_a_finished_run_is_left_as_it_is(attempt: Any, tiny: spec.Run) -> None:
    attempt(tiny)
    (file,) = attempt.paths.checkpoints.iterdir()
    before = file.stat().st_mtime_ns
    assert [type(record) for record in attempt(tiny)] == [Resumed]
    assert [p.stat().st_mtime_ns for p in attempt.paths.checkpoints.iterdir()] == [before]


def test_a_run_that_is_asked_to_stop_writes_a_checkpoint_and_stops(attempt: Any, tiny: spec.Run) -> None:
    with pytest.raises(Stopped):
        attempt(tiny, after(5, lambda: True))
    at = checkpoint_format.load_model(tiny, attempt.paths.checkpoints).step
    assert at == 5


def test_asked_to_stop_at_its_last_step_it_is_complete(attempt: Any, tiny: spec.Run) -> None:
    records = attempt(tiny, after(STEPS, lambda: True))
    assert [r.step for r in records if isinstance(r, Checkpointed)] == [STEPS]


def test_checkpoints_are_written_as_often_as_asked(attempt: Any, tiny: spec.Run) -> None:
    records = attempt(tiny, checkpoint_seconds=0)
    assert [r.step for r in records if isinstance(r, Checkpointed)] == list(range(1, STEPS + 1))
    assert len(list(attempt.paths.checkpoints.iterdir())) == 2


@pytest.mark.parametrize("collect", [1, 20])
@pytest.mark.parametrize(("lr", "kind", "words"), [(1e30, "nan", "became NaN"), (1e4, "exploded", "exploded to")])
def test_a_loss_that_is_lost_ends_the_run_by_name_step_and_last_good_checkpoint(
    attempt: Any, change: Change, monkeypatch: pytest.MonkeyPatch, lr: float, kind: str, words: str, collect: int
) -> None:
    monkeypatch.setattr(loop, "COLLECT_STEPS", collect)
    good = change(optimiser=spec.Sgd(lr=1e-3), schedule=spec.Schedule(warmup_epochs=1.0))
    with pytest.raises(Stopped):
        attempt(good, after(4, lambda: True))
    (file,) = attempt.paths.checkpoints.iterdir()

    real = step.scheduled_values
    monkeypatch.setattr(
        step,
        "scheduled_values",
        lambda state, length: step.ScheduledValues(lr, 0.01, 0.1, 2.3) if state.step > 5 else real(state, length),
    )
    with pytest.raises(DivergedError, match=words) as caught:
        attempt(good)
    assert caught.value.kind == kind
    assert file.name in str(caught.value)
    assert caught.value.step in (7, 8) and f"step {caught.value.step}" in str(caught.value)
    assert list(attempt.paths.checkpoints.iterdir()) == [file]


def test_weights_that_are_lost_at_the_last_step_are_not_saved(attempt: Any, change: Change) -> None:
    # The only step: its loss was taken before the update that ruins the weights.
    run = change(optimiser=spec.Sgd(lr=1e40), schedule=spec.Schedule(), epochs=0.1)
    with pytest.raises(
        DivergedError, match=r"the weight .* (became NaN|exploded to inf) at step 1; .* no checkpoint yet"
    ):
        attempt(run)
    assert not attempt.paths.checkpoints.exists()


def test_a_collapse_to_chance_is_a_result(attempt: Any, change: Change) -> None:
    found = metrics(attempt(change(objective=spec.Vib(rho=-8.0), epochs=6, optimiser=spec.Adam(lr=3e-2))))
    assert found[-1].values["collapsed"] == 1
    assert found[-1].values["rate"] < 0.5


def test_a_run_that_learns_has_not_collapsed(attempt: Any, change: Change) -> None:
    found = metrics(
        attempt(
            change(
                network=spec.SmallCnn(width=8, z_dim=8),
                objective=spec.Ceb(rho=3.0),
                schedule=spec.Schedule(),
                epochs=12,
            )
        )
    )
    assert found[-1].values["collapsed"] == 0


@pytest.mark.parametrize("share", [0.6, 2 / 3, 0.9, 1.0])
def test_a_network_that_is_right_has_not_collapsed_however_common_one_class_is(
    share: float, attempt: Any, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 60 images, black and white, that a network tells apart at once, this share is black."""
    images_NCHW = torch.zeros(60, 1, 8, 8, dtype=torch.uint8)
    images_NCHW[round(60 * share) :] = 255
    labels_N = (images_NCHW[:, 0, 0, 0] > 0).long()
    real = load(spec.Data(name="digits"), "train", Path())
    told = replace(real, images_NCHW=images_NCHW, labels_N=labels_N)
    monkeypatch.setattr("jobs.engine.training.loop.load", lambda *_: told)
    run = change(objective=spec.Xent(), network=spec.SmallCnn(), schedule=spec.Schedule(), epochs=20, batch=60)
    *_, last = metrics(attempt(run))
    assert last.values["train_accuracy"] == 1 and last.values["collapsed"] == 0


@pytest.mark.parametrize(
    ("accuracy", "constant", "collapsed"),
    [
        (0.1, 0.1, 1), (0.14, 0.1, 1), (0.15, 0.1, 0), (0.0012, 0.001, 1), (0.0016, 0.001, 0), (0.68, 2 / 3, 1),
        (0.7, 2 / 3, 0), (0.9, 0.9, 1), (0.91, 0.9, 0), (0.5, 0.9, 1), (1.0, 0.999, 0), (1.0, 1.0, 0), (0.9, 1.0, 0),
    ],
)  # fmt: skip
def test_collapsed_is_against_a_constant_prediction(accuracy: float, constant: float, collapsed: int) -> None:
    assert loop.is_collapsed(accuracy, constant) == collapsed


def test_the_constant_prediction_is_over_the_images_of_the_epoch(
    attempt: Any, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A last epoch that stops half-way has other images than the set."""
    shares: list[float] = []
    real = loop.is_collapsed
    monkeypatch.setattr(loop, "is_collapsed", lambda accuracy, share: shares.append(share) or real(accuracy, share))
    run = change(epochs=1.5)
    attempt(run)
    labels_N = load(run.data, "train", Path()).labels_N
    for epoch, share, steps in zip((0, 1), shares, (7, round(1.5 * 7) - 7), strict=True):
        seen_N = labels_N[randomness.permutation(run.seed, "shuffle", epoch, 60)[: 8 * steps]]
        assert share == pytest.approx(seen_N.bincount().max().item() / len(seen_N))


def test_the_gate_opens_at_the_end_of_an_epoch_that_passes(attempt: Any, change: Change) -> None:
    gate = spec.GatedJumpStart(epochs=1, threshold=0.0)
    run = change(objective=spec.Ceb(rho=0.0, jump_start=gate))
    # rho at the last step of each epoch: 100 to 10 over the first, to the target over the second.
    rho = [m.values["rho"] for m in metrics(attempt(run))]
    assert rho == pytest.approx([100 - 90 * 6 / 7, 10 - 10 * 6 / 7, 0, 0], abs=1e-9)


def test_a_gate_that_is_never_passed_holds(attempt: Any, change: Change) -> None:
    gate = spec.GatedJumpStart(epochs=1, threshold=1.0)
    found = metrics(attempt(change(objective=spec.Ceb(rho=0.0, jump_start=gate))))
    assert [m.values["rho"] for m in found[1:]] == pytest.approx([10, 10, 10])


@pytest.mark.parametrize("precision", ["fp64", "bf16"])
def test_other_precisions_train(attempt: Any, change: Change, precision: str) -> None:
    run = change(precision=precision, epochs=1)
    assert metrics(attempt(run))[-1].values["loss"] > 0
    model = checkpoint_format.load_model(run, attempt.paths.checkpoints).model
    expected = torch.float64 if precision == "fp64" else torch.float32
    assert {parameter.dtype for parameter in model.parameters()} == {expected}


def test_adversarial_training_trains_on_pgd_examples_and_leaves_batch_norm_to_the_step(change: Change) -> None:
    adversary = spec.PgdAdversary(eps=0.1, steps=3, step_size=0.05)
    run = change(network=spec.WideResNet(blocks=1, width=1, norm="batch", z_dim=4), adversary=adversary)
    samples_B, y_B = torch.arange(8), torch.arange(8)
    x_BCHW = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    state, twin = initial_state(run, y_B, "cpu"), initial_state(run, y_B, "cpu")
    clean_twin = initial_state(change(network=run.network), y_B, "cpu")
    now = step.scheduled_values(state, EpochSampler(run, 60))

    start_BCHW = random_start(x_BCHW, norm="linf", eps=0.1, seed=0, samples_B=samples_B, epoch=2)
    attack = {"norm": "linf", "eps": 0.1, "steps": 3, "step_size": 0.05, "start_BCHW": start_BCHW}
    attacked_BCHW = pgd(twin.model.eval().classify, x_BCHW, y_B, **attack)
    noise_BZ = encoder_noise.draw(run, 2, samples_B, "cpu")
    expected = step.train_step(clean_twin, now, 2, samples_B, attacked_BCHW, y_B, noise_BZ)
    found = step.train_step(state, now, 2, samples_B, x_BCHW, y_B, noise_BZ)
    assert {name: float(value) for name, value in found.items()} == {k: float(v) for k, v in expected.items()}
    assert state.model.training
    assert int(state.model.network.last[0].num_batches_tracked) == 1


@pytest.mark.parametrize("fields", [{}, {"replica_batch": 2}], ids=["whole", "parts"])
def test_a_step_follows_the_gradient_of_the_mean_over_the_images_that_are_there(change: Change, fields: Any) -> None:
    """Five of the eight that were asked for, against a step of gradient descent by hand."""
    run = change(objective=spec.Xent(), precision="fp64", optimiser=spec.Sgd(lr=0.1, momentum=0.0, weight_decay=0.0),
                 schedule=spec.Schedule(), **fields)  # fmt: skip
    state, twin = initial_state(run, torch.arange(8), "cpu"), initial_state(run, torch.arange(8), "cpu").model
    samples_B, y_B = torch.tensor([7, 0, 2, 5, 3]), torch.arange(5)
    x_BCHW = torch.rand(5, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    now, noise_BZ = step.scheduled_values(state, EpochSampler(run, 60)), encoder_noise.draw(run, 0, samples_B, "cpu")
    step.train_step(state, now, 0, samples_B, x_BCHW, y_B, noise_BZ, requested_B=torch.tensor([7, 4, 0, 1, 2, 5, 6, 3]))
    cross_entropy(twin.classify(x_BCHW), y_B).backward()
    for weight, before in zip(state.model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(weight, before - 0.1 * before.grad, rtol=1e-9, atol=1e-12)


def test_missing_data_is_the_users_input(attempt: Any, change: Change) -> None:
    with pytest.raises(InputError, match="cifar10"):
        attempt(change(data=spec.Data(name="cifar10")))


def test_a_checkpoint_of_another_run_is_refused(attempt: Any, change: Change) -> None:
    attempt(change())
    with pytest.raises(ForeignCheckpointError, match=run_id(change())):
        attempt(change(seed=1))


def test_evaluating_before_training_says_so(tiny: spec.Run, tmp_path: Path) -> None:
    with pytest.raises(NoCheckpointError, match="has to be trained first"):
        checkpoint_format.load_model(tiny, tmp_path / "checkpoints")


def test_a_loaded_model_is_the_trained_one_in_eval_mode(attempt: Any, change: Change) -> None:
    run = change(objective=spec.Cceb(rho=1.0))
    attempt(run)
    model, at, _ = checkpoint_format.load_model(run, attempt.paths.checkpoints)
    assert at == STEPS and not model.training
    # p(y) comes with it: 60 images of ten classes, six of each.
    torch.testing.assert_close(model.classifier.log_prior_K.exp(), torch.full((10,), 0.1))
