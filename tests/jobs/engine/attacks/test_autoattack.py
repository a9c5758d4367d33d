"""AutoAttack and its attacks, against closed forms and against the authors' code."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from pyautoattack import AutoAttack
from pyautoattack.autopgd_base import APGDAttack
from pyautoattack.fab_projections import projection_l2, projection_linf
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from experiments.benchmarks import Norm
from jobs.engine.attacks import autoattack as sequence
from jobs.engine.attacks.apgd import apgd
from jobs.engine.attacks.autoattack import ATTACKS, SEQUENCES, autoattack, worst_points
from jobs.engine.attacks.fab import fab, onto_plane
from jobs.engine.attacks.rows import Broken, Classifier, rows
from jobs.engine.attacks.square import black_box, square

Trained = tuple[nn.Module, Tensor, Tensor]
THREATS: list[tuple[Norm, str, float]] = [("linf", "Linf", 0.1), ("l2", "L2", 0.5)]
STANDARD = SEQUENCES["standard"]


@pytest.fixture(scope="module")
def digits() -> Trained:
    """(small convolutional network, 60 test images, their labels): right on most."""
    from sklearn.datasets import load_digits

    x_NCHW = torch.from_numpy(load_digits().images / 16).float()[:, None]
    y_N = torch.from_numpy(load_digits().target)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU(), nn.Flatten()]
        network = nn.Sequential(*body, nn.Linear(144, 10))
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
        for _ in range(200):
            chosen = torch.randint(1500, (64,))
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(x_NCHW[chosen]), y_N[chosen]).backward()
            optimiser.step()
    return network.eval().requires_grad_(False), x_NCHW[-60:], y_N[-60:]


def linear(classes: int = 10, seed: int = 1) -> tuple[nn.Module, Tensor, Tensor, Callable[[Norm, float], Tensor]]:
    """Return a linear network, images away from the box's sides, labels of which some are wrong, and the images that
    are robust: exactly those each of whose margins exceeds eps times the dual norm of its gradient."""
    generator = torch.Generator().manual_seed(seed)
    weights_KD = torch.randn(classes, 75, generator=generator)
    network = nn.Sequential(nn.Flatten(), nn.Linear(75, classes, bias=False)).requires_grad_(False)
    network[1].weight.copy_(weights_KD)
    x_BCHW = 0.35 + 0.3 * torch.rand(40, 3, 5, 5, generator=generator)
    logits_BK = network(x_BCHW)
    y_B = logits_BK.argmax(1)
    y_B[:5] = (y_B[:5] + 1) % classes

    def robust(norm: Norm, eps: float) -> Tensor:
        slope_BK = (weights_KD[y_B][:, None] - weights_KD).norm(p=1 if norm == "linf" else 2, dim=2)
        return (logits_BK.gather(1, y_B[:, None]) - logits_BK > eps * slope_BK).sum(dim=1) == classes - 1

    return network, x_BCHW, y_B, robust


def distance(x_BCHW: Tensor, z_BCHW: Tensor, norm: Norm) -> Tensor:
    return (x_BCHW - z_BCHW).flatten(1).norm(p=torch.inf if norm == "linf" else 2, dim=1)


def run(
    network: Callable[[Tensor], Tensor], x_BCHW: Tensor, y_B: Tensor, norm: Norm, eps: float, **options: Any
) -> sequence.Attacked:
    options = {"attacks": STANDARD, "seed": 3, "samples_B": torch.arange(len(y_B))} | options
    return autoattack(network, x_BCHW, y_B, norm=norm, eps=eps, **options)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.0605), ("l2", 0.4)])
@pytest.mark.parametrize("attack", ["apgd_ce", "apgd_t", "fab_t", "apgd_dlr_restarts", "fab_restarts"])
def test_an_attack_breaks_what_is_not_robust_in_a_linear_network(attack: str, norm: Norm, eps: float) -> None:
    network, x_BCHW, y_B, robust = linear()
    attacked = run(network, x_BCHW, y_B, norm, eps, attacks=(attack,))
    assert torch.equal(attacked.right_B, robust(norm, eps))
    assert 5 < attacked.right_B.sum() < 35


@pytest.mark.parametrize("classes", [4, 7])
@pytest.mark.parametrize("attack", ["apgd_t", "fab_t"])
def test_of_fewer_classes_than_ten_all_others_are_targets(attack: str, classes: int) -> None:
    network, x_BCHW, y_B, robust = linear(classes)
    attacked = run(network, x_BCHW, y_B, "linf", 0.106, attacks=(attack,))
    assert torch.equal(attacked.right_B, robust("linf", 0.106))
    assert 0 < attacked.right_B.sum() < 35


@pytest.mark.parametrize(
    ("version", "images", "norm", "theirs", "eps"),
    [*(("standard", 40, *threat) for threat in THREATS), ("plus", 12, *THREATS[0])],
)
def test_a_sequence_breaks_the_images_that_the_authors_break(
    version: str, images: int, norm: Norm, theirs: str, eps: float, digits: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequence, "square", partial(square, queries=100))
    network, x_BCHW, y_B = digits[0], digits[1][:images], digits[2][:images]
    ours = run(network, x_BCHW, y_B, norm, eps, attacks=SEQUENCES[version])
    direct = AutoAttack(network, norm=theirs, eps=eps, seed=3, version=version)
    direct.square.n_queries = 100
    _, class_B = direct.run_standard_evaluation(x_BCHW, y_B)
    assert 2 < ours.right_B.sum() < images - 2
    assert (ours.right_B != (class_B == y_B)).sum() <= 1  # draws differ, so that one image may be a matter of luck
    assert torch.equal(network(ours.x_BCHW).argmax(1) == y_B, ours.right_B)
    assert distance(ours.x_BCHW, x_BCHW, norm).max() <= eps * (1 + 1e-5)
    assert ours.x_BCHW.min() >= 0 and ours.x_BCHW.max() <= 1


@pytest.mark.parametrize("loss", ["cross_entropy", "dlr"])
@pytest.mark.parametrize(("norm", "theirs", "eps"), THREATS)
def test_apgd_climbs_as_high_as_the_authors(norm: Norm, theirs: str, eps: float, loss: Any, digits: Trained) -> None:
    """From the same starts, image by image: the loss at the end, to a share of a per cent of its spread."""
    from jobs.engine.attacks.apgd import highest
    from jobs.engine.attacks.losses import ascent

    network, x_BCHW, y_B = digits
    start_BCHW = (x_BCHW + 0.05).clamp(0, 1)
    options: dict[str, Any] = {"norm": norm, "eps": eps, "loss": loss}
    best_BD = highest(Classifier.of(network, x_BCHW), rows(x_BCHW), y_B, rows(start_BCHW), **options)
    direct = APGDAttack(network, norm=theirs, eps=eps, loss={"cross_entropy": "ce"}.get(loss, loss), device="cpu")
    direct.init_hyperparam(x_BCHW)
    best_BCHW, *_ = direct.attack_single_run(x_BCHW, y_B, x_init=start_BCHW)
    ours_B, theirs_B = (
        ascent(loss, network(z_BCHW), y_B) for z_BCHW in (Classifier.of(network, x_BCHW).images(best_BD), best_BCHW)
    )
    assert (ours_B - theirs_B).abs().median() < 0.01 * theirs_B.std()
    assert ((ours_B - theirs_B).mean() / theirs_B.std()).abs() < 0.02


@pytest.mark.parametrize(("norm", "theirs", "eps"), THREATS)
def test_fab_breaks_what_the_authors_fab_breaks(norm: Norm, theirs: str, eps: float, digits: Trained) -> None:
    network, x_BCHW, y_B = digits
    right_B = network(x_BCHW).argmax(1) == y_B
    x_BCHW, y_B = x_BCHW[right_B], y_B[right_B]
    classifier = Classifier.of(network, x_BCHW)
    ours = fab(classifier, rows(x_BCHW), y_B, norm=norm, eps=eps)
    direct = FABAttack_PT(network, norm=theirs, n_restarts=1, eps=eps, device="cpu")
    z_BCHW = direct.perturb(x_BCHW, y_B)
    assert (ours.wrong_B != (network(z_BCHW).argmax(1) != y_B)).sum() <= 1
    assert 3 < ours.wrong_B.sum() < len(y_B) - 3


@pytest.mark.parametrize(("norm", "theirs"), [("linf", projection_linf), ("l2", projection_l2)])
def test_a_projection_onto_a_plane_is_the_authors(norm: Norm, theirs: Callable[..., Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    point_BD = torch.rand(400, 60, generator=generator, dtype=torch.float64)
    point_BD[:100] = point_BD[:100].round()  # many components have no way to go
    normal_BD = torch.randn(400, 60, generator=generator, dtype=torch.float64)
    height_B = 6 * torch.randn(400, generator=generator, dtype=torch.float64)
    height_B[:3] = torch.tensor([0.0, 1e3, -1e3])  # on the plane; and planes that no point in [0, 1] reaches
    change_BD = onto_plane(point_BD, normal_BD, height_B, norm)
    expected_BD = theirs(point_BD, normal_BD, (normal_BD * point_BD).sum(dim=1) - height_B)
    torch.testing.assert_close(change_BD, expected_BD, rtol=0, atol=1e-6)
    assert (point_BD + change_BD).min() >= -1e-9 and (point_BD + change_BD).max() <= 1 + 1e-9
    torch.testing.assert_close((normal_BD * change_BD).sum(dim=1)[3:50], -height_B[3:50], rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_plane_without_a_gradient_moves_nothing(norm: Norm) -> None:
    nothing_BD = torch.zeros(2, 5)
    change_BD = onto_plane(torch.rand(2, 5), nothing_BD, torch.tensor([1.0, -1.0]), norm)
    assert torch.equal(change_BD.abs(), nothing_BD)
    faint_BD = onto_plane(torch.full((1, 4), 0.5), torch.full((1, 4), 1e-30), torch.tensor([4e-31]), norm)
    torch.testing.assert_close(faint_BD, torch.full((1, 4), -0.1))


@pytest.mark.parametrize(("norm", "theirs", "eps"), THREATS)
def test_square_breaks_as_many_as_the_authors_and_stays_a_black_box(
    norm: Norm, theirs: str, eps: float, digits: Trained
) -> None:
    """A random search, so that single images are luck: of 60, over three seeds."""
    network, x_BCHW, y_B = digits
    gradients: list[bool] = []

    def watched(z_BCHW: Tensor) -> Tensor:
        gradients.append(torch.is_grad_enabled())
        return network(z_BCHW)

    ours, direct = 0, 0
    for seed in range(3):
        options = {"norm": norm, "eps": eps, "queries": 150, "seed": seed}
        ours += int(black_box(watched, x_BCHW, y_B, torch.arange(60), **options).sum())
        attack = SquareAttack(network, norm=theirs, n_queries=150, eps=eps, seed=seed)
        with torch.no_grad():
            direct += int((network(attack.perturb(x_BCHW, y_B)).argmax(1) == y_B).sum())
    assert not any(gradients)
    assert abs(ours - direct) <= 3 * 4
    assert 20 < ours < 150


def test_a_query_ahead_is_a_query(digits: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where several queries of an image share a pass, those behind an improvement are asked for again, from there."""
    network, x_BCHW, y_B = digits
    ends = []
    for most in (1, 16):
        monkeypatch.setattr("jobs.engine.attacks.square._MOST_AHEAD", most)
        classifier, right_B = Classifier.of(network, x_BCHW), network(x_BCHW).argmax(1) == y_B
        samples_B = torch.arange(60)[right_B]
        broken = square(
            classifier, rows(x_BCHW[right_B]), y_B[right_B], samples_B, norm="linf", eps=0.08, seed=1, queries=400
        )
        ends.append(broken)
    assert torch.equal(ends[0].wrong_B, ends[1].wrong_B) and 5 < ends[0].wrong_B.sum() < 50
    torch.testing.assert_close(ends[0].x_BD, ends[1].x_BD, rtol=0, atol=0)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 0.5)])
