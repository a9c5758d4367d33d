"""Which numbers stand beside the papers', and which may not: in cells, Table 1, figures, notes, rho* and JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cebctl.report.cells import Cell, Missing, Report
from cebctl.report.figures.build import build_figures as figures
from cebctl.report.figures.marks import PUBLISHED
from cebctl.report.formats import write
from experiments.benchmarks import CORRUPTIONS, CommonCorruptions, Information, Pgd, TrainingRate
from experiments.matrix.load import load
from experiments.matrix.planned_run import PlannedRun
from jobs.journal.records import Measure

IMAGENET = {
    "data": "imagenet", "network": "{name: resnet, depth: 50}", "augment": "crop_flip",
    "optimiser": "{name: sgd, lr: 1.6, weight_decay: 1e-4}",
    "schedule": "{warmup_epochs: 15, drops: [90, 180, 240], factor: 0.1}",
    "jump_start": "{name: gamma, start_rho: 100, steps: 12000}", "epochs": "270", "batch": "8192",
}  # fmt: skip
CIFAR = {
    "data": "cifar10", "augment": "{name: autoaugment, policy: cifar10}",
    "network": "{name: wide_resnet, blocks: 4, width: 10}", "optimiser": "{name: adam, lr: 1e-3}",
    "schedule": "{drops: [500, 1000, 1250], factor: 0.3}",
    "jump_start": "{name: gated, start_rho: 100, hold_rho: 10, epochs: 2, threshold: 0.2}",
    "epochs": "1500", "batch": "250",
}  # fmt: skip
Reported = Callable[..., Report]


def _numbers(run: PlannedRun) -> dict[Any, list[Measure]]:
    """Half of 1,000 images right, and half wrong under every corruption."""
    numbers: dict[Any, list[Measure]] = {}
    for benchmark in run.benchmarks:
        if isinstance(benchmark, CommonCorruptions):
            numbers[benchmark] = [Measure(name=name, unit="error", total=1000, correct=500) for name in CORRUPTIONS]
        elif isinstance(benchmark, Information | TrainingRate):
            numbers[benchmark] = [Measure(name="rate_train_max", unit="nats", total=1000, value=2.0, std=1.0)]
        else:
            name = f"pgd_{benchmark.norm}" if isinstance(benchmark, Pgd) else "clean"
            numbers[benchmark] = [Measure(name=name, unit="accuracy", total=1000, correct=500)]
    return numbers


@pytest.fixture
def report(tmp_path: Path, reported: Reported) -> Callable[..., Report]:
    def report(
        base: dict[str, str],
        evaluate: str,
        report: str = "{}",
        grids: str = "[{objective: xent}, {objective: ceb, rho: [3, 4, 5]}]",
        numbers: Callable[[PlannedRun], dict[Any, list[Measure]]] = _numbers,
        **changes: str,
    ) -> Report:
        fields = ", ".join(f"{key}: {value}" for key, value in (base | changes).items())
        path = tmp_path / "m.yaml"
        path.write_text(f"base: {{{fields}}}\ngrids: {grids}\nevaluate: [{evaluate}]\nreport: {report}\n")
        return reported(load(path), numbers)

    return report


def _cells(report: Report, column: str) -> list[Cell | Missing]:
    """Of xent and of ceb at rho 3, 4 and 5, as JSON and CSV have them."""
    return [row.cells[column] for row in report.tables[-1].rows]


def _notes(report: Report, column: str) -> list[str]:
    columns = list(report.tables[-1].columns)
    notes = []
    for note in report.notes:
        ranges = [part.partition(" … ") for part in note.partition(":")[0].split(", ")]
        if "omparable" in note and ranges[0][0] in columns:
            names = {n for a, _, b in ranges for n in columns[columns.index(a) : columns.index(b or a) + 1]}
            notes += [note] * (column in names)
    return notes


@pytest.mark.parametrize(
    ("base", "published", "changes", "reason"),
    [
        (IMAGENET, (0.76, None, 0.772, None), {}, ""),
        (IMAGENET, (None,) * 4, {"epochs": "0.08", "batch": "8"}, "epochs 0.08, not 270; batch 8, not 8192"),
        (IMAGENET, (None,) * 4, {"train_subset": "50000"}, "trained on 50,000 images"),
        (IMAGENET, (None,) * 4, {"data": "{name: imagenet, holdout: 1000}"}, "trained without 1,000 held-out"),
        (IMAGENET, (None,) * 4, {"optimiser": "{name: sgd, lr: 0.1, weight_decay: 1e-4}"}, "lr 0.1, not 1.6"),
        (IMAGENET, (None,) * 4, {"schedule": "{drops: [90, 180], factor: 0.1}"}, "drops.3 none, not 240"),
        (IMAGENET, (None,) * 4, {"network": "{name: resnet, depth: 50, width: 2}"}, ""),  # the paper has it with aa
        (CIFAR, (0.944,) + (None,) * 3, {}, ""),
        (CIFAR, (None,) * 4, {"data": "cifar10-jpeg"}, "data cifar10-jpeg"),
        (CIFAR, (None,) * 4, {"epochs": "3"}, "epochs 3, not 1500"),
        (CIFAR, (None,) * 4, {"network": "{name: wide_resnet, blocks: 1, width: 2}"}, ""),  # nothing printed of it
    ],
)
def test_only_the_papers_own_training_stands_beside_it(
    report: Reported, base: dict[str, str], published: tuple[Any, ...], changes: dict[str, str], reason: str
) -> None:
    made = report(base, "clean", **changes)
    assert tuple(cell.published for cell in _cells(made, "clean")) == published
    reasons = [getattr(cell, "not_comparable", None) for cell in _cells(made, "clean")]
    assert all(text is not None and reason in text for text in reasons)
    assert any(reason in note for note in _notes(made, "clean")) or not reason


def test_a_jump_start_of_another_length_concerns_those_that_have_one(report: Reported) -> None:
    made = report(IMAGENET, "clean", jump_start="{name: gamma, start_rho: 100, steps: 10}")
    assert [cell.published for cell in _cells(made, "clean")] == [0.76, None, None, None]
    (note,) = _notes(made, "clean")
    assert note.startswith("clean: not comparable with published numbers (ceb rho=3, ceb rho=4, ceb rho=5): ")
    assert note.endswith(": jump_start.steps 10, not 12000.")


@pytest.mark.parametrize(
    ("paper", "pipeline", "fog", "frost"),
    [
        ("v2", "official", 0.633, 0.683),
        ("v2", "regenerated", 0.633, None),
        ("v2", "official-recrop", None, None),
        ("v2", "in-memory", None, None),
        ("v2", "ours", None, None),
        ("v2", "official, subset: 500", None, None),
        ("v1", "in-memory", 0.493, None),
        ("v1", "official", None, None),
    ],
)
def test_corrupted_images_made_otherwise_have_nothing_beside_them(
    report: Reported, paper: str, pipeline: str, fog: float | None, frost: float | None
) -> None:
    jump_start = f"{{name: gamma, steps: {10000 if paper == 'v1' else 12000}}}"
    corrupted = f"common_corruptions: {{pipeline: {pipeline}}}"
    made = report(IMAGENET, corrupted, f"{{published: {paper}, table: table1}}", jump_start=jump_start)
    for column, published in (("fog", fog), ("frost", frost)):
        cell = _cells(made, column)[0]
        assert isinstance(cell, Cell) and cell.published == published, (column, cell)
        in_table1 = next(row for row in made.tables[0].rows if row.axes["architecture"] == "ResNet50-aa"
                         and row.axes["objective"] == "xent").cells[column]  # fmt: skip
        assert in_table1.published == published and bool(in_table1.published_text) == (published is not None)
        (note,) = _notes(made, column)
        assert ("not comparable" in note) == (published is None)
    for summary in ("mce", "average_ce"):
        assert (_cells(made, summary)[0].published is None) == (frost is None)


def test_rho_star_chosen_by_a_drawn_frost_is_marked(report: Reported, capsys: pytest.CaptureFixture[str]) -> None:
    corrupted = "clean, common_corruptions: {pipeline: in-memory}"
    made = report(IMAGENET, corrupted, "{published: v1, rho_star: mce}", jump_start="{name: gamma, steps: 10000}")
    assert write.report_json(made)["selected"]["ceb"].get("not_comparable") == "frost is drawn, not photographed"
    assert any(note.startswith("* rho of ceb was chosen by mce, which may not be compared") for note in made.notes)
    official = report(IMAGENET, "clean", "{published: v2}")
    assert write.report_json(official)["selected"]["ceb"].get("not_comparable") == ""
    assert not any("was chosen by" in note for note in official.notes)
    cut = write.report_json(report(IMAGENET, "clean", epochs="2"))
    assert "epochs 2, not 270" in cut["selected"]["ceb"].get("not_comparable", "")
    cell = cut["tables"][0]["rows"][0]["cells"]["clean"]
    assert cell["published"] is None and cell["not_comparable"].startswith("epochs 2, not 270")


def test_every_format_leaves_it_out(report: Reported, capsys: pytest.CaptureFixture[str]) -> None:
    for epochs, expected in (("270", True), ("2", False)):
        made = report(IMAGENET, "clean", "{table: table1}", epochs=epochs)
        for format in ("table", "md", "latex", "csv"):
            write.write_report(made, format)
            out = capsys.readouterr().out
            assert ("76.0" in out or ",0.76," in out or "24.0" in out) == expected, (format, out)


def test_table_1_holds_the_attack_against_the_papers(report: Reported) -> None:
    """The printed L-inf error is at eps 16/255 with a step of 2/255."""
    for attack, error in (
        ("pgd: {norm: linf, eps: 16/255, step_size: 2/255, target: random}", 0.999),
        ("pgd: {norm: linf, eps: 8/255, step_size: 2/255, target: random}", None),
        ("pgd: {norm: linf, eps: 16/255, target: random}", None),
        ("pgd: {norm: linf, eps: 16/255, step_size: 2/255}", None),
        ("pgd: {norm: linf, eps: 16/255, step_size: 2/255, target: random, subset: 500}", None),
        ("pgd: {norm: linf, eps: [8/255, 16/255], step_size: 2/255, target: random}", 0.999),
    ):
        made = report(IMAGENET, attack, "{table: table1}")
        row = next(row for row in made.tables[0].rows if row.heads[:2] == ("ResNet50-aa", "XEnt"))
        cell = row.cells["pgd_linf"]
        assert isinstance(cell, Cell) and cell.published == error, attack
        assert bool(getattr(cell, "not_comparable", "")) == (error is None)


def test_an_error_is_an_error_before_it_is_measured_too(report: Reported) -> None:
    """Beside a missing cell: 63.3% under fog is no accuracy of 36.7%, and mCE is there."""
    corrupted = "clean, common_corruptions: {pipeline: official}"
    made = report(IMAGENET, corrupted, numbers=lambda run: {})
    texts = [_cells(made, column)[0].published_text for column in ("fog", "average_ce", "mce", "clean")]
    assert texts == ["63.3%", "64.3%", "81.2%", "76.0%"]
    assert _cells(report(IMAGENET, corrupted, numbers=lambda run: {}, epochs="2"), "fog")[0].published_text == ""


def test_the_stand_in_for_mce_has_no_published_one_beside_it(report: Reported) -> None:
    network = "{name: wide_resnet, blocks: 10, width: 7, norm: batch}"
    made = report(
        CIFAR, "clean, common_corruptions: {pipeline: official}", "{mce_baseline: robustbench-standard, published: v1}",
        "[{objective: ceb, rho: [0, 5]}]", network=network, epochs="800", schedule="{drops: [400, 600], factor: 0.1}",
    )  # fmt: skip
    assert _cells(made, "clean")[0].published == 0.9751
    assert _cells(made, "mce")[0].published is None
    assert any("a stand-in" in note for note in _notes(made, "mce"))


def test_the_rate_of_another_network_has_none_beside_it(report: Reported) -> None:
    """v1's 2.3 nats are of a Wide ResNet."""
    base = {"data": "fashion_mnist", "optimiser": "adam", "epochs": "100", "batch": "250"}
    for network, rate in (("{name: wide_resnet, blocks: 2, width: 4}", 2.3), ("small_cnn", None)):
        made = report(base, "clean, training_rate", "{published: v1}", "[{objective: ceb, rho: [0, 1]}]",
                      network=network)  # fmt: skip
        assert _cells(made, "rate_train_max")[0].published == rate


