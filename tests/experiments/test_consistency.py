"""Loaders of images: what one can not do is refused where a matrix asks for it; who names none keeps the old ids."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from experiments.errors import MatrixError
from experiments.identity import canonical
from experiments.matrix.load import load
from experiments.spec import AutoAugment, Data, Run

BASE = "{data: imagenet, network: {name: resnet, depth: 50}, objective: xent, optimiser: adam, epochs: 1, batch: 8}"


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("vib", "bottleneck_dim: 3", "bottleneck_dim: it is for a `covariance` that is learned, and this one is 1"),
        ("ceb", "initial_scale: 0.5", "initial_scale: it is for a `covariance` that is learned, and this one is 1"),
        ("ceb", "covariance: full", "covariance"),
        ("xent", "covariance: full", "rho"),
    ],
)
def test_a_field_of_a_learned_covariance_needs_one(matrix, kind: str, fields: str, message: str) -> None:
    with pytest.raises(MatrixError, match=re.escape(message)):
        matrix(f"grids: [{{data: digits, network: small_cnn, objective: {{name: {kind}, rho: 1, {fields}}}}}]")


@pytest.fixture
def matrix(write):
    return lambda sections: load(write(f"base: {BASE}\n{sections}"))


def test_the_loader_is_part_of_a_run_where_it_is_set(matrix) -> None:
    plain, dali = matrix("grids: [{augment: crop_flip}, {augment: crop_flip, loader: dali}]").runs
    assert b"loader" not in canonical(plain.run) and plain.run_id != dali.run_id
    assert dali.name == "xent loader=dali" and msgspec.json.decode(canonical(dali.run), type=Run) == dali.run


def test_fields_of_the_authors_code_are_part_of_a_run_where_they_are_set(matrix) -> None:
    ids = set()
    for fields in ("", ", order: policy_first", ", crop_offsets: 8", ", cutout: 16", ", fill: mean"):
        (planned,) = matrix(f"grids: [{{data: cifar10, augment: {{name: autoaugment, policy: cifar10{fields}}}}}]").runs
        augment = msgspec.json.decode(canonical(planned.run))["data"]["augment"]
        assert augment.keys() - {"name", "policy", "family"} == ({fields.split()[1].strip(":")} if fields else set())
        ids.add(planned.run_id)
    assert len(ids) == 5


def test_its_autoaugment_is_of_its_own_family(matrix) -> None:
    augment = "augment: {name: autoaugment, policy: imagenet, family: v0}"
    (planned,) = matrix(f"grids: [{{loader: dali, {augment}}}]").runs
    assert planned.run.data == Data(name="imagenet", augment=AutoAugment("imagenet", "v0"), loader="dali")


@pytest.mark.parametrize(
    ("fields", "place", "message"),
    [
        (
            "loader: dali, augment: {name: autoaugment, policy: imagenet}",
            "3:36",
            "augment: the loader dali has no {policy: imagenet, family: torchvision}; "
            "allowed: {policy: imagenet, family: v0}, {policy: imagenet, family: imagenet_authors}",
        ),
        (
            "augment: {name: autoaugment, policy: imagenet, family: v0}",
            "3:61",
            "augment: the loader torchvision has no {policy: imagenet, family: v0}; "
            "allowed: {policy: cifar10, family: torchvision}, {policy: imagenet, family: torchvision}, "
            "{policy: cifar10, family: cifar10_authors}, {policy: imagenet, family: imagenet_authors}",
        ),
        (
            "augment: {name: autoaugment, policy: cifar10, family: imagenet_authors}",
            "3:60",
            "augment: the loader torchvision has no {policy: cifar10, family: imagenet_authors}; "
            "allowed: {policy: cifar10, family: torchvision}, {policy: imagenet, family: torchvision}, "
            "{policy: cifar10, family: cifar10_authors}, {policy: imagenet, family: imagenet_authors}",
        ),
        (
            "loader: dali, augment: {name: autoaugment, policy: cifar10, family: cifar10_authors}",
            "3:74",
            "augment: the loader dali has no {policy: cifar10, family: cifar10_authors}; "
            "allowed: {policy: imagenet, family: v0}, {policy: imagenet, family: imagenet_authors}",
        ),
        (
            "augment: {name: autoaugment, policy: cifar10, family: cifar10_authors}",
            "3:60",
            "family: cifar10_authors is for images that are held in memory, and imagenet is not; "
            "allowed: {policy: imagenet, family: imagenet_authors}",
        ),
        (
            "augment: {name: autoaugment, policy: imagenet, fill: mean}",
            "3:59",
            "fill: it is for images that are held in memory, and imagenet is decoded as it is used; leave it out",
        ),
        (
            "data: fashion_mnist, augment: {name: autoaugment, policy: cifar10, family: cifar10_authors}",
            "3:81",
            "family: cifar10_authors is for images in colour, and those of fashion_mnist are grey; "
            "allowed: torchvision",
        ),
        (
            "data: cifar10, augment: {name: autoaugment, policy: cifar10, crop_offsets: 10}",
            "3:81",
            "crop_offsets: cifar10 has 9 at most, got 10",
        ),
        (
            "data: cifar10, augment: {name: autoaugment, policy: cifar10, cutout: 15}",
            "3:75",
            "cutout: expected a whole number >= 2 and <= 1024 and a multiple of 2, got 15",
        ),
        (
            "data: digits, loader: dali",
            "3:28",
            "loader: dali is for images that are decoded as they are used, and digits is held in memory; "
            "allowed with it: imagenet",
        ),
        ("loader: dal", "3:14", "loader: expected one of dali, got 'dal'; did you mean 'dali'? (allowed: dali)"),
    ],
)
def test_what_a_loader_can_not_do_is_refused(matrix, tmp_path: Path, fields: str, place: str, message: str) -> None:
    with pytest.raises(MatrixError) as error:
        matrix(f"grids:\n  - {{{fields}}}\n")
    assert str(error.value) == f"{tmp_path / 'm.yaml'}:{place}: {message}"
