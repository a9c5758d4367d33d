"""A first part of one's own: the one that the guide shows, with the guide's words as its comment."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

import experiments

GUIDE = Path(experiments.__file__).parent / "PARTS.md"
"""Its sections hold the templates, so that what is shown is what is written."""

HEADINGS = {
    "network": "A network",
    "objective": "An objective",
    "marginal": "A marginal",
    "optimiser": "An optimiser",
    "schedule": "A schedule",
    "data": "A data set",
    "augment": "An augmentation",
    "benchmark": "A benchmark",
    "loss": "An attack loss",
}
"""The section of the guide for each key of `experiments.own_parts.kinds.PART_KINDS`."""
_PLACES = {
    "augment": "data: {{name: cifar10, augment: {}}}",
    "benchmark": "evaluate: [clean, {}]",
    "marginal": "objective: {{name: vib, rho: 1, marginal: {}}}",
    "loss": "evaluate: [clean, pgd: {{norm: linf, eps: 8/255, loss: {}}}]",
}
"""Where a matrix names a part, if not in a section called as its kind."""


def matrix_line(role: str, file: str) -> str:
    """Return the line of a matrix that uses the template of a kind in a file beside it."""
    name = _function(role).name
    reference = re.search(rf"\{{from: parts\.py:{name}\b[^}}]*\}}", GUIDE.read_text("utf-8"))
    assert reference is not None, name
    return _PLACES.get(role, f"{role}: {{}}").format(reference[0].replace("parts.py", file))


def render_part(role: str, file: str) -> str:
    """Return the text of the file: what the engine gives and expects, the line for a matrix, and the function."""
    words = " ".join(_section(role).partition("```")[0].split()).replace("parts.py", file)
    comment = [f"{HEADINGS[role]} of one's own.", "", *textwrap.wrap(words, 100), "", "In a matrix beside this file:"]
    lines = ["# " + line for line in [*comment, f"    {matrix_line(role, file)}"]]
    lines += ["#", "# Further parameters are its fields: give each an annotation, and a default if it may be left out."]
    return "\n".join(line.rstrip() for line in lines) + f"\n\n{_code(role)}"


def _section(role: str) -> str:
    [text] = re.findall(rf"^## {HEADINGS[role]}\n(.*?)(?=^## |\Z)", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return str(text)


def _code(role: str) -> str:
    [code] = re.findall(r"```python\n# parts\.py\n(.*?)```", _section(role), re.DOTALL)
    return str(code)


def _function(role: str) -> ast.FunctionDef:
    [function] = [node for node in ast.parse(_code(role)).body if isinstance(node, ast.FunctionDef)]
    return function
