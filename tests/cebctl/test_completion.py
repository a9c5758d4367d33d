"""Completion as each shell requests it, also in homes and matrices that are broken."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from cebctl.app import run
from cebctl.commands.completion import run_ids
from experiments.gpus import GPUS
from experiments.matrix.load import load
from jobs.journal.files import Journal
from jobs.journal.records import Claim, Submitted
from jobs.paths import Home

ROOT = Path(__file__).parents[2]


@pytest.fixture
def complete(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Return the completions of the last word of a command line, as bash gets them."""
    monkeypatch.chdir(tmp_path)

    def complete(*words: str) -> list[str]:
        monkeypatch.setenv("_CEBCTL_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "\n".join(["cebctl", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run([])
        output = capsys.readouterr()
        assert (ended.value.code, output.err) == (0, "")
        return [line for line in output.out.splitlines() if line]

    return complete


def test_commands_options_and_values(complete) -> None:
    assert complete("su") == ["submit"]
    assert complete("submit", "--max-g") == ["--max-gpu-hours"]
    assert complete("submit", "--on", "sl") == ["slurm"]
    assert complete("data", "fetch", "fa") == ["fashion_mnist"]
    assert set(complete("plan", "--gpu", "h")) == {name for name in GPUS if name.startswith("h")} != set()


def test_matrices_here_and_right_below(complete, tiny: Path) -> None:
    below = tiny.parent / "studies"
    below.mkdir()
    shutil.copy(tiny, below / "other.yaml")
    (tiny.parent / "other.yaml").write_text("version: 2\n")  # YAML, and no matrix
    (tiny.parent / ".#tiny.yaml").symlink_to("user@host.4711:17")  # an editor's lock
    assert complete("plan", "") == ["studies/other.yaml", "tiny.yaml"]
    assert complete("plan", "st") == ["studies/other.yaml"]
    assert complete("plan", str(below)) == [str(below / "other.yaml")]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("'obj", ["objective=", "objective!=", "objective<=", "objective>=", "objective in ("]),
        ("'objective=c", ["objective=ceb"]),
        ("'objective in (xent, c", ["objective in (xent, ceb"]),
        ("'rho<=3, objective=x", ["rho<=3, objective=xent"]),
        ("'objective=ceb, rho > ", ["objective=ceb, rho > 3", "objective=ceb, rho > 0"]),
        ("'nonsense=", []),
        ("'objective=ceb)(", []),
    ],
)
def test_selections_of_the_matrix_on_the_line(complete, tiny: Path, typed: str, offered: list[str]) -> None:
    assert complete("plan", "tiny.yaml", "--only", typed) == offered


@pytest.mark.parametrize(
    ("pieces", "offered"),
    [
        ("plan tiny.yaml --only objective =", ["xent", "ceb"]),
        ("plan tiny.yaml --only objective = c", ["ceb"]),
        ("plan tiny.yaml --only objective! = c", ["ceb"]),
        ("plan tiny.yaml --only rho = 3,objective = x", ["xent"]),
        ("plan tiny.yaml --only = objective = c", ["ceb"]),
        ("plan tiny.yaml --only = obj", ["objective=", "objective!=", "objective<=", "objective>=", "objective in ("]),
        ("plan tiny.yaml --only 'objective=c", ["objective=ceb"]),
        ("plan --only objective = ceb ti", ["tiny.yaml"]),
        ("plan here = there : ti", []),
        ("submit tiny.yaml --on = sl", ["slurm"]),
    ],
)
def test_words_as_bash_breaks_them(complete, tiny: Path, pieces: str, offered: list[str]) -> None:
    """At every = and : that stands in no quotes; what is offered replaces the last piece alone."""
    assert complete(*pieces.split()) == offered


def test_what_stands_behind_a_blank_is_an_argument_of_its_own(complete, tiny: Path) -> None:
    assert complete("plan", "--only", "objective", "=", "ceb", "") == ["tiny.yaml"]


def test_every_selection_that_is_offered_selects_something(complete, tiny: Path) -> None:
    for field in complete("plan", "tiny.yaml", "--only", ""):
        for value in complete("plan", "tiny.yaml", "--only", f"'{field}="):
            assert load(tiny).select(value).runs


@pytest.fixture
def own(tiny: Path) -> Path:
    """A matrix with parts of one's own, which end whoever imports them."""
    (tiny.parent / "parts.py").write_text(
        "raise SystemExit\n"
        "def net(image, hidden: int = 8, act: str = 'relu'): pass\n"
        "def loss(model, f, z, y, gamma, free_nats: float = 0.1): pass\n"
        "def noise(model, images, labels, rng, std: float): pass\n"
    )
    path = tiny.with_name("own.yaml")
    path.write_text(
        "base: {data: digits, optimiser: adam, epochs: 4, batch: 256, network: parts.py:net}\n"
        "grids: [{objective: parts.py:loss, rho: 1, free_nats: [0.1, 0.2], act: [relu, 'a, b = c', '3']}]\n"
        "evaluate: [clean, {from: parts.py:noise, std: [0.5, 1.5]}]\n"
    )
    return path


@pytest.mark.parametrize(
    ("option", "typed", "offered"),
    [
        ("--only", "'free", ["free_nats" + operator for operator in ("=", "!=", "<=", ">=", " in (")]),
        ("--only", "'free_nats=", ["free_nats=0.1", "free_nats=0.2"]),
        ("--only", "'objective=p", ["objective=parts.py:loss"]),
        ("--only", "'network=", ["network=parts.py:net"]),
        ("--only", "'act=", ["act=relu", 'act="a, b = c"', 'act="3"']),
        ("--again", "'no", ["noise"]),
        ("--again", "'noise, s", ["noise, std", "noise, subset"]),
        ("--again", "'noise, std=", ["noise, std=0.5", "noise, std=1.5"]),
    ],
)
def test_the_fields_of_parts_of_ones_own(complete, own: Path, option: str, typed: str, offered: list[str]) -> None:
    assert complete("plan", "own.yaml", option, typed) == offered


