"""PGD-20 against torchattacks and foolbox: the same network, images, precision, step and start; images per second.

    python benchmarks/pgd.py [--device cpu] [--images 256] [--repeats 3]

Needs foolbox, and torchattacks in an environment of its own (it pins an old `requests`); a library that is not there is
left out. Each is timed in turn, several times over, in one process and, on a CPU, on one thread and in CPU time; the
ratio is the median over the rounds, with their range, of the faster library's time over ours. All start at the image.
The last column counts images that end in another class than ours (`attacks.layout`: sums in another order round
otherwise, and the sign of a gradient that is next to nothing may turn).

`5 restarts` measures what may be dropped. The last iterate of PGD counts, so within one start nothing can be: an image
that is wrong half-way may be right at the end. Between restarts an image that is lost stays lost, and is not attacked
again.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
from collections.abc import Callable

import torch
from measure import Ratio, head, in_turn, row, seconds
from torch import Tensor, nn

from experiments.benchmarks import Norm, Pgd
from experiments.spec import Adam, Data, Run, SmallCnn, WideResNet, Xent
from jobs.engine.attacks.pgd import pgd
from jobs.engine.evaluation.evaluators.pgd import attack
from jobs.engine.models import build

STEPS = 20
Attack = Callable[[], Tensor]


def main() -> None:
    """Measure every network and norm, and print a Markdown table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="networks with this in their names")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    head(
        "network", "attack", "images/s, ours", "torchattacks", "foolbox", "ours over the faster", "other class", words=2
    )
    for name, model, x_BCHW in _networks(asked.images, asked.device):
        if asked.only not in name:
            continue
        with torch.no_grad():
            y_B = model(x_BCHW).argmax(1)
        for norm, eps in (("linf", 8 / 255), ("l2", 0.5)):
            _compare(name, model, x_BCHW, y_B, norm, eps, asked.repeats)  # type: ignore[arg-type]
        _restarts(name, model, x_BCHW, y_B)


def _networks(images: int, device: str) -> list[tuple[str, nn.Module, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    found = []
    for name, data, network, shape in (
        ("small_cnn 32, digits", "digits", SmallCnn(width=32), (1, 8, 8)),
        ("small_cnn 32, CIFAR-10", "cifar10", SmallCnn(width=32), (3, 32, 32)),
        ("wide_resnet 10x1, CIFAR-10", "cifar10", WideResNet(blocks=1, width=1, z_dim=32), (3, 32, 32)),
        ("wide_resnet 10x2, CIFAR-10", "cifar10", WideResNet(blocks=1, width=2, z_dim=64), (3, 32, 32)),
    ):
        run = Run(data=Data(name=data), network=network, objective=Xent(), optimiser=Adam(), epochs=1, batch=1)  # type: ignore[arg-type]
        found.append(
            (name, _Logits(build(run)).eval().to(device), torch.rand(images, *shape, generator=generator).to(device))
        )
    return found


class _Logits(nn.Module):
    """A model as the libraries want one."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.requires_grad_(False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.model.classify(x_BCHW)  # type: ignore[no-any-return,operator]


def _compare(name: str, model: nn.Module, x_BCHW: Tensor, y_B: Tensor, norm: Norm, eps: float, repeats: int) -> None:
    step = 4 / 3 * eps / STEPS
    attacks: dict[str, Attack] = {
        "ours": lambda: pgd(model, x_BCHW, y_B, norm=norm, eps=eps, steps=STEPS, step_size=step)
    }
    if importlib.util.find_spec("torchattacks"):
        attacks["torchattacks"] = _torchattacks(model, x_BCHW, y_B, norm, eps, step)
    if importlib.util.find_spec("foolbox"):
        attacks["foolbox"] = _foolbox(model, x_BCHW, y_B, norm, eps, step)
    first = {library: run() for library, run in attacks.items()}  # warms up, too
    with torch.no_grad():
        class_B = {library: model(x_adv_BCHW).argmax(1) for library, x_adv_BCHW in first.items()}
    others_differ = max(int((theirs_B != class_B["ours"]).sum()) for theirs_B in class_B.values())
    timed = in_turn([lambda run=run: seconds(run, x_BCHW.device.type) for run in attacks.values()], repeats, before=0)
    ours, *others = timed
    speed = {
        library: f"{len(x_BCHW) / statistics.median(times):,.0f}" for library, times in zip(attacks, timed, strict=True)
    }
    ratio = Ratio.of(min(others, key=statistics.median), ours) if others else ""
    cells = [speed.get(library, "not installed") for library in ("ours", "torchattacks", "foolbox")]
    row(name, norm, *cells, ratio, f"{others_differ} of {len(x_BCHW)}")


def _torchattacks(model: nn.Module, x_BCHW: Tensor, y_B: Tensor, norm: Norm, eps: float, step: float) -> Attack:
    import torchattacks

    kind = torchattacks.PGD if norm == "linf" else torchattacks.PGDL2
    theirs = kind(model, eps=eps, alpha=step, steps=STEPS, random_start=False)
    if norm == "l2":
        theirs.eps_for_division = 1e-30  # 1e-10, its own, bends the direction of small gradients
    return lambda: theirs(x_BCHW, y_B)  # type: ignore[no-any-return]


def _foolbox(model: nn.Module, x_BCHW: Tensor, y_B: Tensor, norm: Norm, eps: float, step: float) -> Attack:
    import foolbox

    kind = foolbox.attacks.LinfPGD if norm == "linf" else foolbox.attacks.L2PGD
    theirs = kind(abs_stepsize=step, steps=STEPS, random_start=False)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=x_BCHW.device)
    return lambda: theirs.run(wrapped, x_BCHW, y_B, epsilon=eps)  # type: ignore[no-any-return]


def _restarts(name: str, model: nn.Module, x_BCHW: Tensor, y_B: Tensor) -> None:
    samples_B = torch.arange(len(x_BCHW))
    asked = Pgd(norm="linf", eps=1 / 255, restarts=5)
    whole = Pgd(norm="linf", eps=1 / 255)

    def dropping() -> Tensor:
        return attack(model, samples_B, x_BCHW, y_B, asked, 0).right_B

    def without() -> Tensor:
        right_B = torch.ones_like(y_B, dtype=torch.bool)
        for restart in range(asked.restarts):
            right_B &= attack(model, samples_B, x_BCHW, y_B, whole, restart).right_B
        return right_B

    plain, dropped = (seconds(run, x_BCHW.device.type) for run in (without, dropping))
    left = dropping().float().mean().item()
    what = f"linf, 5 restarts, {left:.0%} stay right: with dropping over without"
    row(name, what, "", "", "", f"{plain / dropped:.2f}x", "")


if __name__ == "__main__":
    main()
