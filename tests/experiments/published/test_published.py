"""The published numbers: against the papers' texts typed by hand, and against their own arithmetic."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from experiments import published
from experiments.benchmarks import Clean, CommonCorruptions
from experiments.errors import InputError
from experiments.matrix import yaml_nodes
from experiments.matrix.report_section import ReportSpec
from experiments.published import files
from experiments.spec import (
    Adam,
    AutoAugment,
    Cceb,
    Ceb,
    CropFlip,
    Data,
    NoAugment,
    PgdAdversary,
    ResNet,
    Run,
    Sgd,
    Vib,
    WideResNet,
    Xent,
)  # fmt: skip

CHECKOUT = Path(__file__).parents[3]
PAPERS = CHECKOUT.parent / "shared" / "paper"
needs_papers = pytest.mark.skipif(not PAPERS.is_dir(), reason="the papers' texts are not beside the checkout")

CORRUPTIONS = [
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
]  # fmt: skip


def imagenet(
    depth: int, width: int, augment: bool, objective: str, rho: float | None = None, decay: float = 1e-4
) -> Run:
    policy = AutoAugment(policy="imagenet") if augment else CropFlip()
    kinds = {"ceb": Ceb, "cceb": Cceb, "vib": Vib}
    return Run(
        data=Data(name="imagenet", augment=policy),
        network=ResNet(depth=depth, width=width),  # type: ignore[arg-type]
        objective=Xent() if rho is None else kinds[objective](rho=rho),
        optimiser=Sgd(lr=1.6, weight_decay=decay),
        epochs=270,
        batch=8192,
    )


def cifar(blocks: int, width: int, norm: str, rho: float | None = None, **changes: object) -> Run:
    run = Run(
        data=Data(name="cifar10", augment=AutoAugment(policy="cifar10")),
        network=WideResNet(blocks=blocks, width=width, norm=norm),  # type: ignore[arg-type]
        objective=Xent() if rho is None else Ceb(rho=rho),
        optimiser=Adam(),
        epochs=1500,
        batch=128,
    )
    return msgspec.structs.replace(run, **changes)


MADRY = cifar(
    4, 10, "batch", data=Data(name="cifar10", augment=CropFlip()),
    adversary=PgdAdversary(eps=8 / 255, steps=7, step_size=2 / 255),
)  # fmt: skip
FASHION = Run(
    data=Data(name="fashion_mnist", augment=NoAugment()), network=WideResNet(blocks=1, width=4), objective=Ceb(rho=0.0),
    optimiser=Adam(), epochs=10, batch=128,
)  # fmt: skip


def look(paper: str, run: Run, column: str) -> published.PublishedNumber | None:
    return published.lookup(paper, published.run_fields(run), column)  # type: ignore[arg-type]


# --- typed by hand from the papers, as an independent oracle ---

TABLE_SPOTS = [  # version, run, column, error in percent as printed
    ("v2", imagenet(152, 2, True, "cceb", 2), "clean", 19.1),
    ("v2", imagenet(152, 2, True, "cceb", 2), "pgd_linf", 80.9),
    ("v2", imagenet(152, 2, True, "ceb", 2), "mce", 60.4),
    ("v2", imagenet(152, 2, True, "xent"), "imagenet_a", 86.2),
    ("v2", imagenet(152, 1, True, "ceb", 3), "glass_blur", 60.3),
    ("v2", imagenet(152, 1, True, "xent"), "pgd_linf", 99.4),
    ("v2", imagenet(152, 1, False, "ceb", 3), "pgd_l2", 84.1),
    ("v2", imagenet(152, 1, False, "xent"), "pixelate", 56.5),
    ("v2", imagenet(50, 2, True, "cceb", 4), "average_ce", 51.9),
    ("v2", imagenet(50, 2, True, "ceb", 3), "impulse_noise", 58.3),
    ("v2", imagenet(50, 2, True, "xent"), "jpeg_compression", 41.7),
    ("v2", imagenet(50, 1, True, "ceb", 6), "clean", 21.9),
    ("v2", imagenet(50, 1, True, "xent"), "fog", 53.0),
    ("v2", imagenet(50, 1, False, "ceb", 4), "zoom_blur", 63.0),
    ("v2", imagenet(50, 1, False, "xent"), "mce", 81.2),
    ("v1", imagenet(50, 2, True, "ceb", 3), "clean", 19.6),
    ("v1", imagenet(50, 2, True, "xent"), "snow", 63.5),
    ("v1", imagenet(50, 1, True, "ceb", 7), "mce", 64.6),
    ("v1", imagenet(50, 1, True, "xent"), "fog", 38.7),
    ("v1", imagenet(50, 1, False, "ceb", 4), "elastic_transform", 48.3),
    ("v1", imagenet(50, 1, False, "xent"), "average_ce", 62.4),
]

TEXT_SPOTS = [  # version, run, column, as people read it, measure
    ("v1 v2", cifar(4, 10, "none"), "clean", "94.4%", "accuracy"),
    ("v1 v2", cifar(4, 10, "none"), "pgd_linf", "8%", "accuracy"),
    ("v1 v2", cifar(4, 10, "none"), "pgd_l2", "66%", "accuracy"),
    ("v1 v2", cifar(4, 10, "none", 2.5), "clean", "93.9–95.1%", "accuracy"),
    ("v2", cifar(4, 10, "none", 2.5), "pgd_l2", "> 80%", "accuracy"),
    ("v1 v2", cifar(4, 10, "none", -0.75), "clean", "10%", "accuracy"),
    ("v2", cifar(4, 10, "batch"), "clean", "97.3%", "accuracy"),
    ("v2", cifar(4, 10, "batch"), "pgd_linf", "0%", "accuracy"),
    ("v2", cifar(4, 10, "batch"), "pgd_l2", "73%", "accuracy"),
    ("v1 v2", cifar(4, 10, "batch", 1), "pgd_linf", "< 10%", "accuracy"),
    ("v1 v2", MADRY, "clean", "87.3%", "accuracy"),
    ("v1 v2", MADRY, "pgd_l2", "45.7%", "accuracy"),
    ("v1", cifar(10, 7, "batch", 0), "clean", "97.51%", "accuracy"),
    ("v1", cifar(10, 7, "batch", 5), "clean", "97.05%", "accuracy"),
    ("v1", cifar(10, 7, "batch", 0), "cifar10_1", "93.6%", "accuracy"),
    ("v1", cifar(10, 7, "batch", 5), "cifar10_1_v6", "91.9%", "accuracy"),
    ("v1", cifar(10, 7, "batch", 0), "cifar10_1_gap", "3.9 points", "difference"),
    ("v1", cifar(10, 7, "batch", 0), "clean_gain", "0.19 points", "difference"),
    ("v1 v2", cifar(10, 7, "batch", 0), "mce", "52.0%", "relative_error"),
    ("v1 v2", cifar(10, 7, "batch", 5), "mce", "61.2%", "relative_error"),
    ("v1", FASHION, "rate_train_max", "2.3 nats", "nats"),
    ("v2", imagenet(152, 1, True, "ceb", 0, decay=0.0), "clean", "≈ 72%", "accuracy"),
    ("v2", imagenet(152, 1, False, "ceb", 2), "pgd_linf", "17.09%", "accuracy"),
    ("v2", imagenet(50, 1, False, "ceb", 9), "pgd_linf", "< 1%", "accuracy"),
    ("v1 v2", cifar(4, 10, "none"), "epochs", "1500 epochs", "setting"),
    ("v1", imagenet(50, 1, True, "ceb", 3), "jump_start.steps", "10000 steps", "setting"),
    ("v2", imagenet(50, 1, True, "ceb", 3), "jump_start.steps", "12000 steps", "setting"),
]

NAMED_SPOTS = [  # version, name, column, as people read it
    ("v1 v2", "Madry, trained normally", "clean", "95.5%"),
    ("v1 v2", "Xie et al. (2019), adversarially trained", "clean", "62.32%"),
    ("v1 v2", "Xie et al. (2019), trained on clean images", "clean", "78.81%"),
    ("v2", "ResNet152-aa XEnt, in the text", "pgd_linf", "0.09%"),
    ("v2", "ResNet152-aa CEB, rho 2", "pgd_gain", "187 times"),
    ("v2", "ResNet152 XEnt, all baselines", "pgd_linf", "> 99.9%"),
    ("v2", "ResNet50-aa, gain", "clean_gain", "1.2 points"),
    ("v2", "ResNet152-aa, gain", "clean_gain", "1.2 points"),
    ("v2", "ResNet50x2, gain", "clean_gain", "1.6 points"),
    ("v2", "ResNet152x2, gain", "clean_gain", "1.8 points"),
    ("v1", "62x7 attacks, n 50", "pgd_l2.eps.3", "300/255"),
]


@pytest.mark.parametrize(("paper", "run", "column", "percent"), TABLE_SPOTS)
def test_table_cells_are_found_by_a_runs_fields(paper: str, run: Run, column: str, percent: float) -> None:
    number = look(paper, run, column)
    assert number is not None
    assert number.value == pytest.approx(percent / 100, abs=1e-12)
    assert number.text == f"{percent:.1f}%"
    assert number.measure == ("relative_error" if column == "mce" else "error")
    assert number.source == f"{paper} Table 1"


@pytest.mark.parametrize(("papers", "run", "column", "text", "measure"), TEXT_SPOTS)
def test_numbers_of_the_texts_are_found_by_a_runs_fields(
    papers: str, run: Run, column: str, text: str, measure: str
) -> None:
    for paper in ("v1", "v2"):
        number = look(paper, run, column)
        if paper not in papers:
            assert number is None or number.text != text
        else:
            assert number is not None
            assert (number.text, number.measure) == (text, measure)
            assert number.source.startswith(f"{paper} ")


@pytest.mark.parametrize(("papers", "name", "column", "text"), NAMED_SPOTS)
def test_numbers_about_no_run_of_ours_are_found_by_name(papers: str, name: str, column: str, text: str) -> None:
    for paper in papers.split():
        number = published.lookup(paper, {"subject": name}, column)  # type: ignore[arg-type]
        assert number is not None
        assert number.text == text


# --- the papers' arithmetic ---


def models(paper: str) -> Mapping[str, published.PaperModel]:
    return {model.subject: model for model in published.table(paper).models}  # type: ignore[arg-type]


@pytest.mark.parametrize(("paper", "name"), [(paper, name) for paper in ("v1", "v2") for name in models(paper)])
def test_average_ce_and_mce_follow_from_the_corruption_errors(paper: str, name: str) -> None:
    cells = models(paper)[name].cells
    baseline = published.normaliser("alexnet").errors
    errors = {corruption: cells[corruption].value for corruption in CORRUPTIONS}
    average = sum(errors.values()) / 15
    mce = sum(errors[corruption] / baseline[corruption] for corruption in CORRUPTIONS) / 15
    assert average == pytest.approx(cells["average_ce"].value, abs=0.001)
    assert mce == pytest.approx(cells["mce"].value, abs=0.001)


def test_there_are_twenty_columns_and_both_layouts_are_the_printed_ones() -> None:
    first, second = published.table("v1"), published.table("v2")
    assert (len(first.models), len(first.rows)) == (6, 18)
    assert (len(second.models), len(second.rows)) == (14, 21)
    assert [model.heads for model in first.models] == [
        ("CEBx2",),
        ("50x2",),
        ("CEB",),
        ("50",),
        ("CEB-aa",),
        ("50-aa",),
    ]
    assert " ".join(model.heads[1] for model in second.models) == (
        "cCEB CEB XEnt CEB XEnt CEB XEnt cCEB CEB XEnt CEB XEnt CEB XEnt"
    )
    assert list(dict.fromkeys(model.heads[0] for model in second.models)) == (
        ["ResNet152x2", "ResNet152", "ResNet152-aa", "ResNet50x2", "ResNet50", "ResNet50-aa"]
    )
    assert [model.rho_star for model in first.models] == [3, None, 7, None, 4, None]
    assert [model.rho_star for model in second.models] == [2, 2, None, 3, None, 3, None, 4, 3, None, 6, None, 4, None]
    assert [row.column for row in second.rows] == [
        "clean", "mce", "average_ce", *CORRUPTIONS, "imagenet_a", "pgd_l2", "pgd_linf",
    ]  # fmt: skip
    assert [row.column for row in first.rows] == [row.column for row in second.rows][:-3]
    assert {row.label for row in second.rows} >= {"Gauss. Noise", "Elastic Trans.", "JPEG Comp.", "PGD L∞"}


def test_the_rule_for_rho_is_data() -> None:
    first, second = published.table("v1").rho_star, published.table("v2").rho_star
    assert (first.column, first.within, first.ties) == ("mce", 0, ())
    assert (second.column, second.within, second.prefer) == ("clean", 0.1, "the lowest rho")
    (tie,) = second.ties
    assert (tie.chosen, tie.equal) == (3, (5, 6, 7, 8))
    assert models("v2")[tie.subject].rho_star == tie.chosen


def test_a_printed_cell_is_as_exact_as_its_fraction() -> None:
    assert {number.value for _, number in published.all_numbers("v2") if number.text == "60.1%"} == {0.601}


def test_a_normaliser_has_every_corruption() -> None:
    for name in ("alexnet", "robustbench-standard"):
        assert set(published.normaliser(name).errors) == set(CORRUPTIONS)
    assert published.normaliser("alexnet").errors["gaussian_noise"] == pytest.approx(0.886428)
    assert published.normaliser("robustbench-standard").errors["brightness"] == pytest.approx(0.0672)
    assert published.normaliser("robustbench-standard").stand_in
    with pytest.raises(InputError, match="did you mean 'alexnet'"):
        published.normaliser("alexnett")


# --- against the papers' own text, where it is at hand ---


@needs_papers
def test_both_tables_agree_with_the_typed_and_checked_table_cell_for_cell() -> None:
    typed = yaml.safe_load((PAPERS / "table1.yaml").read_text())
    compared = 0
    for paper in ("v1", "v2"):
        models = published.table(paper).models  # type: ignore[arg-type]
        for model, column in zip(models, typed[f"table1_{paper}"], strict=True):
            architecture = model.architecture.lower().removesuffix("-aa")
            augment = "none" if model.architecture.endswith("-aa") else "autoaugment"
            assert (architecture, augment, model.objective, model.rho_star) == (
                column["architecture"], column["augment"], column["objective"], column["rho"],
            )  # fmt: skip
            printed = {name: number.value for name, number in model.cells.items()}
            assert printed == {name: pytest.approx(error / 100) for name, error in column["error_percent"].items()}
            compared += len(printed)
    assert compared == 6 * 18 + 14 * 21
    for corruption, error in typed["alexnet_error_percent"].items():
        assert published.normaliser("alexnet").errors[corruption] * 100 == pytest.approx(error, abs=0.0501)


@needs_papers
@pytest.mark.parametrize("paper", ["v1", "v2"])
def test_every_percentage_of_the_text_is_published(paper: str) -> None:
    text = (PAPERS / f"ceb-{paper}.txt").read_text("utf-8")
    printed = {float(number) for number in re.findall(r"(\d+(?:\.\d+)?)(?:\*\*)?\s*(?:%|percentage points)", text)}
    printed |= {float(number) for number in re.findall(r"(\d+\.\d+) nats", text)}
    printed |= {float(number) for number in re.findall(r"mCE(?:2|²)?\s+of\s+(\d+\.\d)", text)}
    in_catalogue = {
        float(match)
        for _, number in published.all_numbers(paper)  # type: ignore[arg-type]
        for match in re.findall(r"\d+(?:\.\d+)?", number.text)
    }
    in_catalogue |= {float(published.table(paper).rho_star.within)}  # type: ignore[arg-type]
    # v1's Figure 3 rounds 97.51.
    assert printed - in_catalogue <= ({97.5} if paper == "v1" else set())
    assert len(printed) > 10


# --- what may stand beside them ---


@pytest.mark.parametrize(
    ("data", "pipeline", "measure", "reason"),
    [
        ("cifar10", "in-memory", "fog", ""),
        ("cifar10", "official", "frost", ""),
        ("cifar10", "in-memory", "frost", "frost is drawn, not photographed"),
        ("cifar10-jpeg", "official", "fog", "data cifar10-jpeg"),
        ("own:pictures", "in-memory", "fog", "data own:pictures"),
        ("imagenet", "regenerated", "fog", ""),
        ("imagenet", "in-memory", "fog", "pipeline in-memory, v2's is official, as far as its numbers tell"),
        ("imagenet", "regenerated", "average_ce", "frost is drawn, not photographed"),
    ],
)
def test_corrupted_images_are_held_against_the_published_ones(
    data: str, pipeline: str, measure: str, reason: str
) -> None:
    run = imagenet(50, 1, False, "xent") if data == "imagenet" else cifar(2, 2, "none")
    run = msgspec.structs.replace(run, data=msgspec.structs.replace(run.data, name=data))
    benchmark = CommonCorruptions(pipeline=pipeline)  # type: ignore[arg-type]
    settings = "drops.1 none, not 90; drops.2 none, not 180; drops.3 none, not 240"
    reasons = published.reasons_not_comparable(run, benchmark, measure, ReportSpec(mce_baseline="alexnet"))
    assert reasons.removesuffix(settings).removesuffix("; ") == reason


def test_imported_weights_are_what_their_matrix_declares() -> None:
    """Without training here there is nothing to hold against the paper's; fine-tuning is another training."""
    run = msgspec.structs.replace(cifar(4, 10, "none"), weights="sha256:" + "0" * 64, epochs=0.0)
    assert published.reasons_not_comparable(run, Clean(), "clean", ReportSpec()) == ""
    tuned = msgspec.structs.replace(run, epochs=10.0)
    assert "epochs 10, not 1500" in published.reasons_not_comparable(tuned, Clean(), "clean", ReportSpec())


