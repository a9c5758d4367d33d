"""From a store to comparisons: of two runs, and of the seeds of two."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cebctl.report.comparison.paired_runs import compare_groups, group_name, resolve_group
from experiments.benchmarks import tag
from experiments.errors import InputError
from experiments.identity import evaluation_id
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix
from jobs.journal.files import Journal
from jobs.journal.records import Checkpointed, Measure, Metrics, Result, Started, Succeeded
from jobs.paths import Home
from jobs.per_sample import pack
from store.connect import open_memory
from store.ingest import ingest

IMAGES = 360
MATRIX = """
base: {data: digits, network: small_cnn, optimiser: adam, epochs: 1, batch: 8}
grids: [{objective: xent}, {objective: ceb, rho: [1, 3]}]
seeds: [0, 1]
evaluate: [clean]
"""


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    path = tmp_path / "m.yaml"
    path.write_text(MATRIX)
    return load(path)


def _write(home: Home, matrix: Matrix, right: dict[str, int]) -> None:
    """So many of the first images right, by the run's name."""
    (clean,) = matrix.benchmarks
    for run in matrix.runs:
        if run.name in right:
            measure = Measure(name="clean", unit="accuracy", total=IMAGES, correct=right[run.name])
            flags = pack(image < right[run.name] for image in range(IMAGES))
            result = Result(
                evaluation_id=evaluation_id(clean, "digits"), benchmark=clean, data_digest="d", checkpoint_step=1,
                engine="e", measures=[measure], per_sample=flags,
            )  # fmt: skip
            with Journal(home.run(run.run_id).journal("evaluate", 1)) as journal:
                journal.write(Started(), result)


def test_seeds_are_compared_as_families(matrix: Matrix, home: Path) -> None:
    jobs_home = Home(home)
    _write(
        jobs_home, matrix, {"xent seed=0": 300, "xent seed=1": 320, "ceb rho=3 seed=0": 330, "ceb rho=3 seed=1": 350}
    )
    a, b = resolve_group(matrix, "objective = xent"), resolve_group(matrix, "rho = 3")
    assert (group_name(a[0]), group_name(b[0])) == ("xent", "ceb rho=3")
    with open_memory() as store:
        ingest(store, jobs_home)
        (both,) = compare_groups(matrix, store, a, b)
        (single,) = compare_groups(
            matrix, store, resolve_group(matrix, "xent seed=0"), resolve_group(matrix, "rho = 3, seed = 1")
        )
    assert (both.seeds_a, both.seeds_b, both.n) == (2, 2, IMAGES)
    assert both.difference == pytest.approx((310 - 340) / IMAGES)
    assert (both.a_only, both.b_only) == (0, 50)
    assert both.paired and both.p < 0.001 and both.low < both.difference < both.high < 0
    assert (single.a_only, single.b_only) == (0, 50) and single.p < 1e-9


def test_a_name_without_its_seed_is_that_of_all_seeds(matrix: Matrix) -> None:
    assert [run.name for run in resolve_group(matrix, "ceb rho=3")] == ["ceb rho=3 seed=0", "ceb rho=3 seed=1"]
    assert resolve_group(matrix, "xent") == resolve_group(matrix, "objective = xent")


HELD_OUT = """
base: {data: {name: digits, holdout: 32}, network: small_cnn, optimiser: adam, epochs: 1, batch: 8}
grids: [{objective: xent}, {objective: ceb, rho: 3}]
evaluate: [clean, clean_holdout]
"""


def test_a_selection_by_the_field_of_a_part_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text("def loss(model, f, z, y, gamma, nats: float): pass")
    (tmp_path / "own.yaml").write_text(MATRIX.replace("{objective: xent}", "{objective: parts.py:loss, nats: [1, 2]}"))
    [run] = resolve_group(load(tmp_path / "own.yaml"), "nats = 2, seed = 0")
    assert run.axes["nats"] == 2.0