def test_table_1_and_its_figure_are_of_a_matrix_that_has_its_models(report: Reported, tmp_path: Path) -> None:
    digits = {"data": "digits", "network": "small_cnn", "optimiser": "adam", "epochs": "1", "batch": "8"}
    section = "{table: table1, figures: [v2-1, v2-3]}"
    made = report(digits, "clean", section)
    assert [table.heads for table in made.tables] == [()] and len(made.tables[0].rows) == 4
    drawn = {figure.name: figure for figure in figures(load(tmp_path / "m.yaml"), made, [], {})}
    assert "v2-3" not in drawn and "ollow" not in drawn["v2-1"].caption
    made = report(IMAGENET, "clean", section, epochs="2")
    (figure,) = [
        candidate for candidate in figures(load(tmp_path / "m.yaml"), made, [], {}) if candidate.name == "v2-3"
    ]
    clean = {series.name for series in figure.panels[0].series if series.kind in PUBLISHED}
    assert "ResNet50-aa xent" not in clean and "ResNet50 xent" in clean  # beside nothing of ours


def test_a_run_on_a_subset_is_in_table_1(report: Reported) -> None:
    made = report(IMAGENET, "clean", "{table: table1}", train_subset="1000")
    row = next(row for row in made.tables[0].rows if row.heads[:2] == ("ResNet50-aa", "XEnt"))
    cell = row.cells["clean"]
    assert isinstance(cell, Cell) and (cell.value, cell.published) == (0.5, None)


