"""The plan: arrays, hours and their basis, disk, memory, what changed; and that it leaves no trace."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cebctl.planning.plan import Plan, make_plan
from cebctl.status.collect import open_home
from cebctl.submission.job_arrays import ScheduledJob, wall_hours
from experiments import benchmarks
from experiments.errors import InputError
from experiments.identity import evaluation_id
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix
from jobs import checkpoint_files
from jobs.journal.files import Journal
from jobs.journal.records import (
    NOBODY,
    AnyRecord,
    Checkpointed,
    Claim,
    Failed,
    Heartbeat,
    Measure,
    Released,
    Result,
    Started,
    Submitted,
    Succeeded,
)
from jobs.paths import STAGES, Home, Stage
from store.ingest import ingest

ROOT = Path(__file__).parents[3]
BASE = "base: {data: digits, network: {name: small_cnn, width: 32}, optimiser: adam, epochs: 60, batch: 128}\n"
EVALUATE = "evaluate: [clean, pgd: {norm: linf, eps: 0.1}]\n"
GRIDS = "grids: [{objective: [xent]}, {objective: ceb, rho: [3, 1]}]\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Matrix]:
    def write(text: str) -> Matrix:
        path = tmp_path / "m.yaml"
        path.write_text(text)
        return load(path)

    return write


@pytest.fixture
def here(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def _submit(home: Home, matrix: Matrix, name: str = "s1", runs: int | None = None) -> None:
    """The journal of a submission whose workers are gone."""
    with Journal(home.submission(name)) as journal:
        path = str(matrix.path.absolute())
        journal.write(Submitted(name=name, matrix=matrix.name, matrix_path=path, executor="local", code="c"))
        for run in matrix.runs[:runs]:
            spec = msgspec.to_builtins(run.run)
            journal.write(Claim(run_id=run.run_id, label=run.name, stage="train", spec=spec))
            benchmarks = list(run.benchmarks)
            journal.write(Claim(run_id=run.run_id, label=run.name, stage="evaluate", spec=spec, benchmarks=benchmarks))


def _train(home: Home, matrix: Matrix, index: int, speed: float, gpu: str | None = None) -> None:
    paths = home.run(matrix.runs[index].run_id)
    with Journal(paths.journal("train", 1)) as journal:
        journal.write(Started(submission="s1"), Heartbeat(step=1, steps=1, images_per_second=speed), Succeeded())
    paths.provenance.write_bytes(msgspec.json.encode({"gpu": gpu} if gpu else {}))


def test_one_array_for_each_set_of_resources_evaluations_behind_their_training(write, here: Home) -> None:
    matrix = write(BASE + GRIDS + "evaluate: [clean]\nresources:\n  train: {gpus_per_node: 2, gpu_type: a100}\n"
                   "  when: [{only: rho < 3, train: {nodes: 2}}]\n")  # fmt: skip
    plan = make_plan(matrix, here)
    assert [(a.name, a.stage, len(a.run_ids), a.resources.gpus, a.after) for a in plan.job_arrays] == [
        ("train-1", "train", 2, 2, None), ("train-2", "train", 1, 4, None),
        ("evaluate-1", "evaluate", 2, 0, "train-1"), ("evaluate-2", "evaluate", 1, 0, "train-2"),
    ]  # fmt: skip
    by_name = {array.name: array for array in plan.job_arrays}
    for array in plan.job_arrays:  # aftercorr pairs elements by their index
        assert array.after is None or by_name[array.after].run_ids == array.run_ids


def test_what_extends_a_run_in_training_is_planned(write, here: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = "variants: {short: {epochs: 2}, long: {epochs: 4, extends: [2]}}\n"
    matrix = write(BASE.replace(", epochs: 60", "") + chain + "grids: [{objective: xent, variants: [short, long]}]\n")
    short, long = matrix.runs
    _submit(here, matrix.select("epochs = 2"))
    monkeypatch.setattr("cebctl.status.liveness.Liveness.is_claim_alive", lambda *_: True)
    plan = make_plan(matrix, here)
    assert [run.planned.run_id for run, _ in plan.pending] == [long.run_id] and not plan.missing_parents
    monkeypatch.setattr("cebctl.status.liveness.Liveness.is_claim_alive", lambda *_: False)
    assert [run.planned.run_id for run, _ in make_plan(matrix, here).pending] == [short.run_id, long.run_id]


def test_runs_already_trained_wait_for_nothing(write, here: Home) -> None:
    matrix = write(BASE + GRIDS + "evaluate: [clean]")
    _submit(here, matrix)
    _train(here, matrix, 1, 100.0)
    found = [(array.stage, array.run_ids, array.after) for array in make_plan(matrix, here).job_arrays]
    others = [matrix.runs[0].run_id, matrix.runs[2].run_id]
    assert ("train", others, None) in found and ("evaluate", others, "train-1") in found
    assert ("evaluate", [matrix.runs[1].run_id], None) in found


def test_hours_are_measured_where_they_can_be(write, here: Home) -> None:
    matrix = write(BASE + GRIDS + EVALUATE)
    before = make_plan(matrix, here).estimates
    assert {estimate.basis for estimate in before} == {"counted"}
    # 464,896 multiplications, three passes, 1,437 images, 60 epochs, 10 GFLOP/s
    assert before[0].train_hours == pytest.approx(2 * 464_896 * 3 * 1437 * 60 / 10e9 / 3600)
    _submit(here, matrix)
    _train(here, matrix, 0, 1000.0)
    after = make_plan(matrix, here).estimates
    assert {estimate.basis for estimate in after} == {"measured"}
    assert after[2].train_hours == pytest.approx(1437 * 60 / 1000 / 3600)
    slower = after[0].train_hours / before[0].train_hours
    assert 0 < after[0].evaluate_hours == pytest.approx(slower * before[0].evaluate_hours)


def test_a_speed_counts_on_its_own_kind_of_gpu_alone(write, here: Home) -> None:
    matrix = write(BASE + GRIDS + EVALUATE + "resources: {train: {gpus_per_node: 1, gpu_type: a100-80gb}}")
    before = make_plan(matrix, here).estimates[0]
    _submit(here, matrix)
    _train(here, matrix, 0, 1000.0, gpu="NVIDIA A100-SXM4-80GB")
    assert make_plan(matrix, here).estimates[0].basis == "measured"
    assert make_plan(matrix, here, gpu="h100").estimates[0].basis == "counted"
    assert make_plan(matrix, here).estimates[0].evaluate_hours == before.evaluate_hours > 0, "on the CPU"


def test_benchmarks_without_evaluator_are_named_and_not_submitted(write, here: Home, monkeypatch) -> None:
    monkeypatch.setattr(benchmarks, "NO_EVALUATOR", (benchmarks.Information,))
    plan = make_plan(write(BASE + GRIDS + "evaluate: [clean, information: {samples: 77}]"), here)
    assert {len(stage.missing) for _, stage in plan.pending if stage.stage == "evaluate"} == {1}
    assert plan.unavailable_benchmarks == ["information"]
    none_left = make_plan(write(BASE + GRIDS + "evaluate: [information: {samples: 77}]"), here)
    assert {stage.stage for _, stage in none_left.pending} == {"train"}
    assert none_left.to_json()["benchmarks"][0]["unavailable"] == "no evaluator in this version"


def test_a_network_that_is_in_no_table_is_counted(write, here: Home) -> None:
    plan = make_plan(write(BASE.replace("32", "5") + GRIDS), here)
    assert plan.estimates[0].train_hours > 0
    assert not here.folder.exists()


def test_an_unknown_gpu_is_the_users_error(write, here: Home) -> None:
    with pytest.raises(InputError, match="no figures of a GPU 'tpu'"):
        make_plan(write(BASE + GRIDS), here, gpu="tpu")


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory) -> Plan:
    home = Home(tmp_path_factory.mktemp("imagenet") / "home")
    return make_plan(load(ROOT / "experiments" / "imagenet.yaml"), home, gpu="a100-40gb", gpus=256)


def test_the_86_runs_are_14_families(imagenet: Plan) -> None:
    assert sorted(len(family.runs) for family in imagenet.families) == [1] * 6 + [10] * 8
    assert all(family.varied_axes.keys() <= {"rho"} for family in imagenet.families)
    assert imagenet.hours == pytest.approx(sum(family.hours for family in imagenet.families))
    assert imagenet.disk_bytes / 1e9 == pytest.approx(75, abs=5)


def test_the_fields_of_parts_of_ones_own_tell_families_apart(here: Home, write, tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(
        "def net(image, depth_: int = 2): pass\ndef loss(model, f, z, y, gamma, k: int): pass"
    )
    base = "base: {data: digits, optimiser: adam, epochs: 60, batch: 128, network: parts.py:net}\n"
    matrix = write(base + "grids: [{objective: parts.py:loss, rho: 1, k: [1, 2], depth_: [3, 4]}]\n")
    families = make_plan(matrix, here).families
    assert [(family.axes["depth_"], len(family.runs)) for family in families] == [(3, 2), (4, 2)]


def test_what_does_not_fit_a_gpu_is_said(here: Home, write) -> None:
    text = (ROOT / "experiments" / "imagenet.yaml").read_text().replace("train: {nodes: 8}", "train: {nodes: 4}")
    plan = make_plan(write(text.replace("  replica_batch: 128\n", "")), here, gpu="a100-40gb")
    unfit = {run.planned.axes["depth"] for run, e in zip(plan.runs, plan.estimates, strict=True) if not e.fits}
    assert unfit == {152}
    assert {e.batch_per_gpu for e in plan.estimates if not e.fits} == {256}
    in_parts = make_plan(write(text.replace("  replica_batch: 128\n", "  replica_batch: 64\n")), here, gpu="a100-40gb")
    assert {(e.batch_per_gpu, e.fits) for e in in_parts.estimates} == {(64, True)}


# --- the time it takes ---


def test_wall_clock() -> None:
    trains = [ScheduledJob(f"r{i}", "train", 2.0, 1) for i in range(4)]
    judged = [ScheduledJob(f"r{i}", "evaluate", 1.0, 1) for i in range(4)]
    assert wall_hours([], 4) == 0
    assert wall_hours(trains, 2) == 4
    assert wall_hours(trains + judged, 4) == 3
    assert wall_hours(judged, 4) == 1
    assert (
        wall_hours(
            [*trains[:2], ScheduledJob("c", "train", 1.0, 1, extends="r0"), ScheduledJob("c", "evaluate", 1.0, 1)], 4
        )
        == 4
    )
    assert wall_hours([ScheduledJob("a", "train", 3.0, 4), ScheduledJob("b", "train", 1.0, 4)], 4) == 4
    assert wall_hours([ScheduledJob("a", "train", 1.0, 8)], 4) == 2


JOBS = st.lists(st.tuples(st.floats(0.1, 9), st.integers(0, 4)), min_size=1, max_size=12)


@given(sizes=JOBS, gpus=st.integers(1, 9))
def test_wall_clock_is_bounded(sizes: list[tuple[float, int]], gpus: int) -> None:
    jobs = [ScheduledJob(f"r{i}", "train", hours, asked) for i, (hours, asked) in enumerate(sizes)]
    work = sum(job.hours * max(job.gpus, 1) for job in jobs)
    longest = max(job.hours * max(job.gpus, 1) / min(max(job.gpus, 1), gpus) for job in jobs)
    assert max(work / gpus, longest) <= wall_hours(jobs, gpus) * (1 + 1e-9)
    assert wall_hours(jobs, gpus) <= work * (1 + 1e-9)


# --- what is left of what began ---


def _interrupt(home: Home, matrix: Matrix, index: int, *steps: int, ended: AnyRecord | None = None) -> None:
    """An attempt of 660 steps that wrote these checkpoints; without a last word, its process is gone."""
    paths = home.run(matrix.runs[index].run_id)
    with Journal(paths.journal("train", 1)) as journal:
        journal.write(Started(submission="s1"), Heartbeat(step=650, steps=660, epochs=60.0))
        for step in steps:
            file = checkpoint_files.write(paths.checkpoints, step, lambda file: file.write(b"x"))
            journal.write(Checkpointed(step=step, file=file.name, seconds=0.0))
        journal.write(*([ended] if ended else []))


def test_of_a_run_that_goes_on_only_the_rest_is_to_do(write, here: Home) -> None:
    matrix = write(BASE + GRIDS)
    _submit(here, matrix)
    _interrupt(here, matrix, 0, 165, 330)
    _interrupt(here, matrix, 1)
    _interrupt(here, matrix, 2, 495, ended=Failed(error="loss is nan", kind="nan"))
    whole = make_plan(matrix, here).estimates[0].train_hours
    hours = {job.run_id: job.hours for job in make_plan(matrix, here, retry_failed=True).pending_jobs}
    assert [hours[run.run_id] / whole for run in matrix.runs] == pytest.approx([0.5, 1.0, 0.25])
    for file in here.run(matrix.runs[0].run_id).checkpoints.iterdir():
        file.unlink()  # whatever the journal says: it begins anew
    assert make_plan(matrix, here).hours_to_do == pytest.approx(2 * whole)


def test_what_is_left_is_what_the_limit_is_held_against(call, write, here: Home, monkeypatch) -> None:
    monkeypatch.setenv("CEBCTL_HOME", str(here.folder))
    matrix = write(BASE.replace("60", "60000") + "grids: [{objective: xent}]\nresources: {train: {gpus_per_node: 1}}\n")
    _submit(here, matrix)
    whole = make_plan(matrix, here).hours_to_do
    refused = call("submit", matrix.path, "--max-gpu-hours", whole / 2)
    assert refused.code == 2 and "GPU-hours" in refused.err
    _interrupt(here, matrix, 0, 659_000)
    plan = call("plan", matrix.path, "--json")
    assert json.loads(plan.out)["totals"]["gpu_hours_to_do"] == pytest.approx(whole / 660)
    assert "of xent, which goes on from its checkpoint, only what is left is to do" in call("plan", matrix.path).out


def test_of_an_evaluation_only_what_is_missing_is_to_do(write, here: Home) -> None:
    matrix = write(BASE + "grids: [{objective: xent}]\n" + EVALUATE)
    _submit(here, matrix)
    _train(here, matrix, 0, 100.0)
    whole = make_plan(matrix, here).hours_to_do
    (run,) = matrix.runs
    for number, benchmark in enumerate(run.benchmarks, 1):
        with Journal(here.run(run.run_id).journal("evaluate", number)) as journal:
            evaluation = evaluation_id(benchmark, "digits")
            measures = [Measure(name="accuracy", unit="accuracy", total=360, correct=1)]
            result = {"data_digest": "d", "checkpoint_step": 1, "engine": "e", "measures": measures}
            journal.write(Started(submission="s1"), Result(evaluation_id=evaluation, benchmark=benchmark, **result))
        share = {1: 41 / 42, 2: 0.0}[number]  # passes over the images: one for clean, 2 x 20 + 1 for PGD
        assert make_plan(matrix, here).hours_to_do == pytest.approx(whole * share)


# --- what changed ---


@pytest.mark.parametrize("stages", [STAGES, ("evaluate",), ("train",)])
def test_what_was_cancelled_was_asked_for_all_the_same(write, here: Home, stages: tuple[Stage, ...]) -> None:
    matrix = write(BASE + GRIDS + EVALUATE)
    _submit(here, matrix)
    with Journal(here.submission("s2")) as journal:
        path = str(matrix.path.absolute())
        journal.write(Submitted(name="s2", matrix=matrix.name, matrix_path=path, executor=NOBODY, code=""))
        for run in matrix.runs:
            released = [Released(submission="s1", run_id=run.run_id, stage=stage, reason="") for stage in stages]
            journal.write(*released)
    changes = make_plan(matrix, here, diff=True).changes
    assert changes is not None and changes.last_submitted is not None
    assert not (changes.added or changes.removed or changes.changed)
    assert not (changes.added_benchmarks or changes.removed_benchmarks)
    shorter = make_plan(write(BASE + GRIDS + "evaluate: [clean]"), here, diff=True).changes
    assert shorter is not None and shorter.removed_benchmarks == ("pgd linf eps=0.1,n=20",)


def test_nothing_changed(write, here: Home) -> None:
    matrix = write(BASE + GRIDS + "evaluate: [clean]")
    changes = make_plan(matrix, here, diff=True).changes
    assert changes is not None and changes.last_submitted is None and len(changes.added) == 3
    _submit(here, matrix)
    again = make_plan(matrix, here, diff=True).changes
    assert again is not None and again.last_submitted is not None
    assert not (again.added or again.removed or again.changed or again.added_benchmarks or again.removed_benchmarks)


def test_what_changed_since_the_submission(write, here: Home) -> None:
    _submit(here, write(BASE + GRIDS + "evaluate: [clean, information]"))
    matrix = write(
        BASE.replace("60", "80") + GRIDS.replace("[3, 1]", "[3, 0]") + "evaluate: [clean, pgd: {norm: l2, eps: 1}]"
    )
    changes = make_plan(matrix, here, diff=True).changes
    assert changes is not None
    assert changes.added == ("ceb rho=0",) and changes.removed == ("ceb rho=1",)
    assert [(c.field, c.before, c.after, c.runs) for c in changes.changed] == [
        ("epochs", 60.0, 80.0, ("xent", "ceb rho=3"))
    ]
    assert changes.added_benchmarks == ("pgd l2 eps=1,n=20",) and changes.removed_benchmarks == ("information",)


def test_a_run_whose_stored_spec_can_not_be_read_is_another_run(write, here: Home) -> None:
    _submit(here, write(BASE + GRIDS + "evaluate: [clean]"))
    with open_home(here, create=True) as store:
        ingest(store, here)
    with closing(sqlite3.connect(here.folder / "store.sqlite")) as connection:  # as a newer cebctl would write it
        connection.execute("UPDATE runs SET spec = json_set(spec, '$.later_field', 1) WHERE label = 'xent'")
        connection.commit()
    changes = make_plan(write(BASE.replace("60", "80") + GRIDS + "evaluate: [clean]"), here, diff=True).changes
    assert changes is not None and (changes.added, changes.removed) == (("xent",), ("xent",))
    assert [change.runs for change in changes.changed] == [("ceb rho=3", "ceb rho=1")]


def test_another_source_of_parts_of_ones_own_is_a_change(write, here: Home, tmp_path: Path) -> None:
    parts = "def loss(model, f, z, y, gamma): return 1\ndef noise(model, images, labels, rng, std: float): return 1"
    text = BASE + "grids: [{objective: parts.py:loss, rho: [1, 2]}]\nevaluate: [{from: parts.py:noise, std: [3, 4]}]"
    (tmp_path / "parts.py").write_text(parts)
    _submit(here, write(text))
    (tmp_path / "parts.py").write_text(f"# the same\n{parts}")
    unchanged = make_plan(write(text), here, diff=True).changes
    assert unchanged is not None and not unchanged.changed
    (tmp_path / "parts.py").write_text(parts.replace("return 1", "return 2"))
    changes = make_plan(write(text), here, diff=True).changes
    assert changes is not None and not changes.added_benchmarks + changes.removed_benchmarks
    assert [(change.field, change.runs) for change in changes.changed] == [
        ("source of parts.py:loss", ("parts.py:loss rho=1", "parts.py:loss rho=2")),
        ("source of parts.py:noise", ("noise std=3.0", "noise std=4.0")),
    ]


# --- no trace, no torch ---


def test_planning_imports_no_torch_and_creates_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from cebctl.app import run\n"
        "assert run(['plan', 'experiments/imagenet.yaml', '--json', '--diff']) == 0\n"
        "assert run(['plan', '--schema']) == 0\n"
        "assert not {'torch', 'submitit', 'numpy'} & set(sys.modules), 'imported'"
    )
    environment = {"CEBCTL_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