def test_every_selection_by_a_part_selects_something(complete, own: Path) -> None:
    for field in complete("plan", "own.yaml", "--only", ""):
        for value in complete("plan", "own.yaml", "--only", f"'{field}="):
            assert load(own).select(value).runs


@pytest.fixture
def claimed(tiny: Path, home: Path) -> list[str]:
    """The ids of the runs of `tiny`, which were submitted from this home."""
    home_paths, runs = Home(home), load(tiny).runs
    with Journal(home_paths.submission("s1")) as journal:
        journal.write(Submitted(name="s1", matrix="tiny", matrix_path=str(tiny), executor="local", code="c"))
        for run in runs:
            journal.write(Claim(run_id=run.run_id, label=run.name, stage="train", spec=msgspec.to_builtins(run.run)))
            home_paths.run(run.run_id).folder.mkdir(parents=True)
    return [run.run_id for run in runs]


def test_runs_of_the_home(claimed: list[str], complete) -> None:
    assert complete("show", "r") == sorted(claimed)
    assert complete("logs", claimed[1][:9]) == [claimed[1]]
    assert complete("report", "tiny.yaml", "--compare", "xe") == ["xent"]
    assert run_ids(claimed[1]) == [(claimed[1], "ceb rho=3")]


def test_runs_of_one_name_are_told_apart(claimed: list[str], tiny: Path, home: Path) -> None:
    other = tiny.with_name("longer.yaml")
    other.write_text(tiny.read_text().replace("epochs: 4", "epochs: 8"))
    with Journal(Home(home).submission("s2")) as journal:
        for run in load(other).runs:
            spec = msgspec.to_builtins(run.run)
            journal.write(Claim(run_id=run.run_id, label=run.name, stage="train", spec=spec))
            Home(home).run(run.run_id).folder.mkdir(parents=True)
    assert [shown for _, shown in run_ids(load(other).runs[0].run_id)] == ["xent"]
    assert {shown for _, shown in run_ids("r")} >= {"xent, epochs=8", "xent, epochs=4"}


def test_seeds_are_offered_under_one_name_too(complete, tiny: Path) -> None:
    tiny.write_text(tiny.read_text() + "seeds: [0, 1]\n")
    assert complete("report", "tiny.yaml", "--compare", "xe") == ["xent", "xent seed=0", "xent seed=1"]


def test_nothing_is_offered_and_nothing_said_where_nothing_can_be_known(complete, tiny: Path, home: Path) -> None:
    tiny.write_text("base: {dataa: digits\n")
    assert complete("plan", "tiny.yaml", "--only", "'objective=") == []
    assert "objective" in complete("plan", "tiny.yaml", "--only", "'")  # what every matrix has
    assert complete("show", "r") == []
    home.write_text("a file")
    assert complete("show", "r") == []
    assert complete("plan", "/nowhere/") == []


def test_a_completion_imports_nothing_heavy(tiny: Path, claimed: list[str]) -> None:
    script = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); " \
             "from cebctl.app import run; run([])"  # fmt: skip
    for words in ("cebctl show r", "cebctl plan tiny.yaml --only 'obj"):
        variables = {"_CEBCTL_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": words}
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tiny.parent,
                              env=os.environ | variables | {"PYTHONPATH": str(ROOT)})  # fmt: skip
        assert done.stdout
        loaded = {name.partition(".")[0] for name in done.stderr.split()}
        assert not loaded & {"torch", "sqlalchemy", "numpy", "submitit", "scipy"}


SCRIPTS = {
    "bash": "source {script}; COMP_WORDS=(cebctl {words}); COMP_CWORD={last}; _cebctl_completion cebctl; "
    "printf '%s\\n' \"${{COMPREPLY[@]}}\"",
    "fish": "source {script}; complete -C {line}",
}


@pytest.mark.parametrize(
    ("shell", "typed", "offered"),
    [
        ("bash", ["'objective=c"], "objective=ceb"),
        ("bash", ["objective", "=", "c"], "ceb"),
        ("fish", ["'objective=c"], "objective=ceb"),
        ("fish", ["objective=c"], "objective=ceb"),
    ],
)
def test_a_real_shell_completes(shell: str, typed: list[str], offered: str, tiny: Path, tmp_path: Path) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "cebctl").write_text(f'#!/bin/sh\nexec {sys.executable} -m cebctl.app "$@"\n')
    (bin / "cebctl").chmod(0o755)
    variables = os.environ | {"PATH": f"{bin}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    script = tmp_path / "script"
    script.write_text(
        subprocess.run(["cebctl"], env=variables | {"_CEBCTL_COMPLETE": f"source_{shell}"}, text=True,
                       capture_output=True, check=True).stdout
    )  # fmt: skip
    words = ["plan", "tiny.yaml", "--only", *typed]
    text = SCRIPTS[shell].format(
        script=script, words=shlex.join(words), last=len(words), line=shlex.quote(" ".join(["cebctl", *words]))
    )
    done = subprocess.run([shell, "-c", text], env=variables, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines() == [offered], done.stderr


def test_what_is_done_again(complete, tiny: Path) -> None:
    assert complete("submit", "tiny.yaml", "--again", "p") == ["pgd", "pgd_linf"]
    assert complete("plan", "tiny.yaml", "--again", "t") == ["train"]
    assert complete("submit", "tiny.yaml", "--again", "pgd,no") == ["pgd,norm"]
    assert complete("submit", "tiny.yaml", "--again", "pgd,norm=l") == ["pgd,norm=linf"]
