"""The batch script of an array, whose text a private function of submitit writes."""

import os
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from experiments.errors import InputError
from experiments.resources import Resources
from jobs import provenance
from jobs.local import launch
from jobs.paths import Home
from jobs.provenance import Snapshot
from jobs.slurm import sbatch
from jobs.slurm.client import NoAnswerError

SCRIPT = """\
#!/bin/bash

# Parameters
#SBATCH --array=0-2,5%2
#SBATCH --comment='it'"'"'s mine'
#SBATCH --cpus-per-task=8
#SBATCH --dependency=afterany:7
#SBATCH --exclude=n1,n2
#SBATCH --export=ALL
#SBATCH --gpus-per-node=a100:4
#SBATCH --job-name=ceb-train
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --mem=64G
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --open-mode=append
#SBATCH --output=/home/x/workers/sub/%A_%a_0_log.out
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --time=2:00:00

# setup
export PYTHONPATH=/code
export PYTHONSAFEPATH=1
export PYTHONUNBUFFERED=1
export CEBCTL_HOME=/home/x
export CEBCTL_DATA=/data
export OMP_NUM_THREADS=8
module load cuda
CHECK || exit
set +e

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /home/x/workers/sub/%A_%a_%t_log.out --kill-on-bad-exit=1 --cpus-per-task=8 --export=ALL \
PYTHON -m jobs.slurm.array_task /home/x sub ceb-train


# teardown
code=$?
exec PYTHON -m jobs.slurm.array_task /home/x sub ceb-train --ended "$code"
"""


def test_the_batch_script_of_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "PYTHON")
    monkeypatch.setenv("CEBCTL_DATA", "/data")
    for name in ("CEBCTL_SHARED", "LD_LIBRARY_PATH", "KRB5CCNAME", "SLURM_JWT"):
        monkeypatch.delenv(name, raising=False)
    resources = Resources(
        partition="gpu",
        nodes=2,
        gpus_per_node=4,
        gpu_type="a100",
        cpus=32,
        memory="64G",
        time="2:00:00",
        setup=("module load cuda",),
        directives=("comment=it's mine",),
    )
    array = sbatch.ArrayRequest("ceb-train", resources, [0, 1, 2, 5], 2, ["afterany:7"], ["n1", "n2"])
    home, snapshot = Home(Path("/home/x")), Snapshot("d" * 16, Path("/code"), None)
    check = sbatch._snapshot_check(home, snapshot)
    script = sbatch._batch_script(home, snapshot, "sub", array).replace(check, "CHECK")
    assert script.splitlines() == SCRIPT.splitlines()


