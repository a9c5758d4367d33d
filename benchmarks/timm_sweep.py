"""Build every architecture that timm lists, and let each take one CEB step and one PGD step at its smallest input.

    nice -n 19 python benchmarks/timm_sweep.py sweep.jsonl             goes on where the file ends
    python benchmarks/timm_sweep.py sweep.jsonl --report               the figures, and each reason why not

A line of the file is one architecture. Each runs in a child of its own, with a limit of memory and of time; those of
more than 100 M parameters come last.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import timm
import torch

from experiments import datasets, spec
from jobs.engine.attacks.pgd import pgd
from jobs.engine.models import without_weights
from jobs.engine.training import encoder_noise, step
from jobs.engine.training.epoch_sampler import EpochSampler
from jobs.engine.training.train_state import initial_state

SIZES = (32, 56, 64, 96, 112, 128, 160, 192, 224, 240, 256, 288, 320, 336, 384, 448, 512)
LARGE = 100_000_000
DATA = "cifar10"
_HUGE = re.compile("huge|giant|gigantic|enormous|xlarge|xxlarge|so400m|7b")
"""Names of architectures that take too long to be asked for their size among the others."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("journal", type=Path)
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--gib", type=float, default=10, help="of memory for each")
    parser.add_argument("--seconds", type=int, default=180, help="of a core's time for each")
    parser.add_argument("--shard", default="1/1", help="of several processes that share the work, as 2/3")
    parser.add_argument("--models", nargs="*", default=[], help="these alone")
    options = parser.parse_args()
    if options.report:
        report(read(options.journal))
        return
    torch.set_num_threads(1)
    names = options.models or timm.list_models()
    random.Random(0).shuffle(names)  # so that what there is so far is a fair sample
    number, shards = map(int, options.shard.split("/"))
    names = names[number - 1 :: shards]
    done = {line["model"]: line for line in read(options.journal)}
    for large in (False, True):
        for name in names:
            line = done.get(name)
            if (line is None and (large or not _HUGE.search(name))) or (large and line and line.get("deferred")):
                done[name] = line = in_child(name, options.gib, options.seconds, large)
                with options.journal.open("a") as file:
                    file.write(json.dumps(line) + "\n")


def read(journal: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, journal.read_text().splitlines()) if journal.exists() else ()
    return list({line["model"]: line for line in lines}.values())