# --- what is disputed ---


@pytest.mark.parametrize("paper", ["v1", "v2"])
def test_a_dispute_has_at_least_two_readings_and_its_cells_carry_them(paper: str) -> None:
    numbers = {(number.subject, column): number for column, number in published.all_numbers(paper)}  # type: ignore[arg-type]
    disputes = published.disputes(paper)  # type: ignore[arg-type]
    assert disputes
    for dispute in disputes:
        assert len({reading.says for reading in dispute.readings}) >= 2
        assert len({(reading.says, reading.source) for reading in dispute.readings}) == len(dispute.readings)
        assert all(re.match(r"v[12] \w", reading.source) for reading in dispute.readings)
        for cell in dispute.cells:
            number = numbers[cell]
            assert set(dispute.readings) <= set(number.disputed)
            values = [reading for reading in dispute.readings if reading.value is not None]
            assert not values or any(_states(reading, number) for reading in values)


def _states(reading: published.Reading, number: published.PublishedNumber) -> bool:
    same = number.as_measure(reading.measure) if reading.measure else None
    return same is not None and reading.value == pytest.approx(same.value)


def test_the_contradictions_named_in_the_facts_are_there() -> None:
    pgd = look("v2", imagenet(152, 1, False, "ceb", 3), "pgd_linf")
    assert pgd is not None
    assert {"17.09%", "83.9%"} <= {reading.text for reading in pgd.disputed}
    for width, augment, error in ((2, True, 0.993), (1, True, 0.994), (1, False, 0.995)):
        baseline = look("v2", imagenet(152, width, augment, "xent"), "pgd_linf")
        assert baseline is not None
        assert baseline.value == error
        assert "> 99.9%" in {reading.text for reading in baseline.disputed}
    gain = published.lookup("v2", {"subject": "ResNet152-aa, gain"}, "clean_gain")
    assert gain is not None
    assert {reading.text for reading in gain.disputed} == {"1.2 points", "0.8 points"}
    signs = {
        (paper, column): number.value
        for paper in ("v1", "v2")
        for column in ("ceb_sign", "vib_sign")
        if (number := published.lookup(paper, {"subject": "objectives"}, column)) and number.disputed  # type: ignore[arg-type]
    }
    assert signs == {("v1", "ceb_sign"): 1, ("v1", "vib_sign"): 1, ("v2", "ceb_sign"): -1, ("v2", "vib_sign"): 1}


