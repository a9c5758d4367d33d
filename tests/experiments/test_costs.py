"""The cost of a run, against known figures and by hand."""

from __future__ import annotations

import msgspec
import pytest

from experiments import costs, gpus
from experiments.costs import NetworkCount
from experiments.spec import Adam, Ceb, Data, PgdAdversary, ResNet, Run, Sgd, WideResNet, Xent


def _run(network: object, data: str, **more: object) -> Run:
    fields = {"objective": Xent(), "optimiser": Sgd(lr=1.0), "epochs": 2, "batch": 256} | more
    return Run(data=Data(name=data), network=network, **fields)  # type: ignore[arg-type]


def _counted(run: Run) -> NetworkCount:
    return costs.network_counts()[costs.count_key(run)]


WRN = _run(WideResNet(blocks=4, width=10), "cifar10")
WIDEST = _run(ResNet(depth=152, width=2), "imagenet", precision="bf16", objective=Ceb(rho=1))


@pytest.mark.parametrize(
    ("run", "gmac", "millions"),
    [
        (WRN, 5.24, 36.46),
        (_run(WideResNet(blocks=4, width=10, norm="batch"), "cifar10"), 5.24, 36.48),
        (_run(ResNet(depth=50, width=2), "imagenet"), 16.1, 98.0),
        (WIDEST, 45.8, 236.0),
        (_run(WideResNet(blocks=10, width=7, norm="batch"), "cifar10"), 6.74, 46.3),
    ],
)
def test_the_table_has_the_known_figures(run: Run, gmac: float, millions: float) -> None:
    """FACTS section 3; parameters are those of the deterministic network with its classifier."""
    counted = _counted(run)
    head, _ = costs.head_parameters(msgspec.structs.replace(run, objective=Xent()), counted)
    assert counted.macs / 1e9 == pytest.approx(gmac, rel=0.003)
    assert (counted.parameters + head) / 1e6 == pytest.approx(millions, rel=0.003)


def test_training_is_three_passes_and_an_adversary_adds_two_per_step() -> None:
    plain = costs.training_flops(WRN, _counted(WRN))
    assert plain == 2 * 5243322368 * 3 * 100_000
    adversary = PgdAdversary(eps=0.1, steps=7, step_size=0.02)
    attacked = msgspec.structs.replace(WRN, adversary=adversary)
    assert costs.training_flops(attacked, _counted(WRN)) / plain == pytest.approx((3 + 14) / 3)


def test_a_checkpoint_of_the_widest_network_is_2_gb() -> None:
    assert costs.checkpoint_bytes(WIDEST, _counted(WIDEST)) / 1e9 == pytest.approx(2.0, abs=0.1)


def test_an_average_is_one_copy_more_in_memory_and_in_checkpoints() -> None:
    counted, averaged = _counted(WIDEST), msgspec.structs.replace(WIDEST, ema_decay=0.99)
    weights = 4 * (counted.parameters + sum(costs.head_parameters(WIDEST, counted)))
    assert costs.checkpoint_bytes(averaged, counted) - costs.checkpoint_bytes(WIDEST, counted) == weights
    assert costs.network_bytes(averaged, counted, 8) - costs.network_bytes(WIDEST, counted, 8) == weights


def test_memory_grows_with_the_batch_and_adams_slots_and_shrinks_in_bf16() -> None:
    counted = _counted(WRN)
    single, double = costs.memory_gib(WRN, counted, 64), costs.memory_gib(WRN, counted, 128)
    assert single < double < 2 * single
    assert costs.memory_gib(msgspec.structs.replace(WRN, optimiser=Adam()), counted, 64) > single
    assert costs.memory_gib(msgspec.structs.replace(WRN, precision="bf16"), counted, 64) < single


@pytest.mark.parametrize(("gpu", "fits"), [("a100-40gb", False), ("a100-80gb", True)])
def test_the_widest_network_at_256_images_per_gpu(gpu: str, fits: bool) -> None:
    memory = gpus.GPUS[gpu].memory_gib
    most = costs.fitting_batch(WIDEST, _counted(WIDEST), memory)
    assert (most >= 256) is fits
    assert costs.memory_gib(WIDEST, _counted(WIDEST), most) <= memory
    assert costs.memory_gib(WIDEST, _counted(WIDEST), most + 1) > memory


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a100", "a100-80gb"), ("a100-40gb", "a100-40gb"), ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("h100", "h100-80gb"),
        ("NVIDIA GeForce RTX 4090", "rtx4090-24gb"), ("V100-16g", "v100-16gb"), ("tpu", None), ("", None),
    ],
)  # fmt: skip
def test_a_gpu_by_any_of_its_names(name: str, expected: str | None) -> None:
    gpu = gpus.find_gpu(name)
    assert (gpu.name if gpu else None) == expected


@pytest.fixture
def assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rate is measured, whatever `gpu_rates.json` has by now."""
    monkeypatch.setattr(gpus, "measured_rates", dict)


@pytest.mark.usefixtures("assumed")
def test_the_rate_is_that_of_the_public_figure() -> None:
    """2,470 images/s of ResNet-50 on an A100, three passes of 4.09 GMAC."""
    assert gpus.GPUS["a100-80gb"].rate("bf16") == pytest.approx(2470 * 3 * 2 * 4.09e9, rel=0.05)


def test_a_measured_rate_takes_the_place_of_the_assumed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    h200 = gpus.GPUS["h200-141gb"]
    assumed = h200.rate("fp32")
    monkeypatch.setattr(gpus, "measured_rates", lambda: {"h200-141gb": {"bf16": 3e14}})
    assert (h200.rate("bf16"), h200.is_measured("bf16")) == (3e14, True)
    assert (h200.rate("fp32"), h200.is_measured("fp32")) == (assumed, False)
    assert not gpus.GPUS["a100-80gb"].is_measured("bf16")


def test_the_table_of_measured_rates_has_known_gpus_and_precisions() -> None:
    for name, rates in gpus.read_rates(gpus.RATES).items():
        assert name in gpus.GPUS and rates.keys() <= {"bf16", "tf32", "fp32"}


@pytest.mark.usefixtures("assumed")
def test_tf32_is_between_bf16_and_fp32() -> None:
    for gpu in gpus.GPUS.values():
        assert gpu.rate("fp32") <= gpu.rate("tf32") <= max(gpu.rate("bf16"), gpu.rate("fp32"))
    assert gpus.GPUS["a100-80gb"].rate("tf32") > 2 * gpus.GPUS["a100-80gb"].rate("fp32")
