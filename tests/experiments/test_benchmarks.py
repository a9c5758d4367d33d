from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from yaml.nodes import ScalarNode

from experiments import datasets
from experiments.benchmarks import (
    AnyBenchmark,
    AutoAttack,
    Calibration,
    Cifar101,
    Clean,
    CommonCorruptions,
    ExtraCorruptions,
    ImagenetR,
    ImagenetV2,
    OutOfDistribution,
    Pgd,
    TrainInformation,
    Transfer,
    column,
    describe,
    format_eps,
    full_column,
    judged_draws,
    measures,
    min_classes,
    other_test_set,
    pipelines,
)
from experiments.errors import InputError
from experiments.identity import evaluation_id
from experiments.matrix.planned_run import Matrix
from experiments.matrix.spec_fields import read_value
from experiments.spec import Pixels

RANDOM = Pgd(norm="linf", eps=16 / 255, step_size=2 / 255, target="random")
TRANSFER = Transfer(source="r0123456789abcdef", norm="l2", eps=1.0)


@pytest.mark.parametrize(
    ("benchmark", "columns", "full"),
    [
        (Clean(), ("clean",), "clean"),
        (Pgd(norm="linf", eps=8 / 255), ("pgd_linf",), "pgd_linf@eps=8/255,n=20"),
        (RANDOM, ("pgd_linf", "pgd_linf_success"), "pgd_linf@eps=16/255,n=20,step_size=2/255,target=random"),
        (TRANSFER, ("transfer_l2",), "transfer_l2@eps=1,n=20,source=r0123456789abcdef"),
        (AutoAttack(norm="linf", eps=8 / 255), ("autoattack_linf",), "autoattack_linf@eps=8/255"),
        (AutoAttack(norm="l2", eps=1, version="rand"), ("autoattack_l2",), "autoattack_l2@eps=1,version=rand"),
        (Cifar101(version="v4"), ("cifar10_1",), "cifar10_1@version=v4"),
        (ImagenetV2(version="top-images"), ("imagenet_v2",), "imagenet_v2@version=top-images"),
        (ImagenetR(), ("imagenet_r", "imagenet_r_1000"), "imagenet_r"),
        (Calibration(), ("ece", "nll", "brier"), "ece"),
        (OutOfDistribution(against="digits"), ("ood_auroc", "ood_fpr95"), "ood_auroc@against=digits"),
        (TrainInformation(), ("rate_train", "residual_information_train", "conditional_entropy_train"), "rate_train"),
        (
            ExtraCorruptions(pipeline="ours", subset=9),
            ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
            "speckle_noise@pipeline=ours,subset=9",
        ),
    ],
    ids=lambda value: str(value)[:20],
)
def test_columns(benchmark: AnyBenchmark, columns: tuple[str, ...], full: str) -> None:
    assert measures(benchmark) == columns == tuple(column(benchmark, measure) for measure in columns)
    assert full_column(benchmark, columns[0]) == full
    assert describe(benchmark)


OVER_255 = st.decimals(min_value="0.01", max_value=255_000, places=2)


@given(st.floats(min_value=0, max_value=1000, exclude_min=True) | OVER_255.map(lambda number: float(number) / 255))
def test_a_radius_is_read_again_as_it_was(eps: float) -> None:
    """As a matrix reads it, so that no two radii stand under one name."""
    again = read_value(Pixels, ScalarNode("tag:yaml.org,2002:str", format_eps(eps)), "eps", [])
    assert again is not None and again.value == eps


@given(OVER_255)
def test_a_radius_is_written_over_255_unless_it_is_shorter_without(number: Decimal) -> None:
    over_255 = f"{number:f}".rstrip("0").rstrip(".") + "/255"
    assert (text := format_eps(float(number) / 255)) == over_255 or ("/" not in text and len(text) <= len(over_255))


@pytest.mark.parametrize(
    "text", ["0.25/255", "0.5/255", "8/255", "300/255", "0.1", "0.125", "0.005", "1", "16", "1e-05"]
)
def test_radii_as_people_write_them(text: str) -> None:
    read = read_value(Pixels, ScalarNode("tag:yaml.org,2002:str", text), "eps", [])
    assert read is not None and format_eps(read.value) == text


