"""Our AutoAttack against its authors' code (pyautoattack), image by image: verdicts and CPU time.

    python benchmarks/autoattack.py [--images 1000] [--only TEXT]

Three small networks, trained here for some steps; CIFAR-10 as JPEG from CEBCTL_DATA, without it the digits alone. Both
attack the same images at once, one after the other. The authors' code runs a second time with another seed, if `--seeds
2` is given: how many verdicts differ between its own seeds is the noise in which ours should lie.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from measure import head, row, seconds
from torch import Tensor, nn

from experiments.spec import Adam, Data, Run, SmallCnn, WideResNet, Xent
from jobs.engine.attacks.autoattack import SEQUENCES, autoattack
from jobs.engine.data import load
from jobs.engine.models import CebModel, build

BATCH = 500
"""Images at a time, of ours as of theirs: what the evaluator takes."""


def main() -> None:
    """Attack every network in both norms, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--only", default="", help="networks with this in their names")
    parser.add_argument("--norm", default="", help="this norm only")
    parser.add_argument("--seeds", type=int, default=1, help="runs of the authors' code")
    parser.add_argument("--steps", type=int, default=0, help="of training; 0: each network's own number")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    head(
        "network", "attack", "images", "right", "robust, ours", "theirs", "verdicts that differ", "between their seeds",
        "CPU s, ours", "theirs", "theirs over ours", words=2,
    )  # fmt: skip
    for name, data, network, steps, radii in _networks():
        if asked.only not in name:
            continue
        model = _trained(data, network, asked.steps or steps)
        x_NCHW, y_N = _images(data, asked.images)
        for norm, eps in radii:
            if asked.norm in norm:
                _compare(name, model, x_NCHW, y_N, norm, eps, asked.seeds)


def _networks() -> Iterator[tuple[str, str, Any, int, list[tuple[str, float]]]]:
    yield "small_cnn 8, digits", "digits", SmallCnn(width=8, z_dim=8), 300, [("linf", 0.12), ("l2", 0.6)]
    wide = WideResNet(blocks=1, width=1, z_dim=16, norm="none")
    yield "wide_resnet 10x1, digits", "digits", wide, 200, [("linf", 0.12), ("l2", 0.6)]
    if (_root() / "cifar10-jpeg").is_dir():
        small = SmallCnn(width=32, z_dim=128)
        yield "small_cnn 32, CIFAR-10", "cifar10-jpeg", small, 1500, [("linf", 2 / 255), ("l2", 0.25)]


def _root() -> Path:
    return Path(os.environ.get("CEBCTL_DATA") or "data").absolute()


def _images(data: str, count: int) -> tuple[Tensor, Tensor]:
    """Return test images, and, where they are too few, training images behind them."""
    sets = [load(Data(name=data), split, _root()) for split in ("test", "train")]  # type: ignore[arg-type]
    x_NCHW, y_N = (torch.cat([getattr(one, name) for one in sets])[:count] for name in ("images_NCHW", "labels_N"))
    return x_NCHW.float() / 255, y_N


def _trained(data: str, network: Any, steps: int) -> CebModel:
    model = build(Run(data=Data(name=data), network=network, objective=Xent(), optimiser=Adam(), epochs=1, batch=1))
    images = load(Data(name=data), "train", _root())
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        chosen_B = torch.randint(len(images.labels_N), (64,), generator=generator)
        x_BCHW = images.images_NCHW[chosen_B].float() / 255  # type: ignore[union-attr]
        optimiser.zero_grad()
        nn.functional.cross_entropy(model.classify(x_BCHW), images.labels_N[chosen_B]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return model.eval()  # with parameters that require a gradient, as the evaluator gets it


class _Logits(nn.Module):
    """A model as the package wants one."""

    def __init__(self, model: CebModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.model.classify(x_BCHW)


def _ours(model: CebModel, x_NCHW: Tensor, y_N: Tensor, norm: Any, eps: float) -> Tensor:
    right = []
    for part_B in torch.arange(len(y_N)).split(BATCH):
        options = {"attacks": SEQUENCES["standard"], "norm": norm, "eps": eps, "seed": 0}
        right.append(autoattack(model.classify, x_NCHW[part_B], y_N[part_B], part_B, **options).right_B)
    return torch.cat(right)


def _theirs(model: CebModel, x_NCHW: Tensor, y_N: Tensor, norm: str, eps: float, seed: int) -> Tensor:
    import pyautoattack

    logging.getLogger("auto-attack").setLevel(logging.ERROR)
    theirs = pyautoattack.AutoAttack(_Logits(model), norm={"linf": "Linf", "l2": "L2"}[norm], eps=eps, seed=seed)
    return theirs.run_standard_evaluation(x_NCHW, y_N, batch_size=BATCH)[1] == y_N  # type: ignore[no-any-return]


def _compare(name: str, model: CebModel, x_NCHW: Tensor, y_N: Tensor, norm: str, eps: float, seeds: int) -> None:
    verdicts: dict[str, Tensor] = {}

    def timed(of: str, attack: Callable[[], Tensor]) -> float:
        def run() -> None:
            verdicts[of] = attack()

        return seconds(run)

    with torch.no_grad():
        right = (model.classify(x_NCHW).argmax(dim=1) == y_N).sum().item()
    ours = timed("ours", lambda: _ours(model, x_NCHW, y_N, norm, eps))
    radius = f"{norm} {eps * 255:g}/255" if norm == "linf" and eps < 0.1 else f"{norm} {eps:g}"
    counted = [len(y_N), int(right), int(verdicts["ours"].sum())]
    if importlib.util.find_spec("pyautoattack") is None:
        row(name, radius, *counted, "not installed", "", "", f"{ours:,.0f}", "", "")
        return
    times = [timed(str(seed), lambda seed=seed: _theirs(model, x_NCHW, y_N, norm, eps, seed)) for seed in range(seeds)]  # type: ignore[misc]
    between = "" if seeds < 2 else str(int((verdicts["0"] != verdicts["1"]).sum()))
    differ = int((verdicts["ours"] != verdicts["0"]).sum())
    theirs = sum(times) / len(times)
    cells = [int(verdicts["0"].sum()), differ, between, f"{ours:,.1f}", f"{theirs:,.1f}", f"{theirs / ours:.2f}x"]
    row(name, radius, *counted, *cells)


if __name__ == "__main__":
    main()
