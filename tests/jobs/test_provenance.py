from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from experiments.errors import InputError
from jobs import provenance
from jobs.errors import CodeChangedError
from jobs.job_environment import job_environment
from jobs.paths import Home


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
    with (tmp_path / "checkout" / "jobs" / "journal" / "records.py").open("a") as file:
        file.write("\n")
    with pytest.raises(CodeChangedError, match=submitted):
        provenance.verify(submitted)


def test_a_job_inherits_nothing_that_could_mislead_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_CPU_BIND", "PYTHONPATH", "PYTHONHOME", "SUBMITIT_EXECUTOR", "CEBCTL_STORE"):
        monkeypatch.setenv(name, "x")
    found = job_environment(Home(tmp_path), provenance.Snapshot("d", tmp_path / "code", None))
    assert not {"SLURM_CPU_BIND", "PYTHONHOME", "SUBMITIT_EXECUTOR", "CEBCTL_STORE"} & set(found)
    assert found["PYTHONPATH"] == str(tmp_path / "code") and found["PYTHONSAFEPATH"] == "1"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the code, which is what `provenance` looks at."""
    folder = tmp_path / "above" / "checkout"
    for package in ("experiments", "jobs"):
        shutil.copytree(provenance.ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "ROOT", folder)
    return folder


def commit(folder: Path) -> str:
    """Put all that a folder holds into a repository of its own; the commit."""
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "--allow-empty", "-m", "all"]):
        subprocess.run([*git, *arguments], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    "clutter",
    [".ipynb_checkpoints/train-checkpoint.py", ".train.py", "__pycache__/train.py", "train (copy).py", "#train.py#.py"],
)
def test_clutter_is_no_code(checkout: Path, tmp_path: Path, clutter: str) -> None:
    before = provenance.code_digest(), provenance.engine_digest()
    path = checkout / "jobs" / "engine" / clutter
    path.parent.mkdir(exist_ok=True)
    path.write_text("1 / 0")
    assert (provenance.code_digest(), provenance.engine_digest()) == before
    assert not (provenance.freeze(Home(tmp_path / "home")).folder / path.relative_to(checkout)).exists()


def test_an_editors_lock_ends_nothing(checkout: Path, tmp_path: Path) -> None:
    before = provenance.code_digest()
    for name in (".#train.py", "later.py"):
        (checkout / "jobs" / "engine" / name).symlink_to("user@host.4711:17")
    assert provenance.freeze(Home(tmp_path / "home")).digest == before


def test_the_commit_is_that_of_the_code_whatever_a_hook_says(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    other, own = commit(tmp_path / "other"), commit(checkout)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other" / ".git" / "index"))
    snapshot = provenance.freeze(Home(tmp_path / "home"))
    assert snapshot.commit != other
    assert snapshot.commit == own
    origin = msgspec.json.decode((snapshot.folder / "origin.json").read_bytes())
    assert origin["commit"] == own and origin["diff"] == ""


@pytest.mark.parametrize("ignored", [True, False])
def test_a_repository_around_an_unpacked_copy_is_not_its_own(checkout: Path, tmp_path: Path, ignored: bool) -> None:
    (checkout.parent / ".gitignore").write_text("checkout\n")
    commit(checkout.parent)
    if not ignored:
        (checkout.parent / ".gitignore").write_text("")
        subprocess.run(["git", "-C", str(checkout.parent), "add", "-A"], check=True)
    assert provenance.freeze(Home(tmp_path / "home")).commit is None


def test_a_diff_may_hold_any_bytes(checkout: Path, tmp_path: Path) -> None:
    (checkout / ".gitattributes").write_text("*.py diff\n")
    own = commit(checkout)
    with (checkout / "jobs" / "errors.py").open("ab") as file:
        file.write(b"# caf\xe9 \0 \xff\n")
    snapshot = provenance.freeze(Home(tmp_path / "home"))
    origin = msgspec.json.decode((snapshot.folder / "origin.json").read_bytes())
    assert origin["commit"] == own and "+# caf\\xe9 \0 \\xff" in origin["diff"]


INTERRUPTED = """
import os, sys
from jobs import provenance
from jobs.paths import Home
def at_the_end(event, arguments):
    if event == "open" and str(arguments[0]).endswith("origin.json"):
        {how}