def test_corruptions_come_with_both_summaries() -> None:
    columns = measures(CommonCorruptions(pipeline="official"))
    assert columns[:2] == ("mce", "average_ce") and len(columns) == 17


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("imagenet", ("official", "official-recrop", "regenerated", "in-memory", "ours")),
        ("cifar10", ("official", "in-memory", "ours")),
        ("digits", ("ours",)),
        ("fashion_mnist", ("ours",)),
    ],
)
def test_pipelines_that_a_data_set_has(data: str, expected: tuple[str, ...]) -> None:
    assert pipelines(datasets.info(data)) == expected


def test_the_images_of_other_sets() -> None:
    benchmarks = (ImagenetR(), ImagenetV2(), Cifar101(version="v4"), Clean())
    images = {test_set.name: test_set.images for benchmark in benchmarks if (test_set := other_test_set(benchmark))}
    assert images == {"imagenet-r": 30_000, "imagenet-v2-matched-frequency": 10_000, "cifar10.1-v4": 2_021}


def test_draws_are_no_part_of_an_evaluation_that_does_not_name_them() -> None:
    """So that results made before there was the field stay those of the same evaluation."""
    rand = AutoAttack(norm="linf", eps=0.15, version="rand", subset=100)
    assert evaluation_id(rand, "digits") == "ed03e63ba15960e9a"
    assert judged_draws(rand) == 20 and evaluation_id(structs.replace(rand, draws=5), "digits") != evaluation_id(
        rand, "digits"
    )


@pytest.mark.parametrize("entry", ["gradient_audit", "autoattack"])
def test_square_in_l2_needs_images_of_five_pixels(
    entry: str, expand: Callable[..., Matrix], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(datasets.DATASETS, "digits", replace(datasets.info("digits"), size=4))
    for norm, refused in (("l2", True), ("linf", False)):
        text = f"grids: [{{objective: xent}}]\nevaluate: [{entry}: {{norm: {norm}, eps: 0.1}}]"
        if refused:
            with pytest.raises(InputError, match=rf":3:12: {entry}: in l2 its attack Square needs 5 x 5 pixels"):
                expand(text)
        else:
            expand(text)


@pytest.mark.parametrize(
    ("entry", "needed"),
    [
        ("autoattack: {norm: linf, eps: 0.1}", 4),
        ("autoattack: {norm: linf, eps: 0.1, version: rand, only: objective = ceb}", 3),
        ("pgd: {norm: linf, eps: 0.1, loss: dlr}", 3),
        ("pgd: {norm: linf, eps: 0.1, loss: dlr, target: random}", 4),
        ("pgd: {norm: linf, eps: 0.1, loss: margin}", 2),
        ("gradient_audit: {norm: linf, eps: 0.1}", 2),
    ],
)
def test_a_ratio_of_logits_needs_enough_of_them(
    entry: str, needed: int, expand: Callable[..., Matrix], monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = datasets.info("digits")
    for classes in (2, 3, 4):
        monkeypatch.setitem(datasets.DATASETS, "digits", replace(digits, classes=classes))
        text = f"grids: [{{objective: xent}}, {{objective: ceb, rho: 1}}]\nevaluate: [{{{entry}}}]"
        if classes >= needed:
            assert min_classes(expand(text).benchmarks[0]) == needed
            continue
        message = rf":3:12: {entry.partition(':')[0]}: its loss, DLR, needs {needed} classes, digits has {classes};"
        with pytest.raises(InputError, match=message):
            expand(text)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "common_corruptions: {pipeline: in-memory}",
            "common_corruptions: digits has no pipeline in-memory; allowed: ours",
        ),
        (
            "extra_corruptions: {pipeline: [ours, official]}",
            "extra_corruptions: digits has no pipeline official; allowed: ours",
        ),
        ("ood: {against: digits}", "against: digits is what the runs are trained on"),
        ("imagenet_r", "imagenet_r: it is for imagenet, not for digits; allowed there: clean, .*common_corruptions"),
        ("common_corruptions", "common_corruptions: pipeline is missing"),
    ],
)
def test_what_a_matrix_cant_ask_for(entry: str, message: str, expand: Callable[..., object]) -> None:
    with pytest.raises(InputError, match=message):
        expand(f"grids: [{{objective: xent}}]\nevaluate: [{{{entry}}}]" if ":" in entry else
               f"grids: [{{objective: xent}}]\nevaluate: [{entry}]")  # fmt: skip
