"""`cebctl.Study`: it says what the commands say, does what they do, and leaves the user's process as it was."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

import cebctl as package
from cebctl import Study
from experiments.errors import InputError, MatrixError, UnreachableError

README = (Path(__file__).parents[3] / "README.md").read_text()
HEAVY = {"torch", "numpy", "pandas", "sqlalchemy", "msgspec", "rich", "typer", "yaml"}


def _state_of_the_process() -> tuple[object, ...]:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask, [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)], sys.unraisablehook, sys.path


def test_it_says_and_does_what_the_commands_do(cebctl, tiny: Path, home: Path) -> None:
    before = _state_of_the_process()
    study = Study(tiny, only="objective = ceb")
    plan = study.plan()
    assert plan == json.loads(cebctl("plan", tiny, "--only", "objective = ceb", "--json").out)
    assert repr(plan) == "tiny.yaml: 2 runs: 2 new; 4 stages to submit" and not home.exists()

    done = study.submit(on="local", wait=True, progress=False)
    assert done["submitted"] == {"train": 2, "evaluate": 2} and done["counts"]["done"] == 2
    assert study.submit(wait=True)["submitted"] == {} and Study(tiny).wait()["counts"]["new"] == 1
    status = study.status()
    assert status == json.loads(cebctl("status", tiny, "--only", "objective = ceb", "--json").out)
    assert list(status.frame()[["name", "rho", "state"]].iloc[0]) == ["ceb rho=3", 3.0, "done"]

    report = json.loads(cebctl("report", tiny, "--only", "objective = ceb", "--json").out)
    told = {
        (row["axes"]["rho"], column): cell
        for row in report["tables"][0]["rows"]
        for column, cell in row["cells"].items()
    }
    frame = study.report()
    assert list(frame.columns[:4]) == ["table", "column", "objective", "rho"] and len(frame) == len(told) > 6
    for row in frame.itertuples():
        cell = told[row.rho, row.column]
        assert (row.value, row.low, row.high, row.n) == tuple(cell[name] for name in ("value", "low", "high", "n"))
    assert frame.attrs["notes"] == report["notes"]
    runs = study.frame(only="rho = 0")
    assert list(runs.columns)[:6] == ["run_id", "name", "objective", "rho", "state", "clean"]
    assert runs.clean[0] == told[0, "clean"]["value"]
    assert study.load_model("ceb rho=0").logits(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert _state_of_the_process() == before


def test_what_a_command_refuses_is_an_exception_with_its_line(cebctl, tiny: Path, home: Path) -> None:
    study = Study(tiny)
    for call, command in {
        lambda: Study(tiny.with_name("none.yaml")): ("plan", tiny.with_name("none.yaml")),
        lambda: study.plan(only="rhoo = 3"): ("plan", tiny, "--only", "rhoo = 3"),
        lambda: study.submit(again=["pdg"]): ("submit", tiny, "--again", "pdg"),
        lambda: study.submit(on="slurm"): ("submit", tiny, "--on", "slurm"),
        lambda: study.status(only="rho = 17"): ("status", tiny, "--only", "rho = 17"),
    }.items():
        answer = cebctl(*command)
        with pytest.raises((InputError, UnreachableError)) as caught:
            call()
        assert str(caught.value) == answer.err.strip()
    with pytest.raises(InputError, match=r"^on='slrum': no such executor; did you mean 'slurm'\?"):
        study.submit(on="slrum")  # type: ignore[arg-type]
    tiny.write_text(tiny.read_text().replace("digits", "digts"))
    with pytest.raises(MatrixError, match=r"tiny\.yaml:3:\d+: .*did you mean 'digits'"):
        study.status()
    assert not home.exists()


def test_what_failed_is_a_warning(tmp_path: Path, home: Path) -> None:
    matrix = tmp_path / "bad.yaml"
    matrix.write_text(
        "base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, epochs: 2, batch: 256, "
        "optimiser: {name: adam, lr: 1e30}}\ngrids: [{objective: xent}]\n"
    )
    with pytest.warns(UserWarning, match="^failed: xent, train: .* at step"):
        counts = Study(matrix).submit(on="local", wait=True, progress=False)["counts"]
    assert counts["failed"] == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Study(matrix).submit(on="local", wait=False)["submitted"] == {}


def test_without_pandas_only_the_frames_are_missing(tiny: Path) -> None:
    script = (
        "import sys; sys.modules['pandas'] = None\n"
        f"import cebctl\nstudy = cebctl.Study({str(tiny)!r})\nprint(study.plan())\n"
        "for frame in (study.report, study.frame, study.status().frame):\n"
        "    try: frame()\n    except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    needs = "needs the package pandas; install the extra: `pip install -e '.[notebook]'`"
    assert done.stdout.splitlines() == ["tiny.yaml: 3 runs: 3 new; 6 stages to submit", f"report(): {needs}",
                                        f"frame(): {needs}", f"frame(): {needs}"], done.stderr  # fmt: skip


def test_the_import_is_light_and_names_what_there_is() -> None:
    script = "import cebctl, sys; print(dir(cebctl), cebctl.__all__); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    names, modules = done.stdout.splitlines()
    assert not HEAVY & {name.partition(".")[0] for name in modules.split()}
    assert all(names.count(f"'{name}'") == 2 for name in ("Study", "load_model"))
    with pytest.raises(AttributeError, match="module 'cebctl' has no attribute 'Studdy'"):
        _ = package.Studdy


def test_the_readmes_program_runs(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [program] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    text = tiny.read_text().replace("[3, 0]", "[1, 0]") + "seeds: [0, 1]\n"
    (tiny.parent / "my.yaml").write_text(text)
    monkeypatch.chdir(tiny.parent)
    names = {"images": torch.rand(3, 1, 8, 8)}
    exec(program, names)
    assert names["study"].status()["counts"]["done"] == 4 and names["model"].image_shape == (1, 8, 8)  # type: ignore[attr-defined]