sys.addaudithook(at_the_end)
provenance.freeze(Home(__import__("pathlib").Path(sys.argv[1])))
"""


@pytest.mark.parametrize("how", ["raise OSError(28, 'No space left on device')", "os.kill(os.getpid(), 9)"])
def test_nothing_is_left_of_a_snapshot_that_was_not_finished(tmp_path: Path, how: str) -> None:
    home = Home(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(how=how), str(tmp_path)], cwd=provenance.ROOT, capture_output=True
    )
    assert done.returncode in (1, -9), done.stderr
    provenance.freeze(home)
    assert [path.name for path in home.code.iterdir()] == [provenance.code_digest()]


def test_what_another_submission_is_writing_stays(tmp_path: Path) -> None:
    home = Home(tmp_path)
    stopped = INTERRUPTED.format(how="os.kill(os.getpid(), 19)")
    with subprocess.Popen([sys.executable, "-c", stopped, str(tmp_path)], cwd=provenance.ROOT) as writer:
        os.waitpid(writer.pid, os.WUNTRACED)
        provenance.freeze(home)
        assert len(list(home.code.iterdir())) == 2
        os.kill(writer.pid, 18)
        assert writer.wait(60) == 0
    assert [path.name for path in home.code.iterdir()] == [provenance.code_digest()]


def test_a_planted_snapshot_is_looked_at_before_anything_runs_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    snapshot = provenance.freeze(home)
    (snapshot.folder / "jobs" / "local" / "worker.py").write_text("print('mine')")
    with pytest.raises(InputError, match=f"{snapshot.digest}: holds other code than its name says"):
        provenance.freeze(home)
    shutil.rmtree(snapshot.folder)
    provenance.freeze(home)
    if os.geteuid() == 0:  # only root can give files away
        os.chown(snapshot.folder / "jobs" / "engine", 64_001, -1)
        with pytest.raises(InputError, match="engine: belongs to user 64001"):
            provenance.freeze(home)


@pytest.mark.parametrize("name", ["torch.py", "sitecustomize.py", "numpy/__init__.py", "jobs/signals.so", "os.pyc"])
def test_a_snapshot_with_more_than_its_name_says_is_not_run(tmp_path: Path, name: str) -> None:
    """Its folder is the first on the path of a job: each of these would be imported."""
    home = Home(tmp_path)
    snapshot = provenance.freeze(home)
    (snapshot.folder / "jobs" / "__pycache__").mkdir()
    (snapshot.folder / "jobs" / "__pycache__" / "paths.cpython-311.pyc").touch()
    (snapshot.folder / ".nfs0001").touch()
    provenance.freeze(home)
    (snapshot.folder / name).parent.mkdir(exist_ok=True)
    (snapshot.folder / name).touch()
    with pytest.raises(InputError, match=f"{snapshot.digest}: holds other code than its name says: {name}"):
        provenance.freeze(home)


@pytest.mark.parametrize("place", ["", "code", "code/{0}", "code/{0}/jobs", "code/{0}/jobs/signals.py"])
def test_no_snapshot_is_run_that_others_can_write(tmp_path: Path, place: str) -> None:
    home = Home(tmp_path / "home")
    path = home.folder / place.format(provenance.freeze(home).digest)
    path.chmod(path.stat().st_mode | 0o002)
    with pytest.raises(InputError, match=f"{path}: can be written by everybody"):
        provenance.freeze(home)


def test_a_link_stands_for_no_file_of_a_snapshot(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    file = provenance.freeze(home).folder / "jobs" / "signals.py"
    file.rename(tmp_path / "signals.py")
    file.symlink_to(tmp_path / "signals.py")
    with pytest.raises(InputError, match=r"holds other code than its name says: jobs/signals\.py"):
        provenance.freeze(home)


@pytest.mark.parametrize(
    "path",
    [
        "experiments/benchmarks.py",
        "experiments/datasets.py",
        "experiments/jump_start_checks.py",
        "experiments/lineage.py",
        "experiments/own_dataset.py",
        "experiments/spec.py",
        "jobs/datasets/image_folder.py",
        "jobs/engine/training/loop.py",
    ],
)
def test_the_engine_digest_covers_what_makes_numbers(checkout: Path, path: str) -> None:
    before = provenance.engine_digest()
    with (checkout / path).open("a") as file:
        file.write("\n")
    assert provenance.engine_digest() != before


@pytest.mark.parametrize("path", ["experiments/lineage.py", "jobs/datasets/image_folder.py", "jobs/engine"])
def test_a_part_that_is_missing_is_an_error(checkout: Path, path: str) -> None:
    (checkout / path).rename(checkout / "elsewhere")
    with pytest.raises(InputError, match=f"{path}: is a part of the code and is missing"):
        provenance.engine_digest()
