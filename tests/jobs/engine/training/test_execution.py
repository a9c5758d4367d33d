"""However training is computed, it is the same training; what a machine can not do is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from experiments import spec
from experiments.errors import InputError
from experiments.resources import Execution
from jobs.engine import checkpoint_format, execution
from jobs.engine.precision import training_precision
from jobs.engine.training import encoder_noise, step
from jobs.engine.training.epoch_sampler import EpochSampler
from jobs.engine.training.train_state import initial_state, restore
from jobs.errors import Stopped
from jobs.journal.records import Heartbeat
from tests.jobs.engine.training.test_resume import assert_same

Change = Callable[..., spec.Run]
COMPILED = Execution(compile="default")
NORMED = spec.WideResNet(blocks=1, width=1, norm="batch", z_dim=4)


def weights(run: spec.Run, attempt: Any) -> dict[str, torch.Tensor]:
    return checkpoint_format.load_model(run, attempt.paths.checkpoints).model.state_dict()


@pytest.mark.parametrize(
    "execution",
    [Execution(channels_last=False), Execution(update="foreach"), Execution(update="for-loop")],
    ids=["channels first", "foreach", "for-loop"],
)
def test_in_float64_it_learns_the_same(new_attempt: Any, change: Change, execution: Execution) -> None:
    run = change(precision="fp64", epochs=2)
    usual, other = new_attempt("usual"), new_attempt("other")
    usual(run)
    other(run, execution=execution)
    assert_close(weights(run, other), weights(run, usual))


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("compiler")
@pytest.mark.apart
def test_compiled_it_learns_the_same_and_resumes_bit_for_bit(new_attempt: Any, change: Change) -> None:
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    adversary = spec.PgdAdversary(norm="l2", eps=0.5, steps=1, step_size=0.3)
    run = change(precision="fp64", epochs=1, adversary=adversary)
    stopped, whole, eager = new_attempt("stopped"), new_attempt("whole"), new_attempt("eager")
    steps = iter(range(1, 99))
    with pytest.raises(Stopped):
        stopped(run, lambda: next(steps) == 3, execution=COMPILED)
    stopped(run, execution=COMPILED)
    told = [record for record in whole(run, execution=COMPILED) if isinstance(record, Heartbeat)]
    assert (told[0].step, told[0].activity) == (0, "compiling the network")
    assert counters["stats"]["unique_graphs"] == 2, "one to train, one to attack"
    assert not counters["graph_break"]
    one, other = (checkpoint_format.load_newest(run, attempt.paths.checkpoints) for attempt in (stopped, whole))
    assert one is not None and other is not None
    assert_same(one.state, other.state)
    eager(run)
    assert_close(weights(run, whole), weights(run, eager))


@pytest.mark.parametrize("optimiser", [spec.Adam(), spec.Sgd(lr=0.1)], ids=["adam", "sgd"])
@pytest.mark.parametrize("update", ["fused", "foreach", "for-loop"])
def test_an_attempt_updates_as_it_is_told_whatever_the_one_before_did(
    attempt: Any, change: Change, update: Any, optimiser: spec.Optimiser
) -> None:
    run = change(epochs=1, optimiser=optimiser)
    attempt(run, execution=Execution(update="foreach" if update == "fused" else "fused"))
    state = initial_state(run, torch.arange(10), "cpu", execution=Execution(update=update))
    loaded = checkpoint_format.load_newest(run, attempt.paths.checkpoints)
    assert loaded is not None
    restore(state, loaded)
    assert state.optimiser.state_dict()["state"].keys() == loaded.state["optimiser"]["state"].keys()
    assert state.marginal_optimiser is not None
    for group in (*state.optimiser.param_groups, *state.marginal_optimiser.param_groups):
        assert (group["fused"], group["foreach"]) == (update == "fused", update == "foreach")


@pytest.mark.parametrize(
    ("precision", "execution"),
    [
        ("fp32", Execution()),
        ("bf16", Execution()),
        pytest.param("bf16", COMPILED, marks=pytest.mark.soak),
    ],
    ids=["fp32", "bf16", "bf16 compiled"],
)
def test_bf16_is_the_network_s_alone(
    change: Change, monkeypatch: pytest.MonkeyPatch, precision: Any, execution: Execution
) -> None:
    """By hooks: what leaves the network, and what goes into and comes out of head and loss."""
    found: dict[str, set[torch.dtype]] = {"network": set(), "head": set()}
    run = change(precision=precision)
    state = initial_state(run, torch.arange(8), "cpu", execution=execution)

    def note(part: str) -> Callable[..., None]:
        return lambda module, inputs, output: found[part].update(one.dtype for one in (*inputs, output))

    model = state.model
    model.network.register_forward_hook(lambda module, inputs, output: found["network"].add(output.dtype))
    model.classifier.register_forward_hook(note("head"))
    log_backward_encoder = model.log_backward_encoder

    def noted(z_BZ: torch.Tensor, y_B: torch.Tensor) -> torch.Tensor:
        found["head"] |= {z_BZ.dtype}
        return log_backward_encoder(z_BZ, y_B)

    monkeypatch.setattr(model, "log_backward_encoder", noted)
    values = take(state)
    assert found["network"] == {torch.bfloat16 if precision == "bf16" else torch.float32}
    assert found["head"] == {torch.float32}
    assert {value.dtype for value in values.values()} == {torch.float32}
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}


def take(state: Any) -> dict[str, torch.Tensor]:
    x_BCHW = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return taken(state, x_BCHW)


def taken(state: Any, x_BCHW: torch.Tensor) -> dict[str, torch.Tensor]:
    samples_B = torch.arange(8)
    noise_BZ = encoder_noise.draw(state.run, 0, samples_B, "cpu")
    return step.train_step(
        state, step.scheduled_values(state, EpochSampler(state.run, 60)), 0, samples_B, x_BCHW, samples_B, noise_BZ
    )


@pytest.mark.parametrize(("asked", "last"), [(None, True), (True, True), (False, False)])
def test_the_layout_reaches_the_network(change: Change, asked: bool | None, last: bool) -> None:
    run = change(data=spec.Data(name="cifar10"), network=NORMED)
    state = initial_state(run, torch.arange(8), "cpu", execution=Execution(channels_last=asked))
    seen = []
    convolution = next(module for module in state.model.modules() if isinstance(module, nn.Conv2d))
    convolution.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    taken(state, torch.rand(8, 3, 32, 32))
    assert seen[0].is_contiguous(memory_format=torch.channels_last) is last


@pytest.mark.parametrize(("precision", "last"), [("fp32", False), ("bf16", True), ("tf32", True)])
def test_on_what_is_no_cpu_the_precision_decides_the_layout(change: Change, precision: Any, last: bool) -> None:
    laid_BCHW = execution.to_memory_format(
        torch.empty(4, 3, 8, 8, device="meta"), change(precision=precision), Execution()
    )
    assert laid_BCHW.is_contiguous(memory_format=torch.channels_last) is last


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp64"])
def test_tf32_is_for_the_runs_that_ask_for_it(change: Change, precision: Any) -> None:
    with training_precision(change(precision=precision), "cpu"):
        assert not torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cudnn.allow_tf32


def test_a_network_is_attacked_in_the_precision_it_learns_in(change: Change) -> None:
    adversary = spec.PgdAdversary(norm="l2", eps=0.5, steps=1, step_size=0.3)
    state, seen = initial_state(change(precision="bf16", adversary=adversary), torch.arange(8), "cpu"), set()
    state.model.network.register_forward_hook(lambda module, inputs, output: seen.add((module.training, output.dtype)))
    take(state)
    assert seen == {(False, torch.bfloat16), (True, torch.bfloat16)}


@pytest.mark.parametrize(("asked", "mode"), [("default", None), ("reduce-overhead", "reduce-overhead")])
def test_the_compiler_is_told_how(
    change: Change, monkeypatch: pytest.MonkeyPatch, asked: Any, mode: str | None
) -> None:
    """Without a GPU there are no CUDA graphs to see."""
    told = []
    monkeypatch.setattr(torch, "compile", lambda forward, mode: told.append(mode) or forward)
    execution.compile_network(initial_state(change(), torch.arange(8), "cpu").model, Execution(compile=asked))
    assert told == [mode]


def test_what_this_machine_can_not_do_is_refused(attempt: Any, change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"^resources\.train\.execution\.compile: reduce-overhead .* no GPU; allowed"):
        attempt(change(), execution=Execution(compile="reduce-overhead"))
    with pytest.raises(InputError, match=r"^precision: tf32 is for GPUs .* allowed: fp32, bf16$"):
        attempt(change(precision="tf32"))
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match=r"there is no C\+\+ compiler 'no-such-compiler' here; allowed: off$"):
        attempt(change(), execution=COMPILED)
    assert not attempt.paths.checkpoints.exists()