def test_the_batch_script_runs_no_code_that_changed_since_it_was_sent(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    snapshot = provenance.freeze(home)

    def ran() -> str:
        array = sbatch.ArrayRequest("a", Resources(setup=("srun() { echo ran; }",)), [0])
        script = sbatch._batch_script(home, snapshot, "sub", array)
        # A planted folder on the path must not reach the check itself.
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(["bash"], input=script, capture_output=True, text=True, env=environment)
        return done.stdout.strip() or done.stderr.strip()

    (tmp_path / "hashlib.py").write_text("print('planted')")
    assert ran() == "ran"
    (snapshot.folder / "jobs" / "slurm" / "array_task.py").write_text("print('planted')")
    assert ran() == (
        f"the code of this job is not run: {snapshot.folder}: holds other code than its name says; "
        "remove it: `cebctl submit` makes it again"
    )
    shutil.rmtree(snapshot.folder)
    provenance.freeze(home)
    home.folder.chmod(0o777)
    assert "can be written by everybody" in ran()


def test_no_script_is_written_where_somebody_else_could_change_it(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    snapshot = provenance.freeze(home)
    home.workers("").mkdir()
    home.workers("").chmod(0o707)
    with pytest.raises(InputError, match="workers: can be written by everybody"):
        sbatch.submit_array(home, snapshot, "sub", sbatch.ArrayRequest("a", Resources(), [0]))
    with pytest.raises(InputError, match="workers: can be written by everybody"):
        launch.launch_local(home, snapshot, "sub", 1)


def test_a_new_minor_version_of_submitit_is_refused() -> None:
    """Its private function may change in any: raise the bound together with the text above."""
    requirements = map(Requirement, metadata.requires("cebctl") or ())
    [submitit] = [requirement for requirement in requirements if requirement.name == "submitit"]
    assert submitit.specifier.contains(metadata.version("submitit"))
    minor = Version(metadata.version("submitit"))
    assert not submitit.specifier.contains(f"{minor.major}.{minor.minor + 1}")


BANNER = "Welcome to the cluster of 2026\\n  maintenance: 12 December\\n"


def _submit(home: Path, resources: Resources | None = None, exclude: tuple[str, ...] = ()) -> str:
    home.mkdir(exist_ok=True)
    array = sbatch.ArrayRequest("ceb-a", resources or Resources(), [0], exclude_nodes=exclude)
    return sbatch.submit_array(Home(home), Snapshot("d" * 16, Path("/code"), None), "sub", array).executor_id


@pytest.mark.parametrize(
    "answer", ["4711", "4711;b", BANNER + "4711", "4711\\n\\n" + BANNER, "Submitted batch job 4711", " \\n4711;b.c\\r"]
)
def test_the_id_is_looked_for_in_the_answer(says, home: Path, answer: str) -> None:
    says("sbatch", f"printf '{answer}\\n'")
    assert _submit(home) == "4711"


@pytest.mark.parametrize("answer", ["12\\n4711", "job accepted", ""])
def test_where_the_answer_names_no_job_the_queue_does(says, home: Path, answer: str) -> None:
    says("sbatch", f"printf '{answer}\\n'")
    says("squeue", "echo '4711_0|ceb-a|PENDING|None|0||'; echo '4711_1|ceb-a|PENDING|None|0||'")
    assert _submit(home) == "4711"


def test_an_answer_that_names_no_job_is_shown(says, home: Path) -> None:
    says("sbatch", "echo 'Have a nice day'; printf '%0500d' 0")
    says("squeue", "")
    with pytest.raises(NoAnswerError, match=r"the queue none of ceb-a: 'Have a nice day 0+'$") as caught:
        _submit(home)
    assert len(str(caught.value)) < 300


def test_what_sbatch_needs_to_be_called_reaches_it_and_not_the_job(
    says, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("SLURM_JWT", "LD_LIBRARY_PATH", "KRB5CCNAME")
    for name in (*names, "SBATCH_PARTITION", "SLURM_CLUSTERS"):
        monkeypatch.setenv(name, f"/it's {name}")
    says("sbatch", f"env > {tmp_path}/env; echo 7")
    _submit(home)
    variables = dict(line.partition("=")[::2] for line in (tmp_path / "env").read_text().splitlines())
    assert [variables.get(name) for name in names] == [f"/it's {name}" for name in names]
    assert not {"SBATCH_PARTITION", "SLURM_CLUSTERS"} & variables.keys()
    (script,) = home.glob("workers/*/ceb-a.sh")
    text = script.read_text()
    assert "it's SLURM_JWT" not in text  # a secret
    setup = text[: text.rindex("\n", 0, text.index(" -I -c "))] + "\nenv\n"  # without the check of the snapshot
    shown = subprocess.run(["/bin/bash", "-c", setup], env=variables, capture_output=True, text=True).stdout
    assert "PATH=" in shown and not any(f"{name}=" in shown for name in names)
    variables["KRB5CCNAME"] = "FILE:/of/the/node"
    shown = subprocess.run(["/bin/bash", "-c", setup], env=variables, capture_output=True, text=True).stdout
    assert "KRB5CCNAME=FILE:/of/the/node" in shown


@pytest.mark.parametrize(
    ("directives", "ours", "line"),
    [
        (("exclude=n[1-2]",), ("n7",), "n[1-2],n7"),
        (("exclude=n1,n2",), (), "n1,n2"),
        ((), ("n7", "n8"), "n7,n8"),
    ],
)
def test_nodes_that_the_user_excludes_stay_excluded(
    says, home: Path, directives: tuple[str, ...], ours: tuple[str, ...], line: str
) -> None:
    says("sbatch", "echo 7")
    _submit(home, msgspec.convert({"directives": directives}, Resources), ours)
    (script,) = home.glob("workers/*/ceb-a.sh")
    (shown,) = [row for row in script.read_text().splitlines() if "--exclude" in row]
    assert shlex.split(shown.removeprefix("#SBATCH ")) == [f"--exclude={line}"]


@pytest.mark.parametrize("home", ["/a%b", "/50%", "/%A_%a/%u", "/a\\b"])
def test_a_home_that_slurm_takes_for_a_pattern_is_refused(home: str) -> None:
    array = sbatch.ArrayRequest("t", Resources(), [0])
    with pytest.raises(InputError, match=r"CEBCTL_HOME: .*for a pattern; name a folder without it"):
        sbatch._batch_script(Home(Path(home)), Snapshot("d" * 16, Path("/code"), None), "sub", array)
