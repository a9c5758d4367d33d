"""How every benchmark here measures and prints: in turn, medians with their spread, on a machine that is named.

The machine is shared, so that a speed says little and a ratio of one run says much. Ways are therefore taken in turn,
every other round backwards, and a ratio is the median over the rounds of the two times of one round, with its spread:
other work shows as spread. What a benchmark prints, Markdown tables, is what `run.py` reads.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

ROOT = Path(__file__).parents[1]
_RATIO = re.compile(r"(-?[\d,]+\.?\d*)x?(?: \((-?[\d,]+\.?\d*) … (-?[\d,]+\.?\d*)\))?")


@dataclass(frozen=True)
class Ratio:
    """A cell `1.22x (0.96 … 1.25)`, or a median of seconds in the same form."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, over: Sequence[float], under: Sequence[float]) -> Ratio:
        """Of two ways' times, round for round, with their range. Empty sequences are an error of the caller's."""
        return cls.around([a / b for a, b in zip(over, under, strict=True)])

    @classmethod
    def around(cls, values: Sequence[float]) -> Ratio:
        return cls(statistics.median(values), min(values), max(values))

    @classmethod
    def read(cls, cell: str) -> Ratio | None:
        """What `str` wrote; None if the cell holds anything else."""
        if not (found := _RATIO.fullmatch(cell.strip())):
            return None
        median, low, high = (float((part or found[1]).replace(",", "")) for part in found.groups())
        return cls(median, low, high)

    def __str__(self) -> str:
        return self.seconds("x")

    def seconds(self, unit: str = "") -> str:
        """The same without the x; without the range where there is none."""
        spread = f" ({self._digits(self.low)} … {self._digits(self.high)})" if self.low < self.high else ""
        return f"{self._digits(self.median)}{unit}{spread}"

    def _digits(self, value: float) -> str:
        return f"{value:,.{0 if self.median >= 100 else 1 if self.median >= 10 else 2 if self.median >= 0.1 else 3}f}"


def in_turn(ways: Sequence[Callable[[], T]], rounds: int, before: int = 1) -> list[list[T]]:
    """What each way returns in each round, the ways in turn and every other round backwards, after `before` rounds."""
    found: list[list[T]] = [[] for _ in ways]
    for number in range(-before, rounds):
        for way in range(len(ways)) if number % 2 else reversed(range(len(ways))):
            one = ways[way]()
            if number >= 0:
                found[way].append(one)
    return found


def seconds(way: Callable[[], object], device: str = "cpu") -> float:
    """On a CPU of this process alone, so that other work on the machine counts little; on a GPU by the clock."""
    if not device.startswith("cuda"):
        began = time.process_time()
        way()
        return time.process_time() - began
    import torch

    torch.cuda.synchronize()
    began = time.perf_counter()
    way()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def both_seconds(way: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of CPU with those of the processes that it started and waited for."""
    clock, used = time.perf_counter(), _cpu_seconds()
    way()
    return time.perf_counter() - clock, _cpu_seconds() - used


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def row(*cells: object) -> None:
    """Print a row of a Markdown table at once."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def head(*columns: str, words: int = 1) -> None:
    """Print a table's head; all columns but the first `words` hold figures."""
    row(*columns)
    row(*("---" if number < words else "---:" for number in range(len(columns))))


def rows(text: str) -> list[dict[str, str]]:
    """The rows of the Markdown tables in a text, by the names of their columns."""
    found: list[dict[str, str]] = []
    columns: list[str] = []
    for line in text.splitlines():
        if not line.startswith("| "):
            columns = []
            continue
        cells = [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
        if not columns:
            columns = _distinct(cells)
        elif not set("".join(cells)) <= set("-: "):
            found.append(dict(zip(columns, cells, strict=True)))
    return found


def _distinct(columns: Iterable[str]) -> list[str]:
    """A second `ratio` is called `ratio 2`."""
    found: list[str] = []
    for column in columns:
        found.append(f"{column} {found.count(column) + 1}" if column in found else column)
    return found


def machine() -> str:
    """`2 shared cores (AMD EPYC), wanted by 5.3 processes; Linux 6.1; Python 3.11.7`."""
    models = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    model = " ".join(models[0].split()) if models else platform.machine()
    wanted = os.getloadavg()[0]
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    return (
        f"{os.cpu_count()} cores ({model}), wanted by {wanted:.1f} processes; {system}; Python {sys.version.split()[0]}"
    )


def versions(*packages: str) -> dict[str, str]:
    """Of those packages that are installed."""
    return {name: found for name in packages if (found := version(name))}


def version(package: str) -> str:
    """Empty if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