def _table1(report: Report, *heads: str) -> dict[str, Cell | Missing]:
    return dict(next(row for row in report.tables[0].rows if row.heads[:2] == heads).cells)


def _reason(cell: Cell | Missing) -> str:
    assert isinstance(cell, Missing)
    return cell.reason


def test_a_missing_error_stands_beside_the_printed_error(report: Reported) -> None:
    """Not beside 1 minus it, in Table 1 and in the table of all measures; mCE beside the printed mCE."""
    made = report(IMAGENET, "clean, common_corruptions: {pipeline: official}", "{table: table1}",
                  numbers=lambda run: {})  # fmt: skip
    for cells in (_table1(made, "ResNet50-aa", "XEnt"), made.tables[-1].rows[0].cells):
        assert isinstance(cells["fog"], Missing) and cells["fog"].published_text == "63.3%"
        assert cells["mce"].published_text == "81.2%"


def test_each_cause_of_a_gap_in_table_1_has_its_own_words(report: Reported, tmp_path: Path, reported: Reported) -> None:
    made = report(IMAGENET, "clean", "{table: table1}")
    assert _reason(_table1(made, "ResNet50-aa", "XEnt")["fog"]) == "not asked for"
    assert _reason(_table1(made, "ResNet152", "XEnt")["clean"]) == "not in this matrix"
    left = reported(load(tmp_path / "m.yaml").select("objective = ceb"), _numbers)
    assert _reason(_table1(left, "ResNet50-aa", "XEnt")["clean"]) == "left out by --only"
    assert _reason(_table1(left, "ResNet152", "XEnt")["clean"]) == "not in this matrix"


