"""The numbers that timm and RobustBench publish, beside a run of a model of theirs, and where they may not stand."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from experiments import spec
from experiments.benchmarks import AnyBenchmark, AutoAttack, Clean, ImagenetA, Information, Pgd
from experiments.errors import InputError
from experiments.matrix.report_section import ReportSpec
from experiments.published.public_models import public_number

RUN = spec.Run(
    data=spec.Data(name="cifar10"), network=spec.WideResNet(blocks=4, width=10, norm="batch"), objective=spec.Xent(),
    optimiser=spec.Adam(), epochs=0, batch=8, weights="sha256:" + "0" * 64,
)  # fmt: skip
CARMON = ReportSpec(robustbench="linf/Carmon2019Unlabeled")
GLUON = "resnet101.gluon_in1k"
LINF = AutoAttack(norm="linf", eps=8 / 255)


def timm(model: str, **fields: Any) -> spec.Run:
    network = spec.Timm(model=model, normalise="model")
    return structs.replace(RUN, data=spec.Data(name="imagenet"), network=structs.replace(network, **fields))


@pytest.mark.parametrize(
    ("benchmark", "measure", "text"),
    [(Clean(), "clean", "89.69%"), (LINF, "autoattack_linf", "59.53%")],
)
def test_robustbench_s_numbers_stand_beside_a_run_that_is_said_to_be_its_model(
    benchmark: AnyBenchmark, measure: str, text: str
) -> None:
    number, reason = public_number(RUN, benchmark, measure, CARMON)
    assert number is not None and (number.text, number.source, reason) == (text, "RobustBench", "")
    assert public_number(RUN, benchmark, measure, ReportSpec()) == (None, "")
    assert public_number(structs.replace(RUN, epochs=1), benchmark, measure, CARMON) == (None, "")


def test_timm_s_numbers_stand_beside_its_models_by_their_names() -> None:
    number, reason = public_number(timm(GLUON), Clean(), "clean", ReportSpec())
    assert number is not None and (number.text, number.subject, reason) == ("79.306%", GLUON, "")
    assert public_number(timm("resnet18.none"), Clean(), "clean", ReportSpec()) == (None, "")
    assert public_number(timm(GLUON), ImagenetA(), "imagenet_a_1000", ReportSpec()) == (None, "")


@pytest.mark.parametrize(
    ("run", "benchmark", "measure", "reason"),
    [
        (RUN, structs.replace(LINF, eps=4 / 255), "autoattack_linf", "RobustBench's 59.53% is within eps 8/255"),
        (RUN, structs.replace(LINF, subset=100), "autoattack_linf", "RobustBench's 59.53% is on all test images"),
        (RUN, structs.replace(LINF, norm="l2"), "autoattack_l2", ""),
        (RUN, Pgd(norm="linf", eps=8 / 255), "pgd_linf", ""),
        (RUN, Information(), "rate", ""),
        (timm(GLUON, normalise=spec.UNSET), Clean(), "clean", "is of images normalised as its default_cfg says"),
        (timm(GLUON, input_size=64), Clean(), "clean", "is at 224 pixels"),
        (timm("resnet50.a1_in1k"), Clean(), "clean", "timm's 80.382% is of the central 0.950, bicubic"),
        (timm("resnet50.a1_in1k", input_size=288), Clean(), "clean", "timm's 81.240% is of the central 1.000, bicubic"),
        (timm("resnet18.tv_in1k"), Clean(), "clean", "timm's 69.752% is of the central 0.875, bilinear"),
    ],
)  # fmt: skip
def test_numbers_that_were_measured_otherwise_do_not(
    run: spec.Run, benchmark: AnyBenchmark, measure: str, reason: str
) -> None:
    number, told = public_number(run, benchmark, measure, CARMON if run is RUN else ReportSpec())
    assert number is None and told.endswith(reason) and bool(told) == bool(reason)


def test_a_model_that_robustbench_does_not_have_is_named_with_those_that_are_close() -> None:
    with pytest.raises(InputError, match=r"report.robustbench: no entry 'Linf/Carmon2019'; did you mean linf/C"):
        public_number(RUN, Clean(), "clean", ReportSpec(robustbench="Linf/Carmon2019"))
