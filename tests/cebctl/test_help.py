"""Help teaches: two examples of every command that can be called as they stand, the shared options, the defaults."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from cebctl.app import app
from experiments.matrix.load import load

ROOT = Path(__file__).parents[2]


def _commands(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{name} {word}")
        else:
            yield f"{name} {word}", command


ROOT_COMMAND: Any = typer.main.get_command(app)
EXAMPLES = (ROOT / "experiments" / "digits.yaml",)
"""The matrices that the examples are about."""
COMMANDS = dict(_commands(ROOT_COMMAND, "cebctl"))


def _examples(command: Any) -> list[str]:
    return re.findall(r"^Example: `(.+)`$", command.help, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_two_examples_that_it_accepts(name: str) -> None:
    examples = _examples(COMMANDS[name])
    assert len(examples) >= 2
    for example in examples:
        assert example.startswith(name)
        COMMANDS[name].make_context(name, shlex.split(example.removeprefix(name)))
        matrices = [word for word in shlex.split(example) if word.startswith("experiments/")]
        assert all((ROOT / matrix).is_file() for matrix in matrices)


RUNS = {run.run_id: run.name for path in EXAMPLES for run in load(path).runs}


@pytest.mark.parametrize("name", [name for name in COMMANDS if any(p.metavar == "RUN" for p in COMMANDS[name].params)])
def test_runs_of_the_examples_exist(name: str) -> None:
    for example in _examples(COMMANDS[name]):
        run = COMMANDS[name].make_context(name, shlex.split(example.removeprefix(name))).params["run"]
        assert run in RUNS.values() or sum(run_id.startswith(run) for run_id in RUNS) == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is_for_and_the_shared_ones_are_there(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {"--verbose", "-v", "--quiet", "-q", "--plain", "--debug"} <= options
    assert all(parameter.help for parameter in COMMANDS[name].params)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_every_word_as_it_is_written(call, name: str) -> None:
    """Markdown takes `<class>` for a tag of HTML and leaves it out."""
    command = COMMANDS[name]
    shown = set(re.sub("[╭╮╰╯─│]", " ", call(*name.split()[1:], "--help").out).split())
    everywhere = {"verbose", "quiet", "plain", "debug"}
    written = " ".join([command.help, *(option.help for option in command.params if option.name not in everywhere)])
    assert set(re.sub("[`*]", "", written).split()) <= shown


def test_help_shows_defaults_and_groups(cebctl) -> None:
    words = " ".join(re.sub("[╭╮╰╯─│]", " ", cebctl("submit", "--help").out).split())
    for text in ("Which runs", "Where and how it runs", "cebctl --help has", "[default: (one per core)]", "CEBCTL_ON"):
        assert text in words


@pytest.mark.parametrize("arguments", [(), ("plan",), ("data",), ("data", "fetch")])
def test_flags_have_no_type_and_shared_options_stand_once(call, arguments: tuple[str, ...]) -> None:
    shown = call(*arguments, "--help").out
    assert "<bool>" not in shown and ("Show an error's traceback" in shown) == (not arguments)


@pytest.mark.parametrize("how", [("--plain",), ("TERM=dumb",)])
def test_help_without_frames(cebctl, how: tuple[str]) -> None:
    variables = dict(word.split("=") for word in how if "=" in word)
    answer = cebctl("plan", "--help", *(word for word in how if "=" not in word), **variables)
    assert answer.out.isascii()
    assert "  --only SELECTION" in answer.out
