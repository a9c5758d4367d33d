"""Evaluators against what their numbers are defined to be, image by image."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from experiments.benchmarks import NO_EVALUATOR, AnyBenchmark, Calibration, Clean, Information, Pgd, Top5
from experiments.errors import InputError
from experiments.spec import Cceb, Ceb, Vib, Xent
from jobs.engine.data import ImageSet
from jobs.engine.evaluation.evaluators import EVALUATORS, EvaluationContext, ImageValues
from jobs.engine.models import CebModel

ModelOf = Callable[[object], CebModel]
OBJECTIVES = [Xent(), Vib(rho=1), Ceb(rho=1), Cceb(rho=1)]
BENCHMARKS: list[AnyBenchmark] = [
    Clean(),
    Information(samples=2),
    Pgd(norm="linf", eps=0.1, steps=2),
    Pgd(norm="l2", eps=0.5, steps=2),
]


def run(
    model: CebModel, images: ImageSet, benchmark: AnyBenchmark, batch: int = 500, seed: int = 0
) -> dict[str, ImageValues]:
    return {
        found.name: found
        for found in EVALUATORS[type(benchmark)](model, EvaluationContext(images, "cpu", batch), benchmark, seed)
    }


def x_BCHW_of(images: ImageSet) -> Tensor:
    return images.images_NCHW.float() / 255  # type: ignore[union-attr]


def test_every_benchmark_has_its_evaluator() -> None:
    assert EVALUATORS.keys() == set(get_args(AnyBenchmark)) - set(NO_EVALUATOR)


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=repr)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)
def test_what_is_measured_on_which_model(
    objective: object, benchmark: AnyBenchmark, model_of: ModelOf, digits: ImageSet
) -> None:
    found = run(model_of(objective), digits, benchmark)
    expected = {"clean": "accuracy"}
    if isinstance(benchmark, Pgd):
        expected = {f"pgd_{benchmark.norm}": "accuracy", "zero_gradient_share": "share"}
    elif isinstance(benchmark, Information):
        expected = {"conditional_entropy": "nats"}
        expected |= {} if isinstance(objective, Xent) else {"rate": "nats"}
        expected |= {"residual_information": "nats"} if isinstance(objective, Ceb | Cceb) else {}
    assert {name: one.unit for name, one in found.items()} == expected
    for one in found.values():
        assert one.samples_M.tolist() == list(range(360)) and one.values_M.shape == (360,)
        assert one.values_M.dtype == (torch.float64 if one.unit == "nats" else torch.bool)


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=repr)
def test_the_batch_size_changes_nothing(benchmark: AnyBenchmark, model_of: ModelOf, digits: ImageSet) -> None:
    model = model_of(Ceb(rho=1)).double()
    whole, parts = run(model, digits, benchmark), run(model, digits, benchmark, batch=77)
    for name, one in whole.items():
        torch.testing.assert_close(parts[name].values_M, one.values_M, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "kind", [Clean, Top5, Information, Calibration], ids=lambda kind: kind.__struct_config__.tag
)  # fmt: skip
def test_a_subset_is_the_same_images_of_the_whole(
    kind: type[Clean | Top5 | Information | Calibration], model_of: ModelOf, digits: ImageSet
) -> None:
    model = model_of(Ceb(rho=1))
    whole, part = run(model, digits, kind()), run(model, digits, kind(subset=20))
    for name, values in part.items():
        if isinstance(values, ImageValues):
            assert digits.labels_N[values.samples_M].bincount().tolist() == [2] * 10
            assert torch.allclose(values.values_M.double(), whole[name].values_M[values.samples_M].double())
        else:
            assert values.total <= 20


def test_clean_is_the_argmax_over_mean_encodings(model_of: ModelOf, digits: ImageSet) -> None:
    model = model_of(Ceb(rho=1))
    right_N = model.classify(x_BCHW_of(digits)).argmax(1) == digits.labels_N
    assert torch.equal(run(model, digits, Clean())["clean"].values_M, right_N)


class TestInformation:
    def test_residual_information_tends_to_half_the_squared_distance(self, model_of: ModelOf, digits: ImageSet) -> None:
        model = model_of(Ceb(rho=1))
        assert model.backward_encoder is not None
        f_NZ, mu_NZ = model.encode(x_BCHW_of(digits)), model.backward_encoder.means()[digits.labels_N]
        exact_N = 0.5 * (f_NZ - mu_NZ).square().sum(1)
        drawn_N = run(model, digits, Information(samples=64))["residual_information"].values_M
        deviation_N = (drawn_N - exact_N) / ((f_NZ - mu_NZ).norm(dim=1) / 64**0.5)  # one draw deviates by |f - mu|
        assert abs(deviation_N.mean().item()) < 4 / 360**0.5
        assert 0.85 < deviation_N.std().item() < 1.15

    @pytest.mark.parametrize("objective", OBJECTIVES[1:], ids=lambda objective: type(objective).__name__)
    def test_agrees_with_distributions_built_independently(
        self, objective: object, model_of: ModelOf, digits: ImageSet
    ) -> None:
        """With torch.distributions, and another generator: equal up to the spread of the means."""
        model, y_N = model_of(objective), digits.labels_N
        assert model.marginal is not None
        with torch.random.fork_rng():
            torch.manual_seed(0)
            encoder = Independent(Normal(model.encode(x_BCHW_of(digits)).detach(), 1.0), 1)
            z_SNZ = encoder.sample(torch.Size([64]))
        components = Independent(Normal(model.marginal.means_MZ, 1.0), 1)
        marginal = MixtureSameFamily(Categorical(logits=model.marginal.logits_M), components)
        log_e_SN = encoder.log_prob(z_SNZ)
        expected_N = {"rate": (log_e_SN - marginal.log_prob(z_SNZ)).mean(0)}
        classifier = Categorical(logits=model.logits(z_SNZ))
        expected_N["conditional_entropy"] = -classifier.log_prob(y_N).mean(0)
        if model.backward_encoder is not None:
            backward = Independent(Normal(model.backward_encoder.means()[y_N], 1.0), 1)
            expected_N["residual_information"] = (log_e_SN - backward.log_prob(z_SNZ)).mean(0)
        found = run(model, digits, Information(samples=64))
        assert found.keys() == expected_N.keys()
        for name, one in found.items():
            difference_N = one.values_M - expected_N[name].detach()
            assert abs(difference_N.mean()) < 5 * difference_N.std() / 360**0.5 + 1e-5, name

    def test_xent_has_no_noise(self, model_of: ModelOf, digits: ImageSet) -> None:
        model = model_of(Xent())
        expected_N = torch.nn.functional.cross_entropy(
            model.classify(x_BCHW_of(digits)), digits.labels_N, reduction="none"
        )
        for samples in (1, 5):
            found = run(model, digits, Information(samples=samples))["conditional_entropy"].values_M
            torch.testing.assert_close(found.float(), expected_N.detach())

    def test_the_seed_draws_other_codes(self, model_of: ModelOf, digits: ImageSet) -> None:
        model = model_of(Vib(rho=1))
        rates = [run(model, digits, Information(samples=1), seed=seed)["rate"].values_M for seed in (0, 0, 1)]
        assert torch.equal(rates[0], rates[1]) and not torch.equal(rates[0], rates[2])


class TestPgd:
    def test_the_default_step_is_four_thirds_eps_over_n(self, model_of: ModelOf, digits: ImageSet) -> None:
        model = model_of(Ceb(rho=1))
        spelt = Pgd(norm="linf", eps=0.1, steps=5, step_size=4 / 3 * 0.1 / 5)
        by_default = run(model, digits, Pgd(norm="linf", eps=0.1, steps=5))["pgd_linf"]
        assert torch.equal(run(model, digits, spelt)["pgd_linf"].values_M, by_default.values_M)

    def test_a_subset_is_the_same_images_attacked_alike(self, model_of: ModelOf, digits: ImageSet) -> None:
        model = model_of(Ceb(rho=1)).double()
        whole = run(model, digits, Pgd(norm="l2", eps=0.3, steps=3))["pgd_l2"]
        part = run(model, digits, Pgd(norm="l2", eps=0.3, steps=3, subset=50))["pgd_l2"]
        assert digits.labels_N[part.samples_M].bincount().tolist() == [5] * 10
        assert torch.equal(part.values_M, whole.values_M[part.samples_M])

    def test_the_start_and_the_seed_matter(self, model_of: ModelOf, digits: ImageSet) -> None:
        model = model_of(Ceb(rho=1))
        seen = []
        for benchmark, seed in (
            (Pgd(norm="linf", eps=0.3, steps=1, step_size=1e-6), 0),
            (Pgd(norm="linf", eps=0.3, steps=1, step_size=1e-6), 1),
            (Pgd(norm="linf", eps=0.3, steps=1, step_size=1e-6, random_start=False), 0),
        ):
            seen.append(run(model, digits, benchmark, seed=seed)["pgd_linf"].values_M.tolist())
        assert seen[0] != seen[1] != seen[2]
        assert seen[2] == run(model, digits, Clean())["clean"].values_M.tolist()

    @pytest.mark.parametrize(
        ("benchmark", "said"),
        [
            (Pgd(norm="linf", eps=1.5), "eps 1.5 is larger than the range of images in linf; at most 1 in"),
            (Pgd(norm="l2", eps=8.01), "eps 8.01 is larger than the range of images in l2; at most 8 in"),
            (Pgd(norm="l2", eps=1, subset=361), "a subset of 361 images; there are 360"),
        ],
    )
    def test_impossible_parameters(self, benchmark: Pgd, said: str, model_of: ModelOf, digits: ImageSet) -> None:
        with pytest.raises(InputError, match=said):
            run(model_of(Xent()), digits, benchmark)


def test_the_subject_tells_how_far_it_is(digits: ImageSet) -> None:
    seen: list[tuple[int, int]] = []
    context = EvaluationContext(digits, "cpu", 100, lambda done, total: seen.append((done, total)))
    list(context.each_batch(lambda *_: []))
    assert seen == [(0, 360), (100, 360), (200, 360), (300, 360), (360, 360)]
