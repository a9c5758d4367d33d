"""The numbers that timm and RobustBench publish of networks of theirs, which a run evaluates by imported weights."""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Mapping
from functools import cache

from experiments.benchmarks import AnyBenchmark, AutoAttack, Clean, ImagenetV2
from experiments.errors import InputError
from experiments.matrix.report_section import ReportSpec
from experiments.published.files import FOLDER
from experiments.published.numbers import PublishedNumber, in_units
from experiments.spec import Run, Timm

_CROP = 0.875
"""The share of the short side that our central crop takes, bicubic; timm evaluates models at crops of their own."""
_MEASURES = ("clean", "top5", "imagenet_a", "imagenet_r", "imagenet_sketch", "imagenet_v2")
_TIMM, _ROBUSTBENCH = "timm's results", "RobustBench"


def public_number(
    run: Run, benchmark: AnyBenchmark, measure: str, report: ReportSpec
) -> tuple[PublishedNumber | None, str]:
    """Return the number that the publishers of a run's network have for this measure, or None and, where they have one
    that was measured otherwise, how; '' if they have none."""
    if not run.weights or run.epochs:
        return None, ""
    if report.robustbench and run.data.name == "cifar10":
        return _robustbench_number(_entry(report.robustbench), benchmark, measure, report.robustbench)
    if isinstance(run.network, Timm) and run.data.name == "imagenet":
        rows = _timm().get(run.network.model, {})
        size = run.network.input_size or 224
        if row := rows.get(size) or next(iter(rows.values()), None):
            return _timm_number(run.network, row, benchmark, measure)
    return None, ""


def _entry(name: str) -> Mapping[str, str]:
    """Return the entry of RobustBench with this name. Raises InputError, with the names that are close, for another."""
    entries = _robustbench()
    if name not in entries:
        close = difflib.get_close_matches(name, entries, n=3)
        raise InputError(
            "report.robustbench", f"no entry {name!r}", f"did you mean {' or '.join(close)}?" * bool(close)
        )
    return entries[name]


def _robustbench_number(
    row: Mapping[str, str], benchmark: AnyBenchmark, measure: str, name: str
) -> tuple[PublishedNumber | None, str]:
    if measure == f"autoattack_{row['norm']}":
        number = _number(row["autoattack"], _ROBUSTBENCH, name)
    elif isinstance(benchmark, Clean):
        number = _number(row["clean"], _ROBUSTBENCH, name)
    else:
        return None, ""
    differences = []
    if isinstance(benchmark, AutoAttack):
        eps = _radius(row["eps"])
        if not math.isclose(benchmark.eps, eps, rel_tol=1e-6):
            differences.append(f"within eps {row['eps']}")
        if benchmark.version != "standard":
            differences.append("by its version standard")
    if getattr(benchmark, "subset", None):
        differences.append("on all test images")
    return (None, f"RobustBench's {number.text} is {', '.join(differences)}") if differences else (number, "")


def _timm_number(
    network: Timm, row: Mapping[str, str], benchmark: AnyBenchmark, measure: str
) -> tuple[PublishedNumber | None, str]:
    if measure not in _MEASURES or not row[measure]:
        return None, ""
    number = _number(row[measure], _TIMM, network.model)
    differences = []
    if (network.input_size or 224) != int(row["pixels"]):
        differences.append(f"at {row['pixels']} pixels")
    if float(row["crop"]) != _CROP or row["interpolation"] != "bicubic":
        differences.append(f"of the central {row['crop']}, {row['interpolation']}")
    if network.normalise != "model":
        differences.append("of images normalised as its default_cfg says")
    if isinstance(benchmark, ImagenetV2) and benchmark.version != "matched-frequency":
        differences.append("on matched-frequency")
    if getattr(benchmark, "subset", None):
        differences.append("on all test images")
    return (None, f"timm's {number.text} is {', '.join(differences)}") if differences else (number, "")


def _number(text: str, source: str, subject: str) -> PublishedNumber:
    decimals = len(text.partition(".")[2])
    return PublishedNumber(
        value=in_units(float(text), "percent"), upper=None, relation="equal", measure="accuracy", unit="percent",
        decimals=decimals, source=source, subject=subject, attack=None, note="",
    )  # fmt: skip


def _radius(text: str) -> float:
    top, _, bottom = text.partition("/")
    return float(top) / float(bottom or 1)


@cache
def _timm() -> dict[str, dict[int, dict[str, str]]]:
    """Return the rows by model and size in pixels: some models are evaluated at several."""
    rows: dict[str, dict[int, dict[str, str]]] = {}
    for row in _rows("timm.csv"):
        rows.setdefault(row["model"], {})[int(row["pixels"])] = row
    return rows


@cache
def _robustbench() -> dict[str, dict[str, str]]:
    return {f"{row['norm']}/{row['model']}": row for row in _rows("robustbench.csv")}


def _rows(name: str) -> list[dict[str, str]]:
    lines = (FOLDER / name).read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))
