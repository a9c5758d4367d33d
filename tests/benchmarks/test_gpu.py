"""The check of a GPU, small and on a CPU: faults and what can't run are told, and a second call goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import results
from benchmarks.gpu.parts import PARTS, Part
from benchmarks.gpu.results import largest_batch
from experiments import gpus
from tests.conftest import ROOT

TRIAL = """
import os, signal, time
from pathlib import Path
from benchmarks.gpu.results import Rate, at_most, measured, skipped

def good(device, small):
    yield at_most("rounding", 1e-6, 1e-4, "distance")
    yield measured("speed", "fast", Rate("bf16", 3e14))

def off(device, small):
    yield at_most("rounding", 1e-6, 1e-4, "distance")
    yield at_most("kernel", float("nan"), 1e-4, "distance")

def absent(device, small):
    yield skipped("DALI", "it is not installed")

def killed(device, small):
    yield measured("before", "1")
    os.kill(os.getpid(), signal.SIGKILL)

def raises(device, small):
    yield measured("before", "1")
    raise MemoryError("out of memory")

def hangs(device, small):
    yield measured("before", "1")
    time.sleep(600)

def empty(device, small):
    return iter(())

def mended(device, small):
    fault = Path(os.environ["FAULT"])
    yield at_most("kernel", float(fault.exists()), 1e-4, "distance")
"""
IN_PROCESS = [part for part in PARTS if part.name not in ("groups", "dali", "steps")]
"""The others start processes, or run a script as `make bench-smoke` does."""
Check = Callable[..., tuple[int, dict[str, dict]]]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Check with the named parts of TRIAL; the exit code, and the outcomes in the report."""
    (tmp_path / "gpu_trial.py").write_text(TRIAL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def checked(*names: str, seconds: int = 60, minutes: float = 10) -> tuple[int, dict[str, dict]]:
        monkeypatch.setattr(command, "PARTS", [Part(name, f"gpu_trial:{name}", seconds) for name in names])
        code = command.main(["--device", "cpu", "--small", "--out", str(tmp_path / "out"), "--minutes", str(minutes)])
        report = json.loads((tmp_path / "out/report.json").read_bytes())
        return code, {part["part"]: part for part in report["parts"]} | {"counts": report["counts"]}

    return checked


@pytest.mark.parametrize("part", IN_PROCESS, ids=lambda part: part.name)
def test_each_part_passes_on_a_cpu(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    torch.set_num_threads(1)
    module, _, name = part.function.partition(":")
    found = list(getattr(import_module(module), name)("cpu", True))
    assert found and [one for one in found if one.status == "failed"] == []
    assert all(one.value for one in found)


def test_a_part_that_fails_is_told_and_ends_no_other(check: Check, tmp_path: Path) -> None:
    code, outcomes = check("off", "killed", "raises", "empty", "absent", "good")
    assert code == 1
    assert outcomes["counts"] == {"failed": 4, "skipped": 1, "passed": 1}
    assert [one["status"] for one in outcomes["off"]["results"]] == ["passed", "failed"]
    assert outcomes["killed"]["error"] == "ended by SIGKILL" and len(outcomes["killed"]["results"]) == 1
    assert "MemoryError: out of memory" in outcomes["raises"]["error"]
    text = (tmp_path / "out/report.md").read_text()
    assert "4 failed, 1 skipped, 1 passed; skipped is not passed" in text
    assert "Of their lines 1 failed, 3 measured, 2 passed, 1 skipped." in text
    assert "| DALI | skipped | it is not installed |  |" in text
    assert "| kernel | failed | distance nan | at most 0.0001 |" in text


def test_a_part_that_hangs_is_ended(check: Check) -> None:
    code, outcomes = check("hangs", seconds=3)
    assert code == 1 and outcomes["hangs"]["error"].startswith("not done after 3 s")
    assert outcomes["hangs"]["seconds"] < 60


def test_a_second_call_goes_on_with_what_failed_or_is_missing(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAULT", str(fault := tmp_path / "fault"))
    fault.touch()
    assert check("good", "mended")[0] == 1
    with (tmp_path / "out/journal.jsonl").open("ab") as journal:
        journal.write(b'{"part": "good", "machine": "cp')
    fault.unlink()
    capsys.readouterr()
    code, outcomes = check("good", "mended")
    assert code == 0 and outcomes["counts"] == {"passed": 2}
    assert "good: passed before" in (out := capsys.readouterr().out) and "mended: passed in" in out


def test_a_check_that_is_out_of_time_is_not_complete(check: Check) -> None:
    code, outcomes = check("good", minutes=0)
    assert code == 1 and outcomes["counts"] == {"missing": 1}


def test_a_device_that_is_not_there_is_an_error_of_the_user(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert command.main(["--device", "cuda"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_rates_are_kept_for_the_plan_beside_those_of_other_gpus(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check("good")
    rates = json.loads((tmp_path / "out/report.json").read_bytes())["rates"]
    (file := tmp_path / "gpu_rates.json").write_text('{"a100-80gb": {"fp32": 1e13}}')
    assert "has no TPU" in command.keep_rates("TPU", rates, file)
    assert command.keep_rates("NVIDIA H200", rates, file) == f"rates of h200-141gb kept in {file}"
    monkeypatch.setattr(gpus, "RATES", file)
    gpus.measured_rates.cache_clear()
    try:
        h200 = gpus.GPUS["h200-141gb"]
        assert h200.rate("bf16") == 3e14 and h200.is_measured("bf16") and not h200.is_measured("fp32")
        assert gpus.GPUS["a100-80gb"].rate("fp32") == 1e13
    finally:
        gpus.measured_rates.cache_clear()


@pytest.mark.parametrize(("room", "estimate"), [(100, 100), (100, 60), (100, 160), (1, 50), (0, 10)])
def test_the_largest_batch_is_found_from_an_estimate_that_is_off(room: int, estimate: int) -> None:
    fitting, failing = largest_batch(lambda batch: batch <= room, estimate)
    assert fitting <= room and (failing is None or failing > room)
    if room == 100:
        assert fitting >= 90


def test_no_batch_above_the_most_is_tried() -> None:
    tried: list[int] = []
    assert largest_batch(lambda batch: not tried.append(batch), 90, most=100) == (100, None)
    assert max(tried) == 100 and largest_batch(lambda batch: True, 300, most=100) == (100, None)


def test_an_error_fails_one_comparison_and_not_the_next() -> None:
    def broken():
        yield results.measured("before", "1")
        raise RuntimeError("CUDA error:\n  no kernel image")

    (failed,) = results.guarded("ceb", broken)
    assert (failed.name, failed.status, failed.value) == ("ceb", "failed", "RuntimeError: CUDA error: no kernel image")


def test_numbers_that_are_not_finite_or_of_another_shape_are_infinitely_far() -> None:
    ones = torch.ones(3)
    assert results.distance(ones, ones) == 0
    assert results.distance(ones * 1.01, ones) == pytest.approx(0.01, rel=1e-3)
    for other in (torch.tensor([1.0, 1.0, torch.nan]), torch.ones(4)):
        assert results.distance(other, ones) == float("inf")
    assert results.same_verdicts("x", torch.tensor([True, False]), torch.tensor([False, True])).status == "failed"