def test_undisputed_numbers_have_no_readings() -> None:
    clean = look("v2", imagenet(152, 1, False, "ceb", 3), "clean")
    assert clean is not None
    assert clean.disputed == ()


# --- what is found, and what is not ---

NEIGHBOURS = [
    imagenet(152, 1, True, "ceb", 5),  # not rho*
    imagenet(152, 1, True, "cceb", 3),  # cCEB was trained on the wide ones only
    imagenet(152, 1, True, "vib", 3),
    imagenet(152, 2, False, "xent"),
    msgspec.structs.replace(imagenet(50, 1, True, "xent"), data=Data(name="imagenet", augment=NoAugment())),
    msgspec.structs.replace(
        imagenet(50, 1, True, "xent"),
        data=Data(name="imagenet", train_subset=1000, augment=AutoAugment(policy="imagenet")),
    ),
    imagenet(152, 1, True, "ceb", 0),  # with weight decay it did not train
    cifar(4, 2, "none"),
    msgspec.structs.replace(
        cifar(4, 10, "none"), data=Data(name="cifar10-jpeg", augment=AutoAugment(policy="cifar10"))
    ),
    msgspec.structs.replace(cifar(4, 10, "none"), data=Data(name="cifar10", augment=CropFlip())),
    msgspec.structs.replace(MADRY, adversary=PgdAdversary(eps=4 / 255, steps=7, step_size=2 / 255)),
]