def test_images_are_counted_by_their_own_benchmark_and_are_the_same(tmp_path: Path, home: Path) -> None:
    path, jobs_home = tmp_path / "held.yaml", Home(home)
    path.write_text(HELD_OUT)
    with_holdout = load(path)
    for number, run in enumerate(with_holdout.runs):
        with Journal(jobs_home.run(run.run_id).journal("evaluate", 1)) as journal:
            for benchmark, images in zip(with_holdout.benchmarks, (IMAGES, 32), strict=True):
                measure = Measure(name=tag(benchmark), unit="accuracy", total=images, correct=30 - number)
                journal.write(Result(
                    evaluation_id=evaluation_id(benchmark, "digits"), benchmark=benchmark, measures=[measure],
                    data_digest=f"{number if images == IMAGES else 'the same'}", checkpoint_step=1, engine="e",
                    per_sample=pack(image < 30 - number for image in range(images)),
                ))  # fmt: skip
    with open_memory() as store:
        ingest(store, jobs_home)
        (only,) = compare_groups(
            with_holdout, store, resolve_group(with_holdout, "xent"), resolve_group(with_holdout, "ceb")
        )
    assert (only.benchmark, only.n, only.a_only, only.b_only) == ("clean_holdout", 32, 1, 0)


@pytest.mark.parametrize(("a", "b", "says"), [
    ("objective = ceb", "objective = xent", "it is 4 of the 6 runs"),
    ("rho = 1", "rho = 1, seed = 0", "on both sides"),
    ("rho = 1", "objective = xent", "no result on the same images in common"),
    ("xnet", "ceb rho=1", r"--compare 'xnet': no run of \S+ has such a name or id; did you mean 'xent'\?"),
    ("vib", "ceb rho=1", "such a name or id; there are xent, ceb rho=1, ceb rho=3, xent seed=0, xent seed=1, .*, …$"),
    ("ceb", "xent", "it is 4 of the 6 runs; name one, or the seeds of one: ceb rho=1, ceb rho=3$"),
    ("objectve = xent", "ceb rho=1", "did you mean 'objective'"),
])  # fmt: skip
def test_what_is_no_comparison_is_refused(matrix: Matrix, a: str, b: str, says: str) -> None:
    with open_memory() as store, pytest.raises(InputError, match=says):
        compare_groups(matrix, store, resolve_group(matrix, a), resolve_group(matrix, b))


def test_both_ways_of_asking_for_json_are_one(call, matrix: Matrix, home: Path) -> None:
    _write(Home(home), matrix, {"xent seed=0": 300, "ceb rho=3 seed=0": 330})
    sides = ("xent seed=0", "ceb rho=3 seed=0")
    answers = [call("report", matrix.path, "--compare", *sides, *how) for how in (("--json",), ("--format", "json"))]
    assert answers[0] == answers[1]
    assert json.loads(answers[0].out)["comparisons"][0]["a"] == 300


def test_seeds_are_paired_by_their_numbers(tmp_path: Path, home: Path) -> None:
    """In another order, and then others on either side."""
    path, jobs_home = tmp_path / "order.yaml", Home(home)
    path.write_text(MATRIX.replace("grids: [{objective: xent}", "grids: [{objective: xent, seed: [2, 1, 0]}"))
    matrix = load(path)
    right = {
        "xent seed=0": 100,
        "xent seed=1": 200,
        "xent seed=2": 300,
        "ceb rho=3 seed=0": 110,
        "ceb rho=3 seed=1": 210,
    }
    _write(jobs_home, matrix, right)
    with open_memory() as store:
        ingest(store, jobs_home)
        (same,) = compare_groups(
            matrix, store, resolve_group(matrix, "objective = xent, seed < 2"), resolve_group(matrix, "rho = 3")
        )
        (other,) = compare_groups(
            matrix, store, resolve_group(matrix, "objective = xent, seed > 0"), resolve_group(matrix, "rho = 3")
        )
    assert same.paired and same.high < 0  # 10 images fewer in either pair
    assert not other.paired and other.low < 0 < other.high


def test_a_difference_within_the_spread_of_seeds_is_none(call, matrix: Matrix, home: Path) -> None:
    """83 and 94% against 96 and 86%: the images agree about it, training does not."""
    right = {"xent seed=0": 300, "xent seed=1": 340, "ceb rho=3 seed=0": 345, "ceb rho=3 seed=1": 310}
    _write(Home(home), matrix, right)
    (comparison,) = json.loads(call("report", matrix.path, "--compare", "xent", "ceb rho=3", "--json").out)[
        "comparisons"
    ]
    assert comparison["p"] > 0.05 and comparison["low"] < 0 < comparison["high"]


