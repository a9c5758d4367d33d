"""The findings of an examination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["ok", "note", "wrong"]


@dataclass(frozen=True)
class Finding:
    """The result of one check. The fields are the keys of the JSON output."""

    area: str
    """`home`, `store`, `work`, `data`, `software`, `gpu` or `cluster`."""
    level: Level
    """`note`: worth knowing; `wrong`: has to be put right."""
    text: str
    todo: str = ""
    """The user's next step; empty where nothing has to be done."""


def to_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return `{"findings": [{"area", "level", "text", "todo"}], "todo": […], "wrong": n}`."""
    return {
        "findings": [asdict(finding) for finding in findings],
        "todo": next_steps(findings),
        "wrong": sum(finding.level == "wrong" for finding in findings),
    }


def next_steps(findings: Sequence[Finding]) -> list[str]:
    """Return the steps that the findings call for, each once, those for faults first."""
    ordered = sorted(findings, key=lambda finding: finding.level != "wrong")
    return list(dict.fromkeys(finding.todo for finding in ordered if finding.todo))