@pytest.mark.parametrize("run", NEIGHBOURS)
def test_a_run_that_the_paper_does_not_have_finds_nothing(run: Run) -> None:
    assert look("v2", run, "clean") is None
    assert look("v2", run, "mce") is None


def test_fields_that_a_number_does_not_depend_on_are_ignored() -> None:
    run = msgspec.structs.replace(imagenet(50, 1, True, "xent"), seed=7, batch=256, precision="bf16")
    assert look("v2", run, "clean") == look("v2", imagenet(50, 1, True, "xent"), "clean")
    axes = {**published.run_fields(run), "colour": "blue", "": None}
    assert published.lookup("v2", axes, "clean") == look("v2", run, "clean")


def test_short_names_do_as_well_as_paths() -> None:
    axes = {
        "data": "imagenet", "train_subset": None, "network": "resnet", "depth": 152, "width": 2, "adversary": "none",
        "augment": "autoaugment", "policy": "imagenet", "objective": "cceb", "rho": 2,
    }  # fmt: skip
    number = published.lookup("v2", axes, "clean")
    assert number is not None
    assert number.value == 0.191


def test_what_only_one_version_prints_is_not_found_in_the_other() -> None:
    assert look("v1", imagenet(152, 1, True, "xent"), "clean") is None
    assert look("v1", imagenet(50, 1, True, "xent"), "imagenet_a") is None
    assert look("v2", FASHION, "rate_train_max") is None
    assert look("v2", cifar(10, 7, "batch", 0), "clean") is None


