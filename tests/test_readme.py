"""The READMEs' blocks: what is shown is what is printed, and every command line in them is one that cebctl accepts."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from sklearn.datasets import load_digits

from cebctl.app import app
from experiments.matrix.load import load

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
[MATRIX] = [block for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "grids:" in block]

RUN_WITHOUT_OUTPUT = ("plan", "doctor", "data", "status", "--debug plan")
"""Those that are quick and need neither a terminal, nor a cluster, nor runs."""


def _shown() -> Iterator[tuple[str, str]]:
    """(command, output) of every command of the README's blocks; those of the demo are run by `make demo` in CI."""
    for block in BLOCKS:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            command = re.sub(r"\s+# .*", "", command)
            if command.startswith("cebctl"):
                yield command, output.strip()


COMMANDS = [one.strip() for command, _ in _shown() for one in command.split("; ")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a reader stands: the matrix as my.yaml, the matrices of the checkout, a folder of 100 images."""
    (tmp_path / "my.yaml").write_text(MATRIX)
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    (tmp_path / "cebctl").write_text(f'#!/bin/sh\nexec {sys.executable} -m cebctl.app "$@"\n')
    (tmp_path / "cebctl").chmod(0o755)
    digits = load_digits()
    for number in range(100):
        inside = tmp_path / "pets" / str(digits.target[number])
        inside.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 15.9375).astype(np.uint8)).save(inside / f"{number}.png")
    return tmp_path


def _run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "CEBCTL_DATA": str(folder / "data")}
    return subprocess.run(
        ["bash", "-c", f"{command} 2>&1"], cwd=folder, env=os.environ | variables, text=True, stdout=subprocess.PIPE
    )


def _pattern(shown: str) -> str:
    """`…` stands for anything on a line."""
    return ".*".join(map(re.escape, shown.split("…")))


@pytest.mark.parametrize(("command", "shown"), [pytest.param(*one, id=one[0]) for one in _shown() if one[1]])
def test_what_is_shown_is_what_is_printed(command: str, shown: str, folder: Path) -> None:
    assert re.fullmatch(_pattern(shown), _run(command, folder).stdout.strip())


QUICK = [one for one in COMMANDS if one.removeprefix("cebctl ").startswith(RUN_WITHOUT_OUTPUT) and "--watch" not in one]
SILENT = {one for command, output in _shown() if not output for one in command.split("; ")}


@pytest.mark.parametrize("command", sorted(SILENT & set(QUICK)))
def test_what_is_quick_runs(command: str, folder: Path) -> None:
    done = _run(command, folder)
    assert done.returncode in (0, 4), done.stdout


def _every_command_line() -> Iterator[str]:
    """In the blocks and the texts of every README."""
    for path in (ROOT / "README.md", *ROOT.glob("*/README.md"), ROOT / "jobs/engine/README.md"):
        text = path.read_text()
        found = re.findall(r"`(cebctl [^`;#…]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        yield from (" ".join(one.split()) for one in found)
    yield from COMMANDS


@pytest.mark.parametrize("command", sorted(set(_every_command_line())))
def test_every_command_line_is_one(command: str) -> None:
    if "plna" in command:  # the README shows what comes of it
        return
    group: Any = typer.main.get_command(app)
    words = shlex.split(command.replace("[", "").replace("]", ""))[1:]
    context = group.make_context("cebctl", [word for word in words if "completion" not in word], resilient_parsing=True)
    while hasattr(group, "commands"):
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        _, group, words = group.resolve_command(context, rest)
    unknown = [word for word in words if word.startswith("-") and word.split("=")[0] not in _options(group)]
    assert not unknown


def _options(command: Any) -> set[str]:
    return {"--help", "-h", *(option for parameter in command.params for option in parameter.opts)}


def test_the_matrix_is_one(folder: Path) -> None:
    assert len(load(folder / "my.yaml").runs) == 3 * (1 + 2 * 13)