def test_an_images_verdict_depends_on_nothing_else_in_its_batch(norm: Norm, eps: float, digits: Trained) -> None:
    network, x_BCHW, y_B = digits
    options: dict[str, Any] = {"attacks": ("apgd_ce", "apgd_t")}
    together = run(network, x_BCHW, y_B, norm, eps, **options)
    order = torch.arange(60).flip(0)
    parts = [
        run(network, x_BCHW[part], y_B[part], norm, eps, samples_B=part, **options).right_B for part in order.split(13)
    ]
    assert (torch.cat(parts).flip(0) != together.right_B).sum() <= 1  # another batch, another rounding
    one = black_box(network, x_BCHW[7:8], y_B[7:8], torch.tensor([7]), norm=norm, eps=eps, queries=60, seed=0)
    many_B = black_box(network, x_BCHW, y_B, torch.arange(60), norm=norm, eps=eps, queries=60, seed=0)
    assert one == many_B[7]


def test_one_attack_after_another_is_all_at_once(digits: Trained) -> None:
    """So that an evaluation may stop between two."""
    network, x_BCHW, y_B = digits
    attacks = ("apgd_ce", "fab_t", "apgd_t")
    right_B = None
    for attack in attacks:
        right_B = run(network, x_BCHW, y_B, "linf", 0.1, attacks=(attack,), right_B=right_B).right_B
    assert right_B is not None and torch.equal(right_B, run(network, x_BCHW, y_B, "linf", 0.1, attacks=attacks).right_B)