def test_a_run_finds_at_most_one_result_but_the_general_statement_behind_the_table() -> None:
    runs = [run for _, run, *_ in (*TABLE_SPOTS, *TEXT_SPOTS)]
    for paper in ("v1", "v2"):
        index = published.catalogue._index(paper)
        for run in runs:
            leaves = {tuple(key.split(".")): value for key, value in published.run_fields(run).items()}
            for entries in index.values():
                subjects = {e.number.subject for e in entries if e.where and e.where.matches(leaves)}
                assert len(subjects - {"ResNet50, all but cCEB"}) <= 1, subjects


def test_a_threat_model_in_the_column_is_compared() -> None:
    det, wide = cifar(4, 10, "none"), imagenet(152, 2, True, "cceb", 2)
    assert look("v2", det, "pgd_linf") == look("v2", det, "pgd_linf@eps=8/255,n=20")
    assert look("v2", det, "pgd_linf@eps=2/255,n=20") is None
    assert look("v2", det, "pgd_linf@eps=8/255,n=50") is None
    assert look("v2", det, "pgd_linf@eps=8/255,n=20,restarts=5") is None
    assert look("v2", det, "pgd_l2@eps=64/255,n=20") is None, "the headline L2 eps is printed nowhere"
    assert look("v2", wide, "pgd_linf@eps=16/255,n=20,target=random") == look("v2", wide, "pgd_linf")
    assert look("v2", wide, "pgd_linf@eps=16/255,n=20") is None, "the published attack has random targets"
    assert look("v2", wide, "pgd_l2@eps=4080/255,n=20,target=random") == look("v2", wide, "pgd_l2")
    assert look("v2", wide, "clean@eps=1,n=20") is None
    with pytest.raises(InputError, match="eps 'much'"):
        look("v2", det, "pgd_linf@eps=much")
    with pytest.raises(InputError, match="unexpected '8/255'"):
        look("v2", det, "pgd_linf@8/255")


