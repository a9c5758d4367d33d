"""`cebctl init --part`: files that work as they are, with the line for a matrix."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from cebctl.commands.init import PartRole
from cebctl.onboarding.part_template import GUIDE, HEADINGS, matrix_line, render_part
from experiments.own_parts.kinds import PART_KINDS
from experiments.own_parts.read import read_part

BASE = """
base:
  {data: digits, objective: xent, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 1, batch: 64}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_kind_has_a_template() -> None:
    assert HEADINGS.keys() == PART_KINDS.keys() == {role.value for role in PartRole}


@pytest.mark.parametrize("role", HEADINGS)
def test_a_template_is_the_guides_and_can_be_read(role: str, tmp_path: Path) -> None:
    text = render_part(role, "mine.py")
    (tmp_path / "mine.py").write_text(text)
    code = text.partition("a default if it may be left out.\n\n")[2]
    assert f"```python\n# parts.py\n{code}```" in GUIDE.read_text()
    [name] = [node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    assert f"{{from: mine.py:{name}" in matrix_line(role, "mine.py")
    assert f"#     {matrix_line(role, 'mine.py')}\n" in text and max(map(len, text.splitlines())) <= 120
    assert "parts.py" not in text
    read_part(f"mine.py:{name}", role, tmp_path)


@pytest.mark.parametrize("role", ["network", "benchmark", "schedule"])
def test_the_line_that_it_prints_is_one_of_a_matrix(role: str, call: Any, tmp_path: Path) -> None:
    answer = call("init", "--part", role)
    assert (answer.code, answer.err) == (0, "wrote parts.py; in a matrix beside it:\n")
    field, _, value = answer.out.strip().partition(": ")
    section = answer.out if field == "evaluate" else f"grids: [{{objective: ceb, rho: 1, {field}: {value}}}]"
    (tmp_path / "study.yaml").write_text(BASE + section)
    answer = call("plan", "study.yaml")
    assert (answer.code, answer.err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["--part", "network"], "parts.py: is there already; name another file"),
        (["--part", "network", "my-part.py"], "my-part.py: is no name of a Python module; call it such as parts.py"),
        (["--part", "network", "my.yaml"], "my.yaml: is no name of a Python module; call it such as parts.py"),
        (["--part", "network", "none/parts.py"], "none: no such folder"),
        (["--part", "network", "--data", "x"], "--part: takes no --data; a part has its fields in the matrix"),
        (["pets.yaml"], "cebctl init: Missing option '--data'; see `cebctl init --help`"),
    ],
)
def test_what_it_refuses_writes_nothing(arguments: list[str], wrong: str, call: Any, tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text("mine")
    answer = call("init", *arguments)
    assert (answer.code, answer.out) == (2, "") and answer.err.strip() == wrong
    assert (tmp_path / "parts.py").read_text() == "mine" and not list(tmp_path.glob("*.yaml"))
