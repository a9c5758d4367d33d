"""What each loader of `Data.loader` can do, and what AutoAugment can do to images in memory and in folders; the rest is
refused before anything is submitted."""

from __future__ import annotations

from msgspec import UNSET

from experiments import datasets
from experiments.spec import AutoAugment, Data, Run

_POLICIES = {
    "torchvision": (
        ("cifar10", "torchvision"),
        ("imagenet", "torchvision"),
        ("cifar10", "cifar10_authors"),
        ("imagenet", "imagenet_authors"),
    ),
    "dali": (("imagenet", "v0"), ("imagenet", "imagenet_authors")),
}
"""(policy, family) of AutoAugment, by loader."""


def problem(run: Run) -> tuple[str, str] | None:
    """The field that contradicts another, and in words what is wrong and what is allowed."""
    return of_data(run.data)


def of_data(data: Data) -> tuple[str, str] | None:
    """The same of a run's data."""
    if data.loader == "dali" and datasets.info(data.name).crop_padding is not None:
        allowed = ", ".join(name for name, info in datasets.DATASETS.items() if info.crop_padding is None)
        wrong = f"loader: dali is for images that are decoded as they are used, and {data.name} is held in memory"
        return "data.loader", f"{wrong}; allowed with it: {allowed}"
    loader = data.loader or "torchvision"
    if isinstance(data.augment, AutoAugment) and (data.augment.policy, data.augment.family) not in _POLICIES[loader]:
        allowed = ", ".join(f"{{policy: {policy}, family: {family}}}" for policy, family in _POLICIES[loader])
        wrong = f"{{policy: {data.augment.policy}, family: {data.augment.family}}}"
        return "data.augment.family", f"augment: the loader {loader} has no {wrong}; allowed: {allowed}"
    return _of_augment(data) if isinstance(data.augment, AutoAugment) else None


def _of_augment(data: Data) -> tuple[str, str] | None:
    """The same of the fields of AutoAugment, beside the images it is for."""
    augment, info = data.augment, datasets.info(data.name)
    assert isinstance(augment, AutoAugment)
    if info.channels != 3 and augment.family in ("cifar10_authors", "imagenet_authors"):
        wrong = f"family: {augment.family} is for images in colour, and those of {data.name} are grey"
        return "data.augment.family", f"{wrong}; allowed: torchvision"
    if info.crop_padding is None:
        for field in ("order", "crop_offsets", "cutout", "fill"):
            if getattr(augment, field) is not UNSET:
                wrong = f"{field}: it is for images that are held in memory, and {data.name} is decoded as it is used"
                return f"data.augment.{field}", f"{wrong}; leave it out"
        if augment.family == "cifar10_authors":
            wrong = f"family: cifar10_authors is for images that are held in memory, and {data.name} is not"
            return "data.augment.family", f"{wrong}; allowed: {{policy: imagenet, family: imagenet_authors}}"
    elif augment.crop_offsets and augment.crop_offsets > (most := 2 * info.crop_padding + 1):
        return "data.augment.crop_offsets", f"crop_offsets: {data.name} has {most} at most, got {augment.crop_offsets}"
    return None
