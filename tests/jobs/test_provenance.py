from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import provenance
from jobs.cluster import job_environment
from jobs.errors import CodeChangedError
from jobs.home import Home


def test_a_frozen_copy_imports_alone_and_has_the_same_digests(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    snapshot = provenance.freeze(home)
    assert provenance.freeze(home) == snapshot
    script = "import jobs.provenance as p; print(p.ROOT, p.code_digest(), p.engine_digest())"
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "__init__.py").write_text("raise SystemExit('the working directory shadows the code')")
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=job_environment(home, snapshot),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [str(snapshot.folder), provenance.code_digest(), provenance.engine_digest()], (
        done.stderr
    )


def test_changed_code_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(provenance.freeze(Home(tmp_path / "home")).folder, tmp_path / "checkout")
    submitted = provenance.code_digest()
    monkeypatch.setattr(provenance, "ROOT", tmp_path / "checkout")
    provenance.verify(submitted)
    with (tmp_path / "checkout" / "jobs" / "journal.py").open("a") as file:
        file.write("\n")
    with pytest.raises(CodeChangedError, match=submitted):
        provenance.verify(submitted)


def test_a_job_inherits_nothing_that_could_mislead_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_CPU_BIND", "PYTHONPATH", "PYTHONHOME", "SUBMITIT_EXECUTOR", "CEBCTL_STORE"):
        monkeypatch.setenv(name, "x")
    found = job_environment(Home(tmp_path), provenance.Snapshot("d", tmp_path / "code", None))
    assert not {"SLURM_CPU_BIND", "PYTHONHOME", "SUBMITIT_EXECUTOR", "CEBCTL_STORE"} & set(found)
    assert found["PYTHONPATH"] == str(tmp_path / "code") and found["PYTHONSAFEPATH"] == "1"