def test_an_unknown_version_is_an_error() -> None:
    for call in (published.table, published.disputes, lambda paper: published.lookup(paper, {}, "clean")):
        with pytest.raises(InputError, match="unknown version 'v3'"):
            call("v3")  # type: ignore[operator]


@given(axes=st.dictionaries(st.text(max_size=8), st.none() | st.booleans() | st.floats() | st.text(max_size=8)))
def test_nonsense_finds_nothing(axes: dict[str, object]) -> None:
    axes.pop("subject", None)
    assert published.lookup("v2", axes, "clean") is None


# --- measures ---


def test_an_error_reads_as_an_accuracy_and_back() -> None:
    for paper in ("v1", "v2"):
        for _, number in published.all_numbers(paper):  # type: ignore[arg-type]
            accuracy = number.as_measure("accuracy")
            if number.measure not in ("accuracy", "error"):
                assert accuracy is None
            else:
                assert accuracy is not None
                error = accuracy.as_measure("error")
                assert error is not None
                assert error.value + accuracy.value == pytest.approx(1) or error.upper
                assert error.as_measure(number.measure) == number


def test_bounds_and_ranges_turn_with_the_measure() -> None:
    def as_error(run: Run, column: str) -> str:
        number = look("v2", run, column)
        error = number and number.as_measure("error")
        return error.text if error else ""

    assert as_error(cifar(4, 10, "none", 3), "clean") == "4.9–6.1%"
    assert as_error(cifar(4, 10, "none", 3), "pgd_l2") == "< 20%"
    assert as_error(cifar(4, 10, "batch", 3), "pgd_linf") == "> 90%"
    assert as_error(imagenet(152, 1, True, "ceb", 0, decay=0.0), "clean") == "≈ 28%"


