"""A user's own `experiments/`, `jobs/`, `store/` or `cebctl/` beside ours, for the command line and in scripts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cebctl_command import PACKAGES, ROOT

SCRIPT = [str(Path(sys.executable).with_name("cebctl"))]
MODULE = [sys.executable, "-m", "cebctl"]


def _write_shadows(folder: Path, names: tuple[str, ...], *, modules: bool = False) -> None:
    """Write packages, or modules, that can't be imported without notice."""
    for name in names:
        file = folder / (f"{name}.py" if modules else f"{name}/__init__.py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("raise SystemExit('this is the user\\'s own')\n")


def _run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=os.environ | {"COLUMNS": "200"} | environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("modules", [False, True], ids=["packages", "modules"])
@pytest.mark.parametrize(
    ("command", "names"), [(SCRIPT, PACKAGES), (MODULE, PACKAGES[1:])], ids=["console script", "python -m"]
)
def test_the_command_does_its_work_beside_them(
    command: list[str], names: tuple[str, ...], modules: bool, tiny: Path, home: Path
) -> None:
    _write_shadows(tiny.parent, names, modules=modules)
    path = {"PYTHONPATH": str(tiny.parent), "CEBCTL_CACHE": str(tiny.parent / "cache")}
    # A network that no table has: it is counted by a process of its own.
    tiny.write_text(tiny.read_text().replace("width: 4", "width: 5"))
    plan = _run([*command, "plan", tiny.name, "--json"], tiny.parent, **path)
    assert plan.returncode == 0 and len(json.loads(plan.stdout)["runs"]) == 3, plan.stderr
    only = "--only", "objective = xent"
    done = _run([*command, "submit", tiny.name, *only, "--on", "local", "--wait"], tiny.parent, **path)
    assert done.returncode == 0, done.stderr
    report = _run([*command, "report", tiny.name, *only, "--json"], tiny.parent, **path)
    assert json.loads(report.stdout)["tables"][0]["rows"][0]["cells"]["clean"]["n"] == 360


@pytest.mark.parametrize("name", PACKAGES[1:])
@pytest.mark.parametrize("modules", [False, True], ids=["package", "module"])
def test_in_a_script_it_is_one_line_that_names_the_place(name: str, modules: bool, tmp_path: Path) -> None:
    _write_shadows(tmp_path, (name,), modules=modules)
    script = tmp_path / "study.py"
    script.write_text("import cebctl\n")
    done = _run([sys.executable, script.name], tmp_path)
    place = tmp_path / (f"{name}.py" if modules else name)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and last.startswith(f"ImportError: {place}: hides the package '{name}' of cebctl; ")


THEIRS = "import sys; sys.path.insert(0, 'theirs'); import jobs"


@pytest.mark.parametrize("program", [f"{THEIRS}, cebctl", f"import cebctl; {THEIRS}; cebctl.Study"])
def test_their_own_that_is_imported_before_or_after_is_named_too(program: str, tmp_path: Path) -> None:
    (tmp_path / "theirs/jobs").mkdir(parents=True)
    (tmp_path / "theirs/jobs/__init__.py").write_text("")
    done = _run([sys.executable, "-c", program], tmp_path)
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: {tmp_path}/theirs/jobs: hides"), done.stderr


def test_a_folder_that_is_no_package_and_a_module_of_theirs_hide_nothing(tmp_path: Path) -> None:
    """Nor does `python -m` of a module of theirs that imports cebctl take their own packages from them."""
    for name in PACKAGES[1:]:
        (tmp_path / name).mkdir()
    (tmp_path / "study.py").write_text("import cebctl, store\nprint(store.__file__)\n")
    for command in ("study.py",), ("-m", "study"):
        done = _run([sys.executable, *command], tmp_path)
        assert done.stdout.strip() == str(ROOT / "store/__init__.py"), done.stderr
    _write_shadows(tmp_path, ("store",))
    done = _run([sys.executable, "-m", "study"], tmp_path)
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: {tmp_path / 'store'}: hides")
