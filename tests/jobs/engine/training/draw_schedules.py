"""Draws the picture of the schedules in jobs/engine/README.md from the functions themselves.

python tests/jobs/engine/training/draw_schedules.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from experiments import spec
from jobs.engine import objectives
from jobs.engine.training import schedules

FIGURE = Path(__file__).resolve().parents[4] / "jobs" / "engine" / "figures" / "schedules.svg"
CEB = objectives.of(spec.Ceb(rho=0.0))


def learning_rate(axes: Axes, title: str, top: float, schedule: spec.Schedule, epochs: int) -> None:
    at = [epoch / 4 for epoch in range(4 * epochs + 1)]
    axes.plot(at, [top * schedules.warmup(schedule, e) * schedules.drops(schedule, e) for e in at])
    axes.set(title=title, xlabel="epoch", ylabel="learning rate", yscale="log", xlim=(0, epochs))


def gamma_jump_start(axes: Axes) -> None:
    steps = range(0, 18_001, 100)
    for rho in (1, 2, 3):
        jump_start = spec.GammaJumpStart(steps=12_000)
        axes.plot(steps, [schedules.gamma(CEB, rho, jump_start, s, 156, None) for s in steps], label=f"ρ = {rho}")
    axes.set(title="Jump-start `gamma`: linear in γ over 12,000 steps", xlabel="step", ylabel="γ", xlim=(0, 18_000))
    axes.legend()


def gated_jump_start(axes: Axes) -> None:
    per_epoch, passed = 100, 400
    steps = range(0, 701)
    for rho in (3, 0, -1):
        values = [
            schedules.gated_rho(spec.GatedJumpStart(), rho, s, per_epoch, passed if s >= passed else None)
            for s in steps
        ]
        axes.plot([s / per_epoch for s in steps], values, label=f"ρ = {rho}")
    axes.axvline(passed / per_epoch, color="grey", linestyle=":")
    axes.text(passed / per_epoch + 0.1, 40, "an epoch's accuracy\npasses 20%", color="grey")
    axes.set(title="Jump-start `gated`: 100 → 10, hold, → target", xlabel="epoch", ylabel="ρ in force", xlim=(0, 7))
    axes.legend()


def draw(path: Path) -> None:
    plt.rcParams.update({"svg.hashsalt": "schedules", "svg.fonttype": "none", "font.size": 9})
    figure, ((a, b), (c, d)) = plt.subplots(2, 2, figsize=(10, 6.4), layout="constrained")
    imagenet = spec.Schedule(warmup_epochs=15, drops=(90.0, 180.0, 240.0))
    cifar10 = spec.Schedule(drops=(500.0, 1000.0, 1250.0), factor=0.3)
    learning_rate(a, "ImageNet: warm-up over 15 epochs, ×0.1 at 90, 180, 240", 1.6, imagenet, 270)
    learning_rate(b, "CIFAR-10: ×0.3 at 500, 1000, 1250", 1e-3, cifar10, 1500)
    gamma_jump_start(c)
    gated_jump_start(d)
    for axes in (a, b, c, d):
        axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else FIGURE)
