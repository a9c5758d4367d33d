"""Targets, restarts, transfer, AutoAttack and the audit on a small trained network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from cebctl.report.audit_verdict import Verdict, verdict
from experiments.benchmarks import AnyBenchmark, AutoAttack, GradientAudit, Norm, Pgd, Transfer
from experiments.errors import InputError
from experiments.spec import Ceb, Data, Xent
from jobs.engine.attacks.autoattack import SEQUENCES, Attacked
from jobs.engine.attacks.pgd import pgd
from jobs.engine.attacks.random_start import random_start
from jobs.engine.attacks.square import square
from jobs.engine.data import ImageSet, load
from jobs.engine.evaluation.evaluate import measure
from jobs.engine.evaluation.evaluators import EVALUATORS, EvaluationContext, ImageValues
from jobs.engine.evaluation.evaluators import pgd as pgd_evaluator
from jobs.engine.evaluation.evaluators.context import BatchResult
from jobs.engine.evaluation.sharding import Shard
from jobs.engine.models import CebModel

ModelOf = Callable[[object], CebModel]
EPS = 0.1


def _trained(model: CebModel) -> CebModel:
    images = load(Data(name="digits"), "train", Path())
    x_NCHW, y_N = images.images_NCHW.float() / 255, images.labels_N  # type: ignore[union-attr]
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        chosen = torch.randint(len(y_N), (64,), generator=generator)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model.classify(x_NCHW[chosen]), y_N[chosen]).backward()
        optimiser.step()
    return model.eval()


@pytest.fixture(scope="module")
def model() -> CebModel:
    """Right on most of the test images."""
    from experiments.spec import Adam, Run, SmallCnn
    from jobs.engine.models import build

    network = SmallCnn(width=8, z_dim=8)
    run = Run(data=Data(name="digits"), network=network, objective=Xent(), optimiser=Adam(), epochs=1, batch=32)
    return _trained(build(run))


class Few:
    """The first images of a set."""

    def __init__(self, images: ImageSet, n: int) -> None:
        self.x_NCHW = images.images_NCHW[:n].float() / 255  # type: ignore[union-attr]
        self.y_N = images.labels_N[:n]


def run(
    model: CebModel, images: ImageSet, benchmark: AnyBenchmark, batch: int = 500, seed: int = 0, **more: object
) -> dict[str, ImageValues]:
    context = EvaluationContext(images, "cpu", batch, **more)  # type: ignore[arg-type]
    return {found.name: found for found in EVALUATORS[type(benchmark)](model, context, benchmark, seed)}


def wrapped(model: CebModel, classify: Callable[[Tensor], Tensor]) -> CebModel:
    """The model with another way from images to logits."""

    class Wrapped:
        marginal = model.marginal

        def __init__(self) -> None:
            self.classify = classify

    return Wrapped()  # type: ignore[return-value]


class TestTargets:
    def test_random_targets_are_never_the_label_and_a_function_of_seed_and_sample(self) -> None:
        y_B, samples_B = torch.arange(5000) % 10, torch.arange(5000)
        target_B = pgd_evaluator.targets("random", y_B, samples_B, 10, 0)
        assert target_B is not None and not (target_B == y_B).any()
        counts = ((target_B - y_B) % 10).bincount(minlength=10)
        assert counts[0] == 0 and (counts[1:] - 5000 / 9).abs().max() < 5 * (5000 / 9) ** 0.5
        part = pgd_evaluator.targets("random", y_B[7:9], samples_B[7:9], 10, 0)
        assert part is not None and torch.equal(part, target_B[7:9])
        other = pgd_evaluator.targets("random", y_B, samples_B, 10, 1)
        assert other is not None and not torch.equal(other, target_B)

    def test_random_targets_have_accuracy_and_success_over_all_images(self, model: CebModel, digits: ImageSet) -> None:
        found = run(model, digits, Pgd(norm="linf", eps=0.2, target="random"))
        assert {name: one.unit for name, one in found.items()} == {
            "pgd_linf": "accuracy", "pgd_linf_success": "success", "zero_gradient_share": "share",
        }  # fmt: skip
        right_N, hit_N = found["pgd_linf"].values_M, found["pgd_linf_success"].values_M
        assert len(right_N) == len(hit_N) == 360
        assert not (right_N & hit_N).any() and hit_N.any()
        assert measure(found["pgd_linf_success"]).correct == hit_N.sum()

    def test_a_class_by_the_measure_of_fashion_mnist(self, model: CebModel, digits: ImageSet) -> None:
        """Images right on clean that become the target, over images right on clean, counted here by hand."""
        benchmark = Pgd(norm="l2", eps=1.0, steps=10, target=3, random_start=False)
        success = run(model, digits, benchmark)["pgd_l2_success"]
        few = Few(digits, 360)
        right_N = model.classify(few.x_NCHW).argmax(1) == few.y_N
        options = {"norm": "l2", "eps": 1.0, "steps": 10, "step_size": 4 / 3 * 0.1, "loss": "cross_entropy"}
        from jobs.engine.attacks.pgd import search

        attacked = search(model.classify, few.x_NCHW, few.y_N, target_B=torch.full_like(few.y_N, 3), **options)
        became_N = model.classify(attacked.x_BCHW).argmax(1) == 3
        counted_N = right_N & (few.y_N != 3)
        assert success.samples_M.tolist() == counted_N.nonzero()[:, 0].tolist()
        assert success.values_M.tolist() == became_N[counted_N].tolist()
        assert 0 < success.values_M.sum() < len(success.values_M)

    @pytest.mark.parametrize(
        ("benchmark", "said"),
        [
            (Pgd(norm="linf", eps=0.1, target=10), "there is no class 10; classes are 0 to 9"),
            (Pgd(norm="linf", eps=0.1, restarts=2, random_start=False), "2 restarts from one point are all the same"),
            (Pgd(norm="linf", eps=-0.1), "eps -0.1 is not positive; at most 1"),
            (AutoAttack(norm="l2", eps=9), "autoattack on digits: eps 9 is larger"),
            (GradientAudit(norm="linf", eps=0.1, subset=999), "a subset of 999 images; there are 360"),
            (AutoAttack(norm="linf", eps=0.1, version="rand"), "xent samples no z"),
            (Transfer(source="r" + "0" * 16, norm="linf", eps=0.1), "no other run is at hand"),
        ],
        ids=lambda value: str(value)[:30],
    )
    def test_what_cant_be_asked_for(
        self, benchmark: AnyBenchmark, said: str, model: CebModel, digits: ImageSet
    ) -> None:
        with pytest.raises(InputError, match=said):
            run(model, digits, benchmark)


def test_with_two_classes_there_is_no_ratio_of_logits(model: CebModel, digits: ImageSet) -> None:
    """Even or odd, by the sums of the logits of either: the audit goes without the ratio, what needs it is refused."""
    two = replace(digits, info=replace(digits.info, classes=2), labels_N=digits.labels_N % 2)
    parity = wrapped(model, lambda x_BCHW: model.classify(x_BCHW).unflatten(1, (5, 2)).logsumexp(dim=1))
    found = run(parity, two, GradientAudit(norm="linf", eps=EPS, steps=5, queries=20, subset=20))
    assert found["audit_losses"].values_M.sum() <= found["audit_pgd"].values_M.sum()
    for benchmark, needed in (
        (AutoAttack(norm="linf", eps=EPS), 4),
        (AutoAttack(norm="linf", eps=EPS, version="rand"), 3),
        (Pgd(norm="linf", eps=EPS, loss="dlr"), 3),
    ):
        with pytest.raises(InputError, match=f"its loss, DLR, needs {needed} classes; there are 2; for fewer"):
            run(parity, two, benchmark)


class TestRestarts:
    def test_the_worst_restart_counts_for_each_image_not_the_last(self, model: CebModel, digits: ImageSet) -> None:
        """Elsewhere every sample is overwritten by the last restart: some image must fall to an earlier one only."""
        few, steps = Few(digits, 360), {"steps": 2, "step_size": 0.03}
        samples_B = torch.arange(360)
        single = []
        for restart in range(3):
            start = random_start(few.x_NCHW, norm="linf", eps=EPS, seed=0, samples_B=samples_B, epoch=restart)
            x_BCHW = pgd(model.classify, few.x_NCHW, few.y_N, norm="linf", eps=EPS, start_BCHW=start, **steps)
            single.append(model.classify(x_BCHW).argmax(1) == few.y_N)
        found = run(model, digits, Pgd(norm="linf", eps=EPS, restarts=3, **steps))["pgd_linf"]
        together_N = single[0] & single[1] & single[2]
        assert (found.values_M != together_N).sum() <= 1  # another batch, another rounding
        assert (single[2] & ~together_N).any()  # right behind the last restart, lost all the same

    def test_more_restarts_never_help_the_network(self, model: CebModel, digits: ImageSet) -> None:
        before = None
        for restarts in (1, 2, 4):
            right_N = run(model, digits, Pgd(norm="l2", eps=0.5, steps=3, restarts=restarts))["pgd_l2"].values_M
            assert before is None or not (right_N & ~before).any()
            before = right_N

    def test_what_a_restart_has_hit_stays_hit(self, model: CebModel, digits: ImageSet) -> None:
        hits = [
            run(model, digits, Pgd(norm="linf", eps=0.15, steps=5, restarts=restarts, target="random"))
            for restarts in (1, 3)
        ]
        once_N, thrice_N = (found["pgd_linf_success"].values_M for found in hits)
        assert not (once_N & ~thrice_N).any() and thrice_N.sum() > once_N.sum()


class TestTransfer:
    def test_examples_of_the_model_itself_are_its_own_pgd(self, model: CebModel, digits: ImageSet) -> None:
        benchmark = Transfer(source="r" + "1" * 16, norm="linf", eps=EPS, steps=5)
        asked: list[str] = []

        def model_of(run_id: str) -> CebModel:
            asked.append(run_id)
            return model

        found = run(model, digits, benchmark, load_model=model_of)["transfer_linf"]
        own = run(model, digits, Pgd(norm="linf", eps=EPS, steps=5))["pgd_linf"]
        assert torch.equal(found.values_M, own.values_M) and asked == [benchmark.source]

    def test_examples_of_another_hurt_less(self, model: CebModel, model_of: ModelOf, digits: ImageSet) -> None:
        other = _trained(model_of(Ceb(rho=1)))
        benchmark = Transfer(source="r" + "1" * 16, norm="linf", eps=EPS)
        found = run(model, digits, benchmark, load_model=lambda _: other)["transfer_linf"].values_M
        own = run(model, digits, Pgd(norm="linf", eps=EPS))["pgd_linf"].values_M
        assert found.sum() > own.sum()


class MemoryCache:
    """Results in memory."""

    def __init__(self) -> None:
        self.done: dict[tuple[str, int], BatchResult] = {}

    def batches(self, digest: str, part: str) -> dict[int, BatchResult]:
        return {batch: result for (of_part, batch), result in self.done.items() if of_part == part}

    def append(self, digest: str, part: str, batch: int, result: BatchResult) -> None:
        self.done[part, batch] = result


@pytest.fixture
def few_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Square takes most of AutoAttack's time on a network as small as this."""
    monkeypatch.setattr("jobs.engine.attacks.autoattack.square", partial(square, queries=40))


