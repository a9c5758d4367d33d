"""What each loader of `Data.loader` can do; what it can not is refused before anything is submitted."""

from __future__ import annotations

from experiments import datasets
from experiments.spec import AutoAugment, Data, Run

_POLICIES = {
    "torchvision": (("cifar10", "torchvision"), ("imagenet", "torchvision")),
    "dali": (("imagenet", "v0"),),
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
    return None
