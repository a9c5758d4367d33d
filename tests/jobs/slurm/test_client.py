"""What Slurm says, however it says it; on a real one in tests/slurm."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import InputError, UnreachableError
from experiments.resources import Resources
from jobs.paths import Home
from jobs.provenance import Snapshot
from jobs.slurm import client, sbatch
from jobs.slurm.client import NoAnswerError, NotConfiguredError, TaskStatus


def test_elements_of_the_queue_and_of_the_accounting(says) -> None:
    says("squeue", "echo '12_3|ceb-a|RUNNING|None|2|n1|'; echo '13|single|PENDING|Priority|0||'; echo nonsense")
    says("sacct", "echo '12_3|ceb-a|CANCELLED by 1000|n1'; echo '12_4|ceb-a||'")
    assert client.query_squeue(["ceb-a"]) == [TaskStatus("ceb-a", 3, "12_3", "RUNNING", "None", 2, "n1")]
    assert client.query_sacct(["ceb-a"]) == [TaskStatus("ceb-a", 3, "12_3", "CANCELLED", "", 0, "n1")]


def test_no_accounting_is_no_answer_about_jobs(says) -> None:
    says("sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    assert client.query_sacct(["ceb-a"]) is None


def test_a_thousand_names_are_a_handful_of_calls(says, tmp_path: Path) -> None:
    says("squeue", f"echo call >> {tmp_path}/calls")
    client.query_squeue(f"ceb-{n}" for n in range(1000))
    assert (tmp_path / "calls").read_text().count("call") == 5


def test_a_command_that_hangs_is_given_up(says) -> None:
    says("squeue", "exec sleep 60")
    with pytest.raises(NoAnswerError, match=r"squeue: no answer within 0.2 s"):
        client.call(["squeue"], limit=0.2)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("slurm_load_jobs error: Socket timed out on send/recv operation", NoAnswerError),
        ("Unable to contact slurm controller (connect failure)", NoAnswerError),
        ("slurm_load_jobs error: Invalid job id specified", UnreachableError),
    ],
)
def test_silence_and_refusal_are_told_apart(says, text: str, kind: type) -> None:
    says("squeue", f"echo '{text}' >&2; exit 1")
    with pytest.raises(UnreachableError) as caught:
        client.call(["squeue"])
    assert type(caught.value) is kind and text in str(caught.value)


def test_commands_without_a_cluster_say_what_to_do(says) -> None:
    unknown = "resolve_ctls_from_dns_srv: res_nsearch error: Unknown host"
    says("scontrol", f"echo 'error: {unknown}\nfatal: Could not establish a configuration source' >&2; exit 1")
    with pytest.raises(NotConfiguredError, match="no cluster is configured; SLURM_CONF names"):
        client.call(["scontrol"])


def test_what_the_caller_set_for_slurm_does_not_reach_it(says, tmp_path: Path, monkeypatch) -> None:
    says("squeue", "env")
    conf = tmp_path / "slurm.conf"
    conf.touch()
    for name in ("SQUEUE_FORMAT", "SLURM_JOB_ID", "SLURM_CLUSTERS", "SLURM_CONF", "SLURM_JWT"):
        monkeypatch.setenv(name, str(conf))
    seen = {line for line in client.call(["squeue"]).splitlines() if line.endswith(f"={conf}")}
    assert seen == {f"SLURM_CONF={conf}", f"SLURM_JWT={conf}"}  # where Slurm is, and who asks


def test_a_banner_is_no_state_of_a_job(says) -> None:
    says("squeue", "echo 'Welcome | to the cluster'; echo 'RUNNING |2 |1:00:00 |'; echo bye")
    assert client.job_state("7_0") == ("RUNNING", 2, 3600)


@given(st.text(alphabet=st.characters(categories=("Lu",)), min_size=1))
def test_a_state_nobody_has_heard_of_is_alive(state: str) -> None:
    element = TaskStatus("a", 0, "1_0", state)
    assert element.is_final == (state in client.FINAL_STATES)


def test_reasons_in_words() -> None:
    assert "will never start" in TaskStatus("a", 0, "1_0", "PENDING", "PartitionConfig").description
    assert "training" in TaskStatus("a", 0, "1_0", "PENDING", "Dependency").description
    assert "held" in TaskStatus("a", 0, "1_0", "PENDING", "launch failed requeued held").description
    assert TaskStatus("a", 0, "1_0", "PENDING", "JobHoldMaxRequeue").has_failed_launch
    assert not TaskStatus("a", 0, "1_0", "PENDING", "JobHeldUser").has_failed_launch
    assert TaskStatus("a", 0, "1_0", "PENDING", "SomethingNew").description == "waits: SomethingNew"
    assert TaskStatus("a", 0, "1_0", "RUNNING").description == ""


POLICY = (
    "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (f"QOSMaxSubmitJobPerUserLimit\n{POLICY}", sbatch.TooManyJobsError),
        (f"AssocMaxSubmitJobLimit\n{POLICY}", sbatch.TooManyJobsError),
        (POLICY, sbatch.TooManyJobsError),
        (f"QOSMaxWallDurationPerJobLimit\n{POLICY}", InputError),
        ("Socket timed out on send/recv operation", NoAnswerError),
        ("Unable to contact slurm controller (connect failure)", UnreachableError),
        ("invalid partition specified: gpux", InputError),
    ],
)
def test_what_a_refusal_means(said: str, error: type[Exception]) -> None:
    assert type(sbatch._sbatch_error(f"sbatch: error: {said}")) is error


def test_what_comes_behind_the_work_runs_whatever_setup_asked_for(tmp_path: Path) -> None:
    array = sbatch.ArrayRequest("a", Resources(setup=["set -e"]), [0])
    script = sbatch._batch_script(Home(tmp_path), Snapshot("0" * 16, tmp_path, None), "s", array)
    work = script.index("srun ")
    runs = "srun() { return 3; }\n" + script.replace("exec ", "echo ").replace(" || exit\n", " || true\n")
    done = subprocess.run(["bash", "-c", runs], capture_output=True, text=True)
    assert work and done.stdout.rstrip().endswith("--ended 3"), done


@given(st.lists(st.integers(0, 40), unique=True, min_size=1).map(sorted))
def test_indices_as_sbatch_writes_them(indices: list[int]) -> None:
    found = []
    for part in sbatch._ranges(indices).split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    assert found == indices


@pytest.mark.parametrize(("text", "seconds"), [("0:59", 59), ("1:00:00", 3600), ("2-00:00:01", 172801), ("NONE", None)])
def test_times(text: str, seconds: int | None) -> None:
    assert client.parse_time(text) == seconds


@pytest.mark.parametrize(
    ("resources", "tasks", "cpus"),
    [
        (Resources(), 1, 1),
        (Resources(nodes=2, cpus=4), 1, 4),
        (Resources(gpus_per_node=8, cpus_per_gpu=12), 8, 12),
        (Resources(gpus_per_node=4, cpus=18), 4, 4),
        (Resources(gpus_per_node=8, cpus=2), 8, 1),
    ],
)
def test_one_task_for_each_gpu_shares_the_cores(resources: Resources, tasks: int, cpus: int, tmp_path: Path) -> None:
    array = sbatch.ArrayRequest("a", resources, [0])
    script = sbatch._batch_script(Home(tmp_path), Snapshot("0" * 16, tmp_path, None), "s", array)
    assert f"#SBATCH --ntasks-per-node={tasks}\n" in script
    assert f"#SBATCH --cpus-per-task={cpus}\n" in script and f"export OMP_NUM_THREADS={cpus}\n" in script
