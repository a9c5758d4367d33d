"""Counting what networks cost, once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cebctl.planning import flop_counts
from experiments import costs, numerics
from experiments.errors import InputError
from experiments.spec import Adam, Data, Run, SmallCnn, Torchvision, Xent

RUN = Run(
    data=Data(name="digits"), network=SmallCnn(width=5, z_dim=7), objective=Xent(), optimiser=Adam(), epochs=1, batch=8
)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many networks the engine was asked to count, call by call."""
    monkeypatch.setenv("CEBCTL_CACHE", str(tmp_path / "cache"))
    calls: list[int] = []
    count = flop_counts._count

    def counted(runs: Sequence[Run]) -> Any:
        calls.append(len(runs))
        return count(runs)

    monkeypatch.setattr(flop_counts, "_count", counted)
    return calls


def test_a_network_is_counted_once_and_what_is_damaged_again(asked: list[int], tmp_path: Path) -> None:
    wider = msgspec.structs.replace(RUN, network=SmallCnn(width=6, z_dim=7))
    first = flop_counts.cached_flop_counts([RUN, RUN, wider])
    assert asked == [2] and first[costs.count_key(RUN)].z_dim == 7
    assert flop_counts.cached_flop_counts([wider, RUN]) == first and asked == [2]
    files = sorted((tmp_path / "cache").iterdir())
    assert len(files) == 2
    files[0].write_bytes(files[0].read_bytes()[:-9])
    files[1].write_bytes(b"{}")
    assert flop_counts.cached_flop_counts([RUN, wider]) == first and asked == [2, 2]


def test_a_network_of_another_version_is_counted_anew(asked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    flop_counts.cached_flop_counts([RUN])
    monkeypatch.setattr("jobs.provenance.engine_digest", lambda: "of a comment more")
    flop_counts.cached_flop_counts([RUN])
    assert asked == [1]
    monkeypatch.setitem(numerics.VERSIONS, "network.small_cnn", 2)
    flop_counts.cached_flop_counts([RUN])
    assert asked == [1, 1]


def test_without_a_place_to_remember_it_is_counted_every_time(asked: list[int], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert flop_counts.cached_flop_counts([RUN]) == flop_counts.cached_flop_counts([RUN]) and asked == [1, 1]


def test_what_the_table_has_is_not_counted(asked: list[int]) -> None:
    network, _, _ = next(iter(costs.network_counts()))
    data = next(
        name
        for name in ("imagenet", "cifar10", "digits")
        if costs.count_key(_on(name, network)) in costs.network_counts()
    )
    assert flop_counts.cached_flop_counts([_on(data, network)]) and not asked


def _on(data: str, network: Any) -> Run:
    return msgspec.structs.replace(RUN, data=Data(name=data), network=network)


@pytest.mark.parametrize(
    ("network", "wrong"),
    [
        (Torchvision(model="vgg11"), "vgg11: does not take images of 1x8x8: .*; `input_size` resizes them$"),
        (Torchvision(model="resnet18", args='{"depth":3}'), "resnet18: can't be built with depth=3: .*'depth'"),
    ],
)  # fmt: skip
def test_what_a_library_refuses_to_build_is_a_fault_of_the_input(
    asked: list[int], network: Torchvision, wrong: str
) -> None:
    with pytest.raises(InputError, match=f"^counting operations: network.model {wrong}") as caught:
        flop_counts.cached_flop_counts([_on("digits", network)])
    assert "\n" not in str(caught.value)


def test_another_version_of_a_library_is_counted_anew(asked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    run = _on("digits", Torchvision(model="shufflenet_v2_x0_5", input_size=32))
    flop_counts.cached_flop_counts([run])
    flop_counts.cached_flop_counts([run])
    assert asked == [1]
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.1")
    flop_counts.cached_flop_counts([run])
    assert asked == [1, 1]