class TestAutoAttack:
    @pytest.mark.parametrize("version", ["standard", "plus"])
    def test_mean_encodings_go_to_the_attacks_one_after_another(
        self, version: Literal["standard", "plus"], model: CebModel, digits: ImageSet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Which are `attacks/test_autoattack`'s business; here: the images, the threat model, the logits they see, and
        what is left for each."""
        handed: list[tuple[str, int]] = []

        def attacked(
            logits_of: Callable[[Tensor], Tensor], x_BCHW: Tensor, y_B: Tensor, samples_B: Tensor, **options: Any
        ) -> Attacked:
            torch.testing.assert_close(logits_of(x_BCHW), model.classify(x_BCHW), rtol=0, atol=0)
            (attack,), right_B = options.pop("attacks"), options.pop("right_B")
            assert options == {"norm": "linf", "eps": EPS, "seed": 4}
            right_B = logits_of(x_BCHW).argmax(1) == y_B if right_B is None else right_B
            handed.append((attack, int(right_B.sum())))
            return Attacked(right_B & (samples_B != samples_B[right_B][0]), x_BCHW)  # the first that is left falls

        monkeypatch.setattr("jobs.engine.evaluation.evaluators.autoattack.autoattack", attacked)
        benchmark = AutoAttack(norm="linf", eps=EPS, subset=30, version=version)
        found = run(model, digits, benchmark, batch=20, seed=4)["autoattack_linf"]
        few = Few(digits, 360)
        right_N = (model.classify(few.x_NCHW).argmax(1) == few.y_N)[found.samples_M]
        first, second = int(right_N[:20].sum()), int(right_N[20:].sum())
        attacks = SEQUENCES[version]
        assert handed == [(attack, count - done) for done, attack in enumerate(attacks) for count in (first, second)]
        assert found.values_M.sum() == right_N.sum() - 2 * len(attacks)
        assert not (found.values_M & ~right_N).any()

    @pytest.mark.usefixtures("few_queries")
    def test_a_stopped_evaluation_goes_on_at_its_attack_and_batch(self, model: CebModel, digits: ImageSet) -> None:
        """And finds the same: what was done is taken over, not done again."""
        benchmark = AutoAttack(norm="linf", eps=EPS, subset=60)
        whole = run(model, digits, benchmark, batch=20)["autoattack_linf"]
        cache, passes = MemoryCache(), [0]

        def stop(done: int, total: int) -> None:
            assert total == 4 * 60
            if done == 100:  # the second attack's third batch
                raise KeyboardInterrupt

        def counted(x_BCHW: Tensor) -> Tensor:
            passes[0] += len(x_BCHW)
            return model.classify(x_BCHW)

        counting = wrapped(model, counted)
        with pytest.raises(KeyboardInterrupt):
            run(counting, digits, benchmark, batch=20, cache=cache, watch=stop)
        assert sorted(cache.done) == [("apgd_ce", 0), ("apgd_ce", 1), ("apgd_ce", 2), ("apgd_t", 0), ("apgd_t", 1)]
        before, passes[0] = passes[0], 0
        resumed = run(counting, digits, benchmark, batch=20, cache=cache)["autoattack_linf"]
        assert torch.equal(resumed.values_M, whole.values_M) and torch.equal(resumed.samples_M, whole.samples_M)
        rest, passes[0] = passes[0], 0
        run(counting, digits, benchmark, batch=20)
        assert before + rest == passes[0]

    @pytest.mark.usefixtures("few_queries")
    def test_jobs_that_share_it_find_together_what_one_finds(self, model: CebModel, digits: ImageSet) -> None:
        benchmark = AutoAttack(norm="l2", eps=0.4, subset=60)
        whole, cache = run(model, digits, benchmark, batch=20)["autoattack_l2"], MemoryCache()
        for number in (1, 0):
            shared = run(model, digits, benchmark, batch=20, cache=cache, shard=Shard(number, 2))["autoattack_l2"]
        assert torch.equal(shared.values_M, whole.values_M) and 5 < whole.values_M.sum() < 55

    @pytest.mark.usefixtures("few_queries")
    @pytest.mark.parametrize("norm", ["linf", "l2"])
    def test_a_verdict_does_not_depend_on_the_batch(self, norm: Norm, model: CebModel, digits: ImageSet) -> None:
        benchmark = AutoAttack(norm=norm, eps={"linf": EPS, "l2": 0.4}[norm], subset=60)
        found = [run(model, digits, benchmark, batch=batch)[f"autoattack_{norm}"] for batch in (60, 17)]
        assert (found[0].values_M != found[1].values_M).sum() <= 1  # another batch, another rounding

    def test_rand_attacks_one_sample_of_z_and_counts_another(self, model_of: ModelOf, digits: ImageSet) -> None:
        noisy = model_of(Ceb(rho=1))
        drawn: list[Tensor] = []
        logits = noisy.logits
        noisy.logits = lambda z_BZ: drawn.append(z_BZ.detach()) or logits(z_BZ)  # type: ignore[method-assign,func-returns-value]
        run(noisy, digits, AutoAttack(norm="linf", eps=1e-6, version="rand", subset=10, draws=3))
        *attacked, judged, unattacked = drawn
        assert {len(z_BZ) for z_BZ in attacked} == {20 * 10} and len(judged) == len(unattacked) == 3 * 10
        for z_BZ in attacked:  # the same draws at every step
            torch.testing.assert_close(z_BZ, attacked[0], rtol=0, atol=1e-3)
        torch.testing.assert_close(judged, unattacked, rtol=0, atol=1e-3)
        assert (judged - attacked[0][:30]).abs().mean() > 0.5

    def test_square_in_l2_needs_five_pixels(self, model: CebModel, digits: ImageSet) -> None:
        tiny = replace(digits, info=replace(digits.info, size=4))
        for benchmark in (GradientAudit(norm="l2", eps=0.5), AutoAttack(norm="l2", eps=0.5)):
            with pytest.raises(InputError, match="Square needs 5 x 5 pixels; there are 4; for smaller ones"):
                run(model, tiny, benchmark)

    def test_a_request_to_stop_is_heard_within_a_batch(self, model: CebModel, digits: ImageSet) -> None:
        calls: Iterator[int] = iter(range(10**6))

        def watch(done: int, total: int) -> None:
            if next(calls) > 20:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(model, digits, AutoAttack(norm="linf", eps=EPS), watch=watch)


class TestAudit:
    AUDIT = GradientAudit(norm="linf", eps=EPS, steps=10, queries=150, subset=60)

    def verdict(self, model: CebModel, digits: ImageSet) -> Verdict:
        found = [measure(one) for one in run(model, digits, self.AUDIT).values()]
        assert all(one.total == 60 for one in found)
        return verdict({m.name: m.correct / m.total if m.correct is not None else m.value or 0.0 for m in found})

    def test_an_honest_network_is_informative(self, model: CebModel, digits: ImageSet) -> None:
        assert str(self.verdict(model, digits)) == "gradients informative"

    def test_a_saturated_head_is_suspect(self, model: CebModel, digits: ImageSet) -> None:
        said = self.verdict(wrapped(model, lambda x_BCHW: 1000 * model.classify(x_BCHW)), digits)
        assert not said.informative and "all zero" in str(said) and "other losses" in str(said)

    def test_a_quantised_input_is_suspect(self, model: CebModel, digits: ImageSet) -> None:
        def quantised(x_BCHW: Tensor) -> Tensor:
            return model.classify((8 * x_BCHW).round() / 8 + 0 * x_BCHW)

        said = self.verdict(wrapped(model, quantised), digits)
        assert str(said).startswith("suspect, because the gradient of 100.0% of the images is all zero")
        assert "a black-box attack alone breaks" in str(said)