def test_of_two_baselines_the_papers_stands_in_table_1(report: Reported) -> None:
    grids = "[{objective: xent, epochs: [90, 270]}]"
    base = {key: value for key, value in IMAGENET.items() if key != "epochs"}
    made = report(base, "clean", "{table: table1}", grids)
    cell = _table1(made, "ResNet50-aa", "XEnt")["clean"]
    assert isinstance(cell, Cell) and cell.published == pytest.approx(0.24)
    neither = report(base, "clean", "{table: table1}", grids.replace("270", "100"))
    assert _reason(_table1(neither, "ResNet50-aa", "XEnt")["clean"]) == "2 such rows"


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        ({"schedule": "{name: cosine}"}, "drops.1 none, not 90; drops.2 none, not 180; "),
        ({"jump_start": "none"}, "start_rho none, not 100; jump_start.steps none, not 12000"),
        ({"train_subset": "1"}, "trained on 1 image"),
    ],
)
def test_a_setting_that_a_run_lacks_differs_from_the_printed_one(
    report: Reported, changes: dict[str, str], differing: str
) -> None:
    """But a baseline has no jump-start."""
    xent, ceb, *_ = _cells(report(IMAGENET, "clean", **changes), "clean")
    assert differing in ceb.not_comparable + ";" and ceb.published is None and "images" not in ceb.not_comparable
    assert "start_rho" not in xent.not_comparable


def test_table_1_says_of_how_many_images_its_numbers_are(report: Reported, capsys: pytest.CaptureFixture[str]) -> None:
    write.write_report(report(IMAGENET, "clean", "{table: table1}"), "md")
    assert "n=1,000" in capsys.readouterr().out


def test_one_image_has_no_interval(report: Reported, capsys: pytest.CaptureFixture[str]) -> None:
    def one(run: PlannedRun) -> dict[Any, list[Measure]]:
        wrong = [Measure(name=name, unit="error", total=1, value=1.0) for name in CORRUPTIONS]
        right = [Measure(name="clean", unit="accuracy", total=1, correct=1)]
        return {b: wrong if isinstance(b, CommonCorruptions) else right for b in run.benchmarks}

    evaluate = "clean, common_corruptions: {pipeline: official, subset: 1}"
    made = report(IMAGENET, evaluate, "{table: table1}", numbers=one)
    for cell in (made.tables[-1].rows[0].cells[name] for name in ("clean", "fog", "average_ce")):
        assert isinstance(cell, Cell) and cell.interval == "none" and cell.low == cell.high
    assert any("on 1 of the test images only" in note for note in made.notes)
    write.write_report(made, "md")
    assert "[100" not in capsys.readouterr().out
