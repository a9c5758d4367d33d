"""AutoAttack and Square through us, against the package called directly."""

from __future__ import annotations

import builtins

import pytest
import torch
from pyautoattack import AutoAttack
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from experiments.benchmarks import Norm
from experiments.errors import InputError
from jobs.engine.attacks.ensemble import apgd, autoattack, square

Trained = tuple[nn.Module, Tensor, Tensor]


@pytest.fixture(scope="module")
def trained() -> Trained:
    """(linear network, six images, their labels by it): small, for an ensemble takes some ten thousand passes."""
    generator = torch.Generator().manual_seed(0)
    weights_KD = torch.randn(10, 25, generator=generator)
    network = nn.Sequential(nn.Flatten(), nn.Linear(25, 10, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(weights_KD)
        x_BCHW = torch.rand(6, 1, 5, 5, generator=generator)
        return network, x_BCHW, network(x_BCHW).argmax(1)


@pytest.mark.parametrize(("norm", "theirs", "eps"), [("linf", "Linf", 0.05), ("l2", "L2", 0.15)])
def test_standard_equals_pyautoattack(norm: Norm, theirs: str, eps: float, trained: Trained) -> None:
    network, x_BCHW, y_B = trained
    ours_B = autoattack(network, x_BCHW, y_B, classes=10, norm=norm, eps=eps, seed=3)
    direct = AutoAttack(network, norm=theirs, eps=eps, seed=3, device="cpu")
    x_adv_BCHW, _ = direct.run_standard_evaluation(x_BCHW, y_B, batch_size=6)
    with torch.no_grad():
        assert torch.equal(ours_B, network(x_adv_BCHW).argmax(1) == y_B)
    assert 0 < ours_B.sum() < 6


@pytest.mark.parametrize(("norm", "dual", "eps"), [("linf", 1, 0.05), ("l2", 2, 0.15)])
def test_apgd_ends_in_the_ball_and_wrong_wherever_a_linear_network_can_be(
    norm: Norm, dual: int, eps: float, trained: Trained
) -> None:
    """Such a network is robust exactly where each margin exceeds eps times the dual norm of its gradient."""
    network, x_BCHW, _ = trained
    x_BCHW = 0.3 + 0.4 * torch.rand(40, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    weights_KD = network[1].weight.detach()  # type: ignore[index,union-attr]
    with torch.no_grad():
        logits_BK = network(x_BCHW)
    y_B = logits_BK.argmax(1)
    y_B[:5] = (y_B[:5] + 1) % 10  # wrong already
    slope_BK = (weights_KD[y_B][:, None] - weights_KD).norm(p=dual, dim=2)
    robust_B = (logits_BK.gather(1, y_B[:, None]) - logits_BK > eps * slope_BK).sum(dim=1) == 9
    end_BCHW = apgd(network, x_BCHW, y_B, norm=norm, eps=eps, seed=3, samples_B=torch.arange(40))
    with torch.no_grad():
        assert torch.equal(network(end_BCHW).argmax(1) == y_B, robust_B)
    change_B = (end_BCHW - x_BCHW).flatten(1).norm(p=torch.inf if norm == "linf" else 2, dim=1)
    assert change_B.max() <= eps * (1 + 1e-5) and end_BCHW.min() >= 0 and end_BCHW.max() <= 1
    assert 0 < robust_B.sum() < 35


def test_apgds_points_are_the_images_own(trained: Trained) -> None:
    network, x_BCHW, y_B = trained
    options = {"norm": "l2", "eps": 0.1, "seed": 3}
    together_BCHW = apgd(network, x_BCHW, y_B, samples_B=torch.arange(6), **options)  # type: ignore[arg-type]
    alone_1CHW = apgd(network, x_BCHW[4:5], y_B[4:5], samples_B=torch.tensor([4]), **options)  # type: ignore[arg-type]
    torch.testing.assert_close(alone_1CHW[0], together_BCHW[4], rtol=0, atol=1e-5)


@pytest.mark.parametrize("classes", [4, 7])
def test_of_fewer_classes_than_ten_all_others_are_targets(classes: int, trained: Trained) -> None:
    """A linear network is robust exactly where each margin exceeds eps times the L1 norm of its gradient."""
    network, x_BCHW, _ = trained
    weights_KD = network[1].weight[:classes].detach()  # type: ignore[index,union-attr]
    few = nn.Sequential(nn.Flatten(), nn.Linear(25, classes, bias=False))
    few[1].weight = nn.Parameter(weights_KD)
    x_BCHW, eps = 0.2 + 0.6 * x_BCHW, 0.03  # the ball lies within [0, 1]
    with torch.no_grad():
        logits_BK = few(x_BCHW)
    y_B = logits_BK.argmax(1)
    margin_BK = logits_BK.gather(1, y_B[:, None]) - logits_BK
    slope_BK = (weights_KD[y_B][:, None] - weights_KD).abs().sum(dim=2)
    robust_B = (margin_BK > eps * slope_BK).sum(dim=1) == classes - 1
    assert 0 < robust_B.sum() < len(robust_B)
    right_B = autoattack(few, x_BCHW, y_B, classes=classes, norm="linf", eps=eps, seed=3)
    assert torch.equal(right_B, robust_B)


def test_square_equals_pyautoattack_and_stays_a_black_box(trained: Trained) -> None:
    network, x_BCHW, y_B = trained
    seen: list[bool] = []

    def watched(z_BCHW: Tensor) -> Tensor:
        seen.append(torch.is_grad_enabled())
        return network(z_BCHW)

    ours_B = square(watched, x_BCHW, y_B, norm="linf", eps=0.06, queries=200, seed=5)
    assert not any(seen)
    right_B = network(x_BCHW).argmax(1) == y_B
    direct = SquareAttack(network, norm="Linf", n_queries=200, eps=0.06, seed=5)
    with torch.no_grad():
        found_BCHW = direct.perturb(x_BCHW[right_B], y_B[right_B])
        assert torch.equal(ours_B[right_B], network(found_BCHW).argmax(1) == y_B[right_B])


def test_the_generators_are_left_as_they_were(trained: Trained) -> None:
    network, x_BCHW, y_B = trained
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    square(network, x_BCHW, y_B, norm="linf", eps=0.05, queries=5, seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_without_the_package_it_says_how_to_get_it(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> object:
        if name.startswith("pyautoattack"):
            raise ImportError(name)
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    network, x_BCHW, y_B = trained
    with pytest.raises(InputError, match=r"pip install 'cebctl\[autoattack\]'"):
        square(network, x_BCHW, y_B, norm="linf", eps=0.05, queries=5, seed=0)
