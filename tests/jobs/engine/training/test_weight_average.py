"""The average of the weights against torch's own and TensorFlow's rule, in checkpoints, and as what is judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from experiments import spec
from jobs.engine import checkpoint_format
from jobs.engine.training.train_state import initial_state
from jobs.engine.training.weight_average import WeightAverage
from tests.jobs.engine.golden.training import NORMED


def walked(run: spec.Run, steps: int, beside: Callable[[torch.nn.Module], None]) -> WeightAverage:
    """Change the weights of a run's model at random so many times, and average them."""
    state = initial_state(run, torch.arange(10), "cpu")
    assert state.average is not None
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for step in range(1, steps + 1):
            for tensor in state.model.state_dict().values():
                tensor.add_(torch.randn(tensor.shape) if tensor.is_floating_point() else 1)
            state.average.update(step)
            beside(state.model)
    return state.average


def assert_equal(average: WeightAverage, expected: dict[str, torch.Tensor]) -> None:
    assert average.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(average.tensors[name], tensor, msg=name)


def test_it_is_torchs_averaged_model(change: Callable[..., spec.Run]) -> None:
    run = change(ema_decay=0.8, network=NORMED)
    theirs = AveragedModel(
        initial_state(run, torch.arange(10), "cpu").model, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True
    )
    average = walked(run, 5, theirs.update_parameters)
    expected = {name: tensor for name, tensor in theirs.module.state_dict().items() if "tracked" not in name}
    counters = {name: tensor for name, tensor in average.tensors.items() if "tracked" in name}
    assert counters and all(int(tensor) == 5 for tensor in counters.values())
    assert_equal(average, expected | counters)


def test_tensorflows_begins_with_the_initial_weights_and_a_smaller_decay(change: Callable[..., spec.Run]) -> None:
    run = change(ema_decay=0.25, ema_form="tensorflow")
    expected = {
        name: tensor.clone() for name, tensor in initial_state(run, torch.arange(10), "cpu").model.state_dict().items()
    }
    decays = iter((2 / 11, 3 / 12, 0.25, 0.25))

    def follow(model: torch.nn.Module) -> None:
        decay = next(decays)
        for name, tensor in model.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * tensor

    assert_equal(walked(run, 4, follow), expected)


def test_it_is_updated_every_so_many_steps(change: Callable[..., spec.Run]) -> None:
    assert walked(change(ema_decay=0.5, ema_every=3), 8, lambda model: None).updates == 2


def test_evaluations_judge_it_unless_the_run_says_otherwise(attempt: Any, change: Callable[..., spec.Run]) -> None:
    run = change(ema_decay=0.9)
    attempt(run)
    loaded = checkpoint_format.load_newest(run, attempt.paths.checkpoints)
    assert loaded is not None
    held = {"average": loaded.state["ema"]["tensors"], "last": loaded.state["model"]}
    assert not torch.equal(held["average"]["classifier.weight"], held["last"]["classifier.weight"])
    judged = checkpoint_format.load_model(run, attempt.paths.checkpoints).model.state_dict()
    assert all(torch.equal(judged[name], tensor) for name, tensor in held["average"].items())


def test_the_last_weights_are_judged_where_the_run_says_so(attempt: Any, change: Callable[..., spec.Run]) -> None:
    run = change(ema_decay=0.9, ema_judged=False)
    attempt(run)
    judged = checkpoint_format.load_model(run, attempt.paths.checkpoints).model.state_dict()
    loaded = checkpoint_format.load_newest(run, attempt.paths.checkpoints)
    assert loaded is not None and all(
        torch.equal(judged[name], tensor) for name, tensor in loaded.state["model"].items()
    )