@pytest.mark.parametrize("attack", sorted(ATTACKS.keys() - {"fab_t", "fab_restarts"}))
def test_an_image_that_is_wrong_or_broken_is_never_asked_about_again(attack: str, digits: Trained) -> None:
    """The corner pixel tells images apart: within the ball no attack moves it far enough to confuse them."""
    network, x_BCHW, y_B = digits[0], digits[1][:12].clone(), digits[2][:12].clone()
    x_BCHW[:, 0, 0, 0] = torch.arange(12) / 12 + 1 / 24
    y_B[:] = network(x_BCHW).argmax(1)
    y_B[::3] = (y_B[::3] + 1) % 10
    broken, again = set[int](), set[int]()

    def watched(z_BCHW: Tensor) -> Tensor:
        logits_BK = network(z_BCHW)
        images_B = (z_BCHW[:, 0, 0, 0] * 12).floor().clamp(0, 11).long()
        again.update(broken & set(images_B.tolist()))
        broken.update(images_B[logits_BK.argmax(1) != y_B[images_B]].tolist())
        return logits_BK

    run(watched, x_BCHW, y_B, "linf", 0.03, attacks=(attack,))
    assert broken >= {0, 3, 6, 9} and not again


@pytest.mark.parametrize(("attack", "rows_each"), [("fab_t", 8), ("fab_restarts", 1)])
def test_fab_is_handed_right_images_alone(attack: str, rows_each: int, digits: Trained) -> None:
    network, x_BCHW, y_B = digits[0], digits[1][:12], digits[0](digits[1][:12]).argmax(1)
    y_B[::3] = (y_B[::3] + 1) % 10
    passes: list[int] = []
    run(lambda z: passes.append(len(z)) or network(z), x_BCHW, y_B, "linf", 0.01, attacks=(attack,))  # type: ignore[func-returns-value]
    assert passes[0] == 12 and max(passes[1:]) == 8 * rows_each


