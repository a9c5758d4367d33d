"""Draws the picture of the schedules in jobs/engine/README.md from the functions themselves.

python tests/jobs/engine/training/draw_schedules.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import vl_convert

from experiments import spec
from jobs.engine import objectives
from jobs.engine.training import schedules

FIGURE = Path(__file__).resolve().parents[4] / "jobs" / "engine" / "figures" / "schedules.svg"
CEB = objectives.from_spec(spec.Ceb(rho=0.0))
Points = list[tuple[float, float]]
Chart = dict[str, Any]


def chart(title: str, x: str, y: str, lines: dict[str, Points], scale: str = "linear") -> Chart:
    data = [{"x": at, "y": value, "line": name} for name, points in lines.items() for at, value in points]
    encoding: Chart = {
        "x": {"field": "x", "type": "quantitative", "title": x, "scale": {"nice": False}},
        "y": {"field": "y", "type": "quantitative", "title": y, "scale": {"type": scale}, "axis": {"format": ".4~r"}},
    }
    if len(lines) > 1:
        color = {"field": "line", "type": "nominal", "title": None, "scale": {"domain": list(lines)}}
        encoding["color"] = color | {"legend": {"orient": "right"}}
    line: Chart = {"mark": {"type": "line", "strokeWidth": 1.5}, "encoding": encoding}
    return {"title": title, "width": 370, "height": 220, "data": {"values": data}, "layer": [line]}


def learning_rate(title: str, top: float, schedule: spec.Schedule, epochs: int) -> Chart:
    rates = [top * schedules.warmup(schedule, epoch) * schedules.drops(schedule, epoch) for epoch in range(epochs + 1)]
    positive = [(float(epoch), rate) for epoch, rate in enumerate(rates) if rate > 0]
    return chart(title, "epoch", "learning rate", {"": positive}, scale="log")


def gamma_jump_start() -> Chart:
    start = spec.GammaJumpStart(steps=12_000)
    lines = {
        f"ρ = {rho}": [(step, schedules.gamma(CEB, rho, start, step, 156, None)) for step in range(0, 18_001, 1000)]
        for rho in (1, 2, 3)
    }
    return chart("Jump-start `gamma`: linear in γ over 12,000 steps", "step", "γ", lines)


def gated_jump_start() -> Chart:
    per_epoch, passed = 100, 400
    lines = {}
    for rho in (3, 0, -1):
        values = [
            schedules.gated_rho(spec.GatedJumpStart(), rho, step, per_epoch, passed if step >= passed else None)
            for step in range(0, 701, 10)
        ]
        lines[f"ρ = {rho}"] = [(step / 10, value) for step, value in enumerate(values)]
    picture = chart("Jump-start `gated`: 100 → 10, hold, → target", "epoch", "ρ in force", lines)
    at = {"datum": passed / per_epoch, "type": "quantitative"}
    text = {"type": "text", "align": "left", "dx": 5, "text": ["an epoch's accuracy", "passes 20%"], "color": "grey"}
    rule = {"type": "rule", "strokeDash": [2, 2], "color": "grey"}
    for mark, y in ((rule, {}), (text, {"y": {"datum": 45, "type": "quantitative"}})):
        picture["layer"].append({"data": {"values": [{}]}, "mark": mark, "encoding": {"x": at} | y})
    return picture


def draw(path: Path) -> None:
    imagenet = spec.Schedule(warmup_epochs=15, drops=(90.0, 180.0, 240.0))
    cifar10 = spec.Schedule(drops=(500.0, 1000.0, 1250.0), factor=0.3)
    charts = [
        learning_rate("ImageNet: warm-up over 15 epochs, ×0.1 at 90, 180, 240", 1.6, imagenet, 270),
        learning_rate("CIFAR-10: ×0.3 at 500, 1000, 1250", 1e-3, cifar10, 1500),
        gamma_jump_start(),
        gated_jump_start(),
    ]
    config = {"font": "Liberation Sans, Arial, sans-serif", "background": "white", "view": {"stroke": None}}
    page = {"concat": charts, "columns": 2, "resolve": {"scale": {"color": "independent"}}}
    path.write_text(vl_convert.vegalite_to_svg(page, config=config))


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else FIGURE)
