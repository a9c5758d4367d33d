"""Calibration, out-of-distribution detection, top-5, information on training images, the largest training rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score
from torch import Tensor
from torch.distributions import Normal
from torchmetrics.functional.classification import multiclass_calibration_error

from experiments.benchmarks import (
    AnyBenchmark,
    Calibration,
    Information,
    OutOfDistribution,
    Top5,
    TrainInformation,
    TrainingRate,
)
from experiments.errors import InputError
from experiments.spec import Cceb, Ceb, Data, GammaJumpStart, Vib, Xent
from jobs.engine.data import ImageSet, load
from jobs.engine.evaluation.evaluate import measure
from jobs.engine.evaluation.evaluators import EVALUATORS, EvaluationContext, ImageValues, Summary, ood
from jobs.engine.evaluation.evaluators.calibration import expected_calibration_error
from jobs.engine.evaluation.training_history import Epochs, epochs
from jobs.engine.models import CebModel
from jobs.journal.files import Journal
from jobs.journal.records import Heartbeat, Metrics
from jobs.paths import RunPaths

ModelOf = Callable[[object], CebModel]


def run(
    model: CebModel, context: EvaluationContext, benchmark: AnyBenchmark, seed: int = 0
) -> dict[str, ImageValues | Summary]:
    return {found.name: found for found in EVALUATORS[type(benchmark)](model, context, benchmark, seed)}


def values(found: dict[str, ImageValues | Summary], name: str) -> Tensor:
    one = found[name]
    assert isinstance(one, ImageValues)
    return one.values_M


@pytest.fixture
def spread(model_of: ModelOf) -> CebModel:
    """A model whose confidence is anything from next to nothing to next to 1."""
    model = model_of(Cceb(rho=1))
    classify = model.classify
    model.classify = lambda x_BCHW: classify(x_BCHW) / 2  # type: ignore[method-assign]
    return model


class TestCalibration:
    @pytest.mark.parametrize("bins", [1, 10, 15])
    def test_agrees_with_torchmetrics_and_scikit_learn(self, bins: int, spread: CebModel, digits: ImageSet) -> None:
        found = run(spread, EvaluationContext(digits, "cpu", 77), Calibration(bins=bins))
        assert list(found)[:3] == ["ece", "nll", "brier"]
        p_NK = spread.classify(digits.images_NCHW.float() / 255).detach().double().softmax(dim=1)  # type: ignore[union-attr]
        ece = found["ece"]
        assert isinstance(ece, Summary) and ece.total == 360
        assert ece.value == pytest.approx(
            multiclass_calibration_error(p_NK, digits.labels_N, 10, bins).item(), abs=1e-6
        )
        assert values(found, "nll").mean().item() == pytest.approx(log_loss(digits.labels_N, p_NK), rel=1e-6)
        right_NK = np.eye(10)[digits.labels_N]
        by_hand_N = ((p_NK.numpy() - right_NK) ** 2).sum(axis=1)
        np.testing.assert_allclose(values(found, "brier").numpy(), by_hand_N, atol=1e-6)
        assert [measure(one).unit for one in found.values()][:3] == ["share", "nats", "score"]
        accuracies = {name: one for name, one in found.items() if name.endswith("_accuracy")}
        gap = 0.0
        for name, accuracy in accuracies.items():
            confidence = found[name.replace("accuracy", "confidence")]
            assert isinstance(accuracy, Summary) and isinstance(confidence, Summary)
            gap += accuracy.total / 360 * abs(accuracy.value - confidence.value)
        assert gap == pytest.approx(ece.value, abs=1e-9)
        assert 1 <= len(accuracies) <= bins and sum(one.total for one in accuracies.values()) == 360  # type: ignore[union-attr]

    @given(st.lists(st.tuples(st.floats(0.1, 1), st.booleans()), min_size=1, max_size=50), st.integers(1, 20))
    def test_bounds(self, drawn: list[tuple[float, bool]], bins: int) -> None:
        confidence_M, right_M = (torch.tensor(list(column)) for column in zip(*drawn, strict=True))
        error = expected_calibration_error(confidence_M, right_M, bins)
        overall = abs(confidence_M.double().mean() - right_M.double().mean()).item()
        assert overall - 1e-9 <= error <= 1

    def test_a_model_that_is_as_sure_as_it_is_right(self) -> None:
        right_M = torch.tensor([True] * 9 + [False])
        assert expected_calibration_error(torch.full((10,), 0.9, dtype=torch.float64), right_M, 15) < 1e-12


SCORES = st.lists(st.integers(0, 6).map(lambda n: n / 6), min_size=1, max_size=40)  # with many ties


class TestOutOfDistribution:
    @given(SCORES, SCORES)
    def test_the_area_is_scikit_learns(self, positive: list[float], negative: list[float]) -> None:
        expected = roc_auc_score([1] * len(positive) + [0] * len(negative), positive + negative)
        assert ood.auroc(torch.tensor(positive), torch.tensor(negative)) == pytest.approx(expected)

    @given(SCORES, SCORES)
    def test_the_threshold_is_the_highest_that_recognises_enough(
        self, positive: list[float], negative: list[float]
    ) -> None:
        rate = ood.false_positive_rate(torch.tensor(positive), torch.tensor(negative))
        enough = [t for t in positive if sum(p >= t for p in positive) >= 0.95 * len(positive) - 1e-9]
        assert rate == pytest.approx(sum(n >= max(enough) for n in negative) / len(negative))

    def test_digits_against_photographs(self, spread: CebModel, digits: ImageSet) -> None:
        found = run(spread, EvaluationContext(digits, "cpu", 77), OutOfDistribution(against="photographs"))
        assert {one.name: measure(one).total for one in found.values()} == {"ood_auroc": 880, "ood_fpr95": 880}
        few = run(spread, EvaluationContext(digits, "cpu", 77), OutOfDistribution(against="photographs", subset=100))
        assert measure(few["ood_auroc"]).total == 200
        assert 0 < (measure(found["ood_auroc"]).value or 0) < 1

    @pytest.mark.parametrize("score", ["rate", "residual_information"])
    def test_information_is_the_score_if_asked_for(
        self, spread: CebModel, digits: ImageSet, score: Any, monkeypatch: Any
    ) -> None:
        """Against negatives of the digits: e(z|x) and b(z|y) by torch.distributions, the area by scikit-learn."""
        others = replace(digits, images_NCHW=255 - digits.images_NCHW, digest="negative")  # type: ignore[call-arg, union-attr]
        monkeypatch.setattr(ood, "load_resized", lambda *_: others)
        found = run(spread, EvaluationContext(digits, "cpu", 77), OutOfDistribution("photographs", score=score))
        scores: list[float] = []
        with torch.no_grad():
            for images in (digits, others):
                f_NZ = spread.encode(images.images_NCHW.float() / 255)  # type: ignore[union-attr]
                means_KZ = spread.backward_encoder.means()  # type: ignore[union-attr]
                near = Normal(means_KZ[spread.logits(f_NZ).argmax(dim=1)], 1.0).log_prob(f_NZ).sum(dim=1)
                other = near if score == "residual_information" else spread.log_marginal(f_NZ)
                scores += (other - Normal(f_NZ, 1.0).log_prob(f_NZ).sum(dim=1)).tolist()
        is_test = [1] * len(digits) + [0] * len(others)
        assert measure(found["ood_auroc"]).value == pytest.approx(roc_auc_score(is_test, scores), abs=1e-4)

    def test_an_objective_without_the_density_has_no_such_score(self, model_of: ModelOf, digits: ImageSet) -> None:
        context = EvaluationContext(digits, "cpu", 77)
        for objective, score in ((Xent(), "rate"), (Vib(rho=1), "residual_information")):
            assert not run(model_of(objective), context, OutOfDistribution("photographs", score=score))  # type: ignore[arg-type]

    def test_against_itself_it_is_a_coin(self, spread: CebModel, digits: ImageSet, monkeypatch: Any) -> None:
        monkeypatch.setattr(ood, "load_resized", lambda *_: replace(digits, digest="again"))
        found = run(spread, EvaluationContext(digits, "cpu", 77), OutOfDistribution(against="photographs"))
        assert measure(found["ood_auroc"]).value == pytest.approx(0.5)
        assert measure(found["ood_fpr95"]).value == pytest.approx(0.95)

    def test_what_is_not_there(self, spread: CebModel, digits: ImageSet, tmp_path: Path) -> None:
        context = EvaluationContext(digits, "cpu", 77, root=tmp_path)
        with pytest.raises(InputError, match="cifar-10-batches-py"):
            run(spread, context, OutOfDistribution(against="cifar10"))

    @pytest.mark.data
    def test_digits_against_cifar(self, spread: CebModel, digits: ImageSet, real_cifar10_jpeg: Path) -> None:
        context = EvaluationContext(digits, "cpu", 500, root=real_cifar10_jpeg)
        found = run(spread, context, OutOfDistribution(against="cifar10-jpeg", subset=200))
        assert measure(found["ood_auroc"]).total == 400


def test_top5_holds_the_label_among_five(spread: CebModel, digits: ImageSet) -> None:
    logits_NK = spread.classify(digits.images_NCHW.float() / 255).detach()  # type: ignore[union-attr]
    rank_N = (logits_NK > logits_NK.gather(1, digits.labels_N[:, None])).sum(dim=1)
    found = values(run(spread, EvaluationContext(digits, "cpu", 77), Top5()), "top5")
    assert torch.equal(found, rank_N < 5) and 0 < found.sum() < 360


def test_information_on_the_training_images(model_of: ModelOf, digits: ImageSet) -> None:
    model, train = model_of(Ceb(rho=1)), load(Data(name="digits"), "train", Path())
    context = EvaluationContext(digits, "cpu", 500, load_images=lambda split: {"train": train}[split])  # type: ignore[arg-type]
    found = run(model, context, TrainInformation(samples=1))
    assert list(found) == ["rate_train", "residual_information_train", "conditional_entropy_train"]
    expected = run(model, EvaluationContext(train, "cpu", 500), Information(samples=1))
    for name in expected:  # other draws of z
        difference_M = values(found, f"{name}_train") - values(expected, name)
        assert difference_M.abs().mean() > 0 and abs(difference_M.mean()) < 5 * difference_M.std() / 1437**0.5
    part = run(model, context, TrainInformation(samples=1, subset=100))
    one = part["rate_train"]
    assert isinstance(one, ImageValues)
    torch.testing.assert_close(one.values_M, values(found, "rate_train")[one.samples_M])


def epoch(rate: float | None, rho: float = 0.0) -> dict[str, float | None]:
    return {"rate": rate, "rho": rho, "collapsed": 0.0}


class TestTrainingRate:
    @pytest.mark.parametrize(
        ("reported", "jump", "largest", "behind"),
        [
            ([epoch(9, 50), epoch(8, 5), epoch(7, 0), epoch(2), epoch(3)], True, 3.0, 2),  # the third began under rho 5
            ([epoch(2), epoch(4), epoch(3)], False, 4.0, 2),
            ([epoch(5), epoch(None), epoch(3)], True, 3.0, 1),
            ([epoch(5)], False, 5.0, 1),
            ([epoch(5)], True, None, 0),  # the jump-start ended within it
            ([epoch(9, 50), epoch(8, 0)], True, None, 0),
            ([epoch(9, 50), epoch(8, 5.3), epoch(7, 5.3)], True, None, 0),  # held by a gate
            ([epoch(9, 50), epoch(8, 5.3)], True, None, 0),
        ],
    )
    def test_is_over_the_epochs_behind_the_jump_start(
        self, reported: Epochs, jump: bool, largest: float | None, behind: int, model_of: ModelOf, digits: ImageSet
    ) -> None:
        objective = Ceb(rho=0, jump_start=GammaJumpStart(steps=9)) if jump else Ceb(rho=0)
        context = EvaluationContext(digits, "cpu", 77, epochs=lambda: reported, objective=objective)
        found = run(model_of(Ceb(rho=0)), context, TrainingRate())
        rated = sum(one["rate"] is not None for one in reported)
        expected = {"rate_train_epochs": Summary("rate_train_epochs", "epochs", rated, behind)}
        if largest is not None:
            expected["rate_train_max"] = Summary("rate_train_max", "nats", behind, largest)
        assert found == expected

    def test_xent_has_none_and_no_journal_is_an_error(self, model_of: ModelOf, digits: ImageSet) -> None:
        """That there is none is a result too, else the evaluation would be submitted again for ever."""
        found = run(model_of(Xent()), EvaluationContext(digits, "cpu", 77), TrainingRate())
        assert found == {"rate_train_epochs": Summary("rate_train_epochs", "epochs", 0, 0)}
        with pytest.raises(InputError, match="no rate at the end of an epoch"):
            run(model_of(Ceb(rho=0)), EvaluationContext(digits, "cpu", 77, epochs=list), TrainingRate())

    def test_epochs_are_read_from_the_journals_of_every_attempt(self, tmp_path: Path) -> None:
        paths = RunPaths(tmp_path)
        for attempt, steps in ((1, (10, 20, 30)), (2, (30, 40))):
            with Journal(paths.journal("train", attempt)) as journal:
                for step in steps:
                    journal.write(Metrics(step=step - 5, epoch=0.5, values={"rate": -1.0}), Heartbeat(step=1, steps=2))
                    journal.write(Metrics(step=step, epoch=step / 10, values=epoch(step + attempt)))
        assert [one["rate"] for one in epochs([paths])] == [11, 21, 32, 42]