def test_a_batch_of_images_that_are_all_wrong_takes_one_pass(digits: Trained) -> None:
    network, x_BCHW, _ = digits
    passes: list[int] = []
    wrong_B = (network(x_BCHW).argmax(1) + 1) % 10
    attacked = run(lambda z: passes.append(len(z)) or network(z), x_BCHW, wrong_B, "linf", 0.1)  # type: ignore[func-returns-value]
    assert passes == [60] and not attacked.right_B.any() and torch.equal(attacked.x_BCHW, x_BCHW)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.0605), ("l2", 0.4)])
def test_worst_points_lie_in_the_ball_and_are_wrong_wherever_a_linear_network_can_be(norm: Norm, eps: float) -> None:
    network, x_BCHW, y_B, robust = linear()
    end_BCHW = worst_points(network, x_BCHW, y_B, norm=norm, eps=eps, seed=3, samples_B=torch.arange(40))
    assert torch.equal(network(end_BCHW).argmax(1) == y_B, robust(norm, eps))
    assert distance(end_BCHW, x_BCHW, norm).max() <= eps * (1 + 1e-5)
    assert end_BCHW.min() >= 0 and end_BCHW.max() <= 1
    alone_1CHW = worst_points(network, x_BCHW[4:5], y_B[4:5], norm=norm, eps=eps, seed=3, samples_B=torch.tensor([4]))
    torch.testing.assert_close(alone_1CHW[0], end_BCHW[4], rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_is_no_number_is_no_way_out(norm: Norm) -> None:
    """A network whose gradient is nan, and one whose is 0: nothing is broken, nothing raised."""
    x_BCHW, y_B = torch.rand(3, 1, 6, 6), torch.zeros(3).long()
    bias_K = torch.tensor([3.0, 2.0, 1.0, 0.5])
    for scale in (torch.nan, 0.0):

        def network(z_BCHW: Tensor, scale: float = scale) -> Tensor:
            kept = z_BCHW.flatten(1).sum(dim=1, keepdim=True)
            return bias_K + (kept - kept.detach()) * scale if scale == 0 else bias_K + _bad(kept)

        attacked = run(network, x_BCHW, y_B, norm, 0.1, attacks=("apgd_ce", "apgd_t", "fab_t"))
        assert attacked.right_B.all()


class _Bad(torch.autograd.Function):
    """0 with the gradient nan."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient * torch.nan


def _bad(x: Tensor) -> Tensor:
    return _Bad.apply(x)  # type: ignore[no-any-return,no-untyped-call]


def test_rows_of_one_image_are_finished_together(digits: Trained) -> None:
    network, x_BCHW, y_B = digits
    x_BCHW, y_B = x_BCHW[:1].repeat(2, 1, 1, 1), network(x_BCHW[:1]).argmax(1).repeat(2)
    options: dict[str, Any] = {"norm": "linf", "eps": 0.5, "loss": "cross_entropy"}
    passes: list[int] = []
    classifier = Classifier.of(lambda z: passes.append(len(z)) or network(z), x_BCHW)  # type: ignore[func-returns-value]
    start_BD = torch.cat([rows(x_BCHW[:1]), 1 - rows(x_BCHW[:1]).round()])  # of which one is wrong at once
    broken = apgd(classifier, rows(x_BCHW), y_B, start_BD, owner_B=torch.tensor([4, 4]), **options)
    assert isinstance(broken, Broken) and broken.wrong_B.tolist() == [False, True] and passes == [2]


def test_the_generators_are_left_as_they_were(digits: Trained) -> None:
    network, x_BCHW, y_B = digits
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    run(network, x_BCHW[:5], y_B[:5], "linf", 0.05, attacks=("apgd_ce", "fab_t"))
    black_box(network, x_BCHW, y_B, torch.arange(60), norm="l2", eps=0.05, queries=5, seed=0)
    assert torch.equal(torch.rand(3), expected)
