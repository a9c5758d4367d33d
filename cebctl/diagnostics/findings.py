"""What an examination finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["ok", "note", "wrong"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    area: str
    """`home`, `store`, `work`, `data`, `software`, `gpu` or `cluster`."""
    level: Level
    """`note`: worth knowing; `wrong`: to be put right."""
    text: str
    todo: str = ""
    """What to do about it."""


def to_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """`{"findings": [{"area", "level", "text", "todo"}], "todo": […], "wrong": n}`."""
    return {
        "findings": [asdict(finding) for finding in findings],
        "todo": todo(findings),
        "wrong": sum(finding.level == "wrong" for finding in findings),
    }


def todo(findings: Sequence[Finding]) -> list[str]:
    """What is to be done, each thing once, what is wrong before what is worth knowing."""
    ordered = sorted(findings, key=lambda finding: finding.level != "wrong")
    return list(dict.fromkeys(finding.todo for finding in ordered if finding.todo))