def test_what_a_comparison_is_over_is_in_json(call, matrix: Matrix, home: Path) -> None:
    right = {"xent seed=0": 300, "xent seed=1": 310, "ceb rho=3 seed=0": 300, "ceb rho=3 seed=1": 313}
    _write(Home(home), matrix, right)
    sides = ("xent", "ceb rho=3")
    (family,) = json.loads(call("report", matrix.path, "--compare", *sides, "--detect", "20", "--json").out)[
        "comparisons"
    ]
    assert family["over"] == ["seeds", "images"] and family["paired"] and family["at_once"] == 1
    assert family["low"] <= family["difference"] <= family["high"] and family["p_corrected"] == family["p"]
    assert family["variance"]["seeds"] == pytest.approx((3 / IMAGES) ** 2 / 4)
    assert family["detect"]["seeds"] >= 2 and (family["detect"]["power"], family["detect"]["points"]) == (0.8, 20)


@pytest.mark.parametrize(("how", "says"), [
    (("--detect", "1"), "--detect: needs the variances of a comparison"),
    (("--compare", "xent", "ceb rho=3", "--detect", "0"), "--detect 0: expected points"),
    (("--compare", "xent", "ceb rho=3", "--detect", "nan"), "--detect nan: expected points"),
])  # fmt: skip
def test_what_cant_be_detected_is_refused(call, matrix: Matrix, how: tuple[str, ...], says: str) -> None:
    answer = call("report", matrix.path, *how)
    assert answer.code == 2 and answer.err.startswith(says)


def test_a_seed_without_results_is_named(call, matrix: Matrix, home: Path) -> None:
    _write(Home(home), matrix, {"xent seed=0": 300, "xent seed=1": 310, "ceb rho=3 seed=0": 330})
    answer = call("report", matrix.path, "--compare", "xent", "ceb rho=3")
    assert "nothing yet, image by image, of ceb rho=3 seed=1" in answer.err


def test_what_a_report_marks_is_said_of_a_comparison(call, tmp_path: Path, home: Path) -> None:
    """A target rho that was not in force, another cebctl's versions, and a benchmark that a seed lacks."""
    path, jobs_home = tmp_path / "marks.yaml", Home(home)
    path.write_text(MATRIX.replace("[clean]", "[clean, top5]"))
    matrix = load(path)
    for run in matrix.runs:
        at = jobs_home.run(run.run_id)
        with Journal(at.journal("train", 1)) as journal:
            rho = 9.0 if run.name == "ceb rho=1 seed=1" else run.axes.get("rho")
            metrics = Metrics(step=1, epoch=1.0, values={} if rho is None else {"rho": rho})
            saved = Checkpointed(step=1, file="1.pt", seconds=0.1)
            journal.write(Started(numerics={"optimiser.adam": 999}), metrics, saved, Succeeded())
        with Journal(at.journal("evaluate", 1)) as journal:
            journal.write(Started())
            for benchmark in matrix.benchmarks:
                if tag(benchmark) == "clean" or run.name != "ceb rho=1 seed=0":
                    measure = Measure(name=tag(benchmark), unit="accuracy", total=IMAGES, correct=300)
                    journal.write(
                        Result(
                            evaluation_id=evaluation_id(benchmark, "digits"), benchmark=benchmark, data_digest="d",
                            checkpoint_step=1, engine="e", measures=[measure], per_sample=pack([True] * IMAGES),
                        )
                    )  # fmt: skip
    answer = json.loads(call("report", path, "--compare", "xent", "ceb rho=1", "--json").out)
    off_target, *other_notes = answer["notes"]
    assert [comparison["benchmark"] for comparison in answer["comparisons"]] == ["clean"]
    assert off_target.endswith("when training ended: ceb rho=1 seed=1 ended at rho 9.")
    assert any(note.startswith("† made by a newer cebctl than this one: optimiser.adam") for note in other_notes)
    assert other_notes[-1] == "Not compared, top5: nothing yet of ceb rho=1 seed=0."
    assert not any(
        "when training ended" in note
        for note in json.loads(call("report", path, "--compare", "xent", "ceb rho=3", "--json").out)["notes"]
    )