# --- the files ---


@pytest.mark.parametrize("file", sorted(files.FOLDER.glob("*.yaml")), ids=lambda file: file.name)
def test_files_are_as_strict_as_a_users_matrix_must_be(file: Path) -> None:
    assert yaml_nodes.plain(yaml_nodes.compose(file)), "no key twice, no tag, one document"


def test_tables_are_rectangular() -> None:
    for name in ("table1_v1.yaml", "table1_v2.yaml"):
        data = files.read(name, files.TableFile)
        assert {len(row.values) for row in data.rows} == {len(data.models)}
        assert {len(model.heads) for model in data.models} == {len(data.heads)}
        assert len({model.subject for model in data.models}) == len(data.models)


def _one(value: str) -> str:
    return f"subjects: [{{name: a, values: [{{{value}}}]}}]"


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ("subjects: []\ncolour: blue", "colour"),
        (
            "subjects: [{name: a, values: [{column: c, value: much, measure: error, unit: percent, source: {}}]}]",
            "value",
        ),
        (_one("column: c, value: 1, unit: percent, source: {}"), "measure"),
        (
            "subjects: [{name: a, values: [{column: c, value: 1, measure: error, unit: percent, source: {v3: x}}]}]",
            "v3",
        ),
        ("", "subjects"),
    ],
)
def test_the_schema_is_strict(content: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.yaml").write_text(content)
    monkeypatch.setattr(files, "FOLDER", tmp_path)
    with pytest.raises(InputError, match=wrong) as error:
        files.read("x.yaml", files.SubjectsFile)
    assert "x.yaml" in str(error.value)


def test_importing_reads_no_file_and_nothing_heavy() -> None:
    code = (
        "import sys, experiments.published as p\n"
        "from experiments.published import catalogue as c\n"
        "assert not c._entries.cache_info().currsize and not c.table.cache_info().currsize\n"
        "assert not {'torch', 'numpy', 'sqlalchemy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=CHECKOUT)