def in_child(name: str, gib: float, seconds: int, large: bool) -> dict[str, Any]:
    """Return the line of one architecture, tried in a forked child."""
    reading, writing = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(reading)
        size = int(gib * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        signal.alarm(6 * seconds)
        with os.fdopen(writing, "w") as pipe, Path(os.devnull).open("w") as null:
            os.dup2(null.fileno(), 2)
            tell(pipe, model=name)
            try:
                trial(name, pipe, large)
            except BaseException as error:
                last = traceback.extract_tb(error.__traceback__)[-1]
                reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
                tell(pipe, reason=reason[:300], place=f"{Path(last.filename).name}:{last.lineno}")
            pipe.flush()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        line: dict[str, Any] = {}
        for text in pipe:
            line |= json.loads(text)
    _, status = os.waitpid(child, 0)
    if status and "reason" not in line:
        line |= {"reason": f"ended by {signal.Signals(os.WTERMSIG(status)).name}" if os.WIFSIGNALED(status) else "died"}
    return line | {"seconds": round(time.monotonic() - started, 1)}


def tell(pipe: Any, **fields: Any) -> None:
    pipe.write(json.dumps(fields) + "\n")
    pipe.flush()


def trial(name: str, pipe: Any, large: bool) -> None:
    """Report how far an architecture comes at the smallest input that it takes. At one pixel in front of the pooling
    some divide by nothing, so that up to two larger inputs are tried after a failure."""
    error: Exception = RuntimeError("no size")
    for size, parameters in buildable_sizes(name, pipe):
        deferred = parameters > LARGE and not large
        tell(pipe, deferred=deferred)
        if deferred:
            return
        try:
            take_steps(name, size, pipe)
            return
        except Exception as caught:
            error = caught
            tell(pipe, too_small=size)
    raise error


def buildable_sizes(name: str, pipe: Any) -> Iterator[tuple[int, int]]:
    """Yield the smallest inputs that an architecture takes, in pixels, and its parameters; three at most."""
    info, error, count = datasets.info(DATA), RuntimeError("no size"), 0
    for size in SIZES:
        try:
            module = without_weights(spec.Timm(model=name, input_size=size), info)
        except Exception as caught:
            error = caught
            continue
        count += 1
        parameters = sum(parameter.numel() for parameter in module.parameters())
        if count == 1:
            tell(pipe, parameters=parameters, meta=next(module.parameters()).is_meta)
        yield size, parameters
        if count == 3 or parameters > LARGE:
            return
    if not count:
        raise error


def take_steps(name: str, size: int, pipe: Any) -> None:
    info = datasets.info(DATA)
    run = spec.Run(
        data=spec.Data(name=DATA), network=spec.Timm(model=name, input_size=size), objective=spec.Ceb(rho=1.0),
        optimiser=spec.Sgd(lr=1e-5), epochs=1, batch=2,
    )  # fmt: skip
    x_BCHW = torch.rand(2, 3, info.size, info.size, generator=torch.Generator().manual_seed(0))
    y_B, samples_B = torch.tensor([1, 7]), torch.tensor([0, 1])
    state = initial_state(run, y_B, "cpu")
    before = [parameter.detach().clone() for parameter in state.model.network.parameters()]
    values = step.train_step(
        state, step.scheduled_values(state, EpochSampler(run, 2)), 0, samples_B, x_BCHW, y_B,
        encoder_noise.draw(run, 0, samples_B, "cpu"),
    )  # fmt: skip
    after = list(state.model.network.parameters())
    assert all(value.isfinite() for value in values.values()), "a loss is not finite"
    assert all(parameter.isfinite().all() for parameter in after), "a weight is not finite"
    assert any(not torch.equal(*pair) for pair in zip(before, after, strict=True)), "no weight has moved"
    unused = sum(parameter.requires_grad and parameter.grad is None for parameter in after)
    tell(pipe, size=size, trained=True, unused=unused)
    del before, after
    model = state.model.eval().requires_grad_(False)
    attacked_BCHW = pgd(model.classify, x_BCHW, y_B, norm="linf", eps=0.1, steps=1, step_size=0.05)
    distance = (attacked_BCHW - x_BCHW).abs().max().item()
    assert 0 < distance <= 0.1 + 1e-6, f"PGD moved the images by {distance:g}"
    assert torch.equal(model.classify(x_BCHW), model.classify(x_BCHW)), "two evaluations differ"
    tell(pipe, attacked=True)


def report(lines: list[dict[str, Any]]) -> None:
    """Print the share that works, of those below 100 M parameters and of all, and each reason with its count."""
    groups = {
        "below 100 M parameters": [line for line in lines if line.get("parameters", 0) <= LARGE],
        "all": [line for line in lines if not line.get("deferred")],
    }
    print(f"timm {timm.__version__}, torch {torch.__version__}: {len(lines)} of {len(timm.list_models())} tried")
    for title, members in groups.items():
        worked = sum(bool(line.get("attacked")) for line in members)
        print(f"{title}: {worked} of {len(members)} work, {worked / max(len(members), 1):.1%}")
    reasons: dict[str, list[str]] = {}
    for line in lines:
        if not line.get("attacked") and not line.get("deferred"):
            reasons.setdefault(re.sub(r"\d+", "N", line.get("reason", "?"))[:110], []).append(line["model"])
    for reason, models in sorted(reasons.items(), key=lambda item: -len(item[1])):
        print(f"{len(models):4} {reason} ({', '.join(models[:2])})")
    print("smallest input:", dict(sorted(Counter(line.get("size") for line in lines if line.get("size")).items())))


if __name__ == "__main__":
    main()
    sys.exit()
