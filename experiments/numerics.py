"""The numerics versions: one for each part of the engine that makes numbers, and those that a number depends on.

A version is raised if and only if the numbers of its part change, not for comments, names or faster code.
`tests/jobs/engine/golden_versions.json` pins the numbers of every version, and `jobs/engine/README.md` explains how to
raise one. Attempts and results record the versions that they were made with (`jobs.journal.records.Started`,
`Result`), so that reports can mark a number whose part, or whose training, has changed since then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from msgspec import UNSET

from experiments import own_dataset
from experiments.batch_norm import has_batch_norm
from experiments.benchmarks import (
    CORRUPTIONS,
    EXTRA_CORRUPTIONS,
    AnyBenchmark,
    AutoAttack,
    BenchmarkPart,
    CommonCorruptions,
    ExtraCorruptions,
    GradientAudit,
    Imagenet3dcc,
    Information,
    OutOfDistribution,
    Pgd,
    TrainInformation,
    TrainingRate,
    Transfer,
    other_test_set,
    tag,
)
from experiments.datasets import DATASETS
from experiments.spec import (
    AugMix,
    AutoAugment,
    Cceb,
    Ceb,
    Data,
    LibraryNetwork,
    Network,
    NoAugment,
    NoJumpStart,
    ObjectivePart,
    Part,
    PgdAdversary,
    RandAugment,
    Run,
    Section,
    SmallCnn,
    TrivialAugment,
    Xent,
    learned_covariance,
)

VERSIONS: dict[str, int] = {
    # Random numbers: the generator of all of them, the order of the images, and the noise of z.
    "randomness.generator": 1,
    "randomness.order": 1,
    "randomness.noise": 1,
    # Images: their pixels, labels and order, and the facts that a network is told (mean, deviation, padding).
    "data.digits": 1,
    "data.cifar10": 1,
    "data.cifar10-jpeg": 1,
    "data.cifar100": 1,
    "data.svhn": 1,
    "data.fashion_mnist": 1,
    "data.stl10": 1,
    "data.tiny_imagenet": 1,
    "data.imagenet": 1,
    "data.own": 1,
    "data.imagenet-c": 1,
    "data.imagenet-3dcc": 1,
    "data.imagenet-a": 1,
    "data.imagenet-r": 1,
    "data.imagenet-sketch": 1,
    "data.imagenet-v2-matched-frequency": 1,
    "data.imagenet-v2-threshold-0.7": 1,
    "data.imagenet-v2-top-images": 1,
    "data.cifar10-c": 1,
    "data.cifar10.1-v4": 1,
    "data.cifar10.1-v6": 1,
    "data.imagenet-sample": 1,
    "data.photographs": 1,
    "data.subset": 1,
    "loader.dali": 1,
    "resize.central_crop": 1,
    "resize.fitted": 1,
    # Augmentation.
    "augment.crop_flip": 1,
    "augment.random_resized_crop": 1,
    "augment.autoaugment_torchvision": 1,
    "augment.autoaugment_v0": 1,
    "augment.autoaugment_cifar10_authors": 1,
    "augment.autoaugment_imagenet_authors": 1,
    "augment.order": 1,
    "augment.crop_offsets": 1,
    "augment.cutout": 1,
    "augment.fill": 1,
    "augment.randaugment": 1,
    "augment.trivialaugment": 1,
    "augment.augmix": 1,
    "augment.erasing": 1,
    "augment.mixup": 1,
    "augment.cutmix": 1,
    # Initialisation.
    "init.streams": 1,
    "init.weights_file": 1,
    "init.foreign_weights": 1,
    # Networks, their initialisation included, and the distributions over z on top of them.
    "network.small_cnn": 1,
    "network.wide_resnet": 1,
    "network.resnet": 1,
    "network.timm": 1,
    "network.torchvision": 1,
    "network.dropout": 1,
    "network.resize": 1,
    "batch_norm.statistics": 1,
    "batch_norm.sync": 1,
    "head.normalise": 1,
    "head.linear": 1,
    "head.consistent": 1,
    "head.backward_encoder": 1,
    "head.marginal": 1,
    "head.encoder_diagonal": 1,
    "head.encoder_full": 1,
    "head.backward_encoder_diagonal": 1,
    "head.marginal_diagonal_mixture": 1,
    "head.marginal_vamp": 1,
    # Training.
    "objective.xent": 1,
    "objective.vib": 1,
    "objective.ceb": 1,
    "objective.cceb": 1,
    "jump_start.gamma": 1,
    "jump_start.gated": 1,
    "optimiser.adam": 1,
    "optimiser.adamw": 1,
    "optimiser.adamax": 1,
    "optimiser.nadam": 1,
    "optimiser.radam": 1,
    "optimiser.sgd": 1,
    "optimiser.rmsprop": 1,
    "optimiser.adagrad": 1,
    "optimiser.adadelta": 1,
    "optimiser.marginal": 1,
    "schedule.warmup": 1,
    "schedule.drops": 1,
    "schedule.cosine": 1,
    "schedule.polynomial": 1,
    "schedule.one_cycle": 1,
    "adversary.pgd": 1,
    "precision.fp32": 1,
    "precision.tf32": 1,
    "precision.bf16": 1,
    "precision.fp64": 1,
    "training.length": 1,
    "training.step": 1,
    "training.parts": 1,
    "training.execution": 1,
    "training.decayed": 1,
    "training.label_smoothing": 1,
    "training.clip_norm": 1,
    "training.ema": 1,
    # Attacks.
    "attack.pgd": 1,
    "attack.random_start": 1,
    "attack.loss_cross_entropy": 1,
    "attack.loss_margin": 1,
    "attack.loss_dlr": 1,
    "attack.autoattack_standard": 2,  # of all three, version 1 was the package pyautoattack
    "attack.autoattack_plus": 1,
    "attack.apgd": 2,
    "attack.fab": 1,
    "attack.square": 2,
    # Corruptions, at every severity and published size, and where corrupted images come from.
    "corruption.gaussian_noise": 1,
    "corruption.shot_noise": 1,
    "corruption.impulse_noise": 1,
    "corruption.defocus_blur": 2,
    "corruption.glass_blur": 2,
    "corruption.motion_blur": 2,
    "corruption.zoom_blur": 1,
    "corruption.snow": 2,
    "corruption.frost": 1,
    "corruption.fog": 1,
    "corruption.brightness": 1,
    "corruption.contrast": 1,
    "corruption.elastic_transform": 1,
    "corruption.pixelate": 1,
    "corruption.jpeg_compression": 1,
    "corruption.speckle_noise": 1,
    "corruption.gaussian_blur": 2,
    "corruption.spatter": 1,
    "corruption.saturate": 1,
    "pipeline.official": 1,
    "pipeline.official-recrop": 1,
    "pipeline.regenerated": 1,
    "pipeline.in-memory": 1,
    "pipeline.ours": 1,
    # Evaluation.
    "evaluation.precision": 1,
    "evaluation.measure": 1,
    "evaluator.clean": 1,
    "evaluator.clean_holdout": 1,
    "evaluator.top5": 1,
    "evaluator.information": 1,
    "evaluator.information_train": 1,
    "evaluator.training_rate": 2,
    "evaluator.calibration": 1,
    "evaluator.ood": 1,
    "evaluator.pgd": 1,
    "evaluator.transfer": 1,
    "evaluator.autoattack_standard": 1,
    "evaluator.autoattack_plus": 1,
    "evaluator.autoattack_rand": 2,  # what `evaluator.autoattack` made of it was its version 1
    "evaluator.gradient_audit": 2,
    "evaluator.common_corruptions": 1,
    "evaluator.extra_corruptions": 1,
    "evaluator.imagenet_3dcc": 1,
    "evaluator.imagenet_a": 1,
    "evaluator.imagenet_r": 1,
    "evaluator.imagenet_sketch": 1,
    "evaluator.imagenet_v2": 1,
    "evaluator.cifar10_1": 1,
    # Metrics of training; only `training_rate` is computed from them.
    "metrics.epoch": 1,
    "metrics.diagnostics": 2,
    "metrics.operations": 1,
}
"""The present version of every part."""

RETIRED: frozenset[str] = frozenset({"attack.autoattack", "evaluator.autoattack"})
"""Parts that VERSIONS no longer has: without this list, their numbers would seem to be of a newer cebctl."""

OWN_LOSS = "attack.part"
OWN_PART = "part"
"""The tag of `experiments.spec.Part`."""

NO_RESULT = ("metrics.diagnostics", "metrics.operations")
"""Parts on which no result depends."""

FIRST = 1
"""The version that a part begins with, and that of a part that a record does not name."""

ENGINES: dict[str, dict[str, int]] = {"82611ebf35b1da7a": {}}
"""The versions of engines that recorded a digest instead, by this digest; an empty one means that all are FIRST."""


def training_versions(run: Run) -> dict[str, int]:
    """Return the versions of the parts that the weights of a run depend on, by name."""
    if not run.epochs:
        return _versions(_imported(run))
    parts = {
        "randomness.generator",
        "randomness.order",
        "init.streams",
        "training.length",
        "training.step",
        "training.execution",
        f"precision.{run.precision}",
        f"optimiser.{_tag(run.optimiser)}",
        f"objective.{_tag(run.objective)}",
    }
    parts |= _images(run.data, augmented=True) | _classifier(run) | _densities(run)
    if run.weights:
        parts |= _imported(run)
    if run.data.train_subset or run.data.holdout:
        parts.add("data.subset")
    if has_batch_norm(run.network):
        parts.add("batch_norm.statistics")
    if isinstance(run.network, LibraryNetwork | Part) or isinstance(run.objective, Part):
        parts.add("network.dropout")
    if run.batch_norm:
        parts.add(f"batch_norm.{run.batch_norm}")
    if run.replica_batch:
        parts.add("training.parts")
    settings = {
        "decayed": run.decayed,
        "label_smoothing": run.label_smoothing,
        "clip_norm": run.clip_norm,
        "ema": run.ema_decay,
    }
    parts |= {f"training.{name}" for name, value in settings.items() if value}
    if run.schedule.warmup_epochs:
        parts.add("schedule.warmup")
    if run.schedule.drops:
        parts.add("schedule.drops")
    if run.schedule.name and run.schedule.name != "steps":
        parts.add(f"schedule.{run.schedule.name}")
    if not isinstance(run.objective, Xent):
        parts |= {"randomness.noise", "optimiser.marginal"}
        if not isinstance(run.objective.jump_start, NoJumpStart):
            parts.add(f"jump_start.{_tag(run.objective.jump_start)}")
    if isinstance(run.adversary, PgdAdversary):
        parts |= {"adversary.pgd", "attack.pgd", "attack.random_start", "attack.loss_cross_entropy"}
    return _versions(parts)


def evaluation_versions(run: Run, benchmark: AnyBenchmark) -> dict[str, int]:
    """Return the versions of the parts that a benchmark's result depends on, given the weights of the run."""
    evaluator = f"{tag(benchmark)}_{benchmark.version}" if isinstance(benchmark, AutoAttack) else tag(benchmark)
    if isinstance(benchmark, BenchmarkPart):
        evaluator = OWN_PART
    parts = {f"evaluator.{evaluator}", "evaluation.measure"}
    if isinstance(benchmark, TrainingRate):  # read from the journal, without the network
        return _versions(parts | {"metrics.epoch"})
    parts |= _classifier(run) | _tested_images(run, benchmark) | {"evaluation.precision"}
    match benchmark:
        case Pgd() | Transfer():
            loss = benchmark.loss if isinstance(benchmark, Pgd) else "cross_entropy"
            parts |= {"attack.pgd", OWN_LOSS if isinstance(loss, Part) else f"attack.loss_{loss}"}
            if benchmark.random_start:
                parts |= {"attack.random_start", "randomness.generator"}
            if isinstance(benchmark, Pgd) and benchmark.target == "random":
                parts.add("randomness.generator")
        case AutoAttack(version="standard" | "plus"):
            parts |= {f"attack.autoattack_{benchmark.version}", "attack.apgd", "attack.fab", "attack.square"}
            parts |= {"attack.loss_cross_entropy", "attack.loss_margin", "attack.loss_dlr"}
            parts |= {"attack.random_start", "randomness.generator"}
        case AutoAttack():
            parts |= {"attack.apgd", "attack.random_start", "randomness.generator"}
            parts |= {"attack.loss_cross_entropy", "attack.loss_margin", "attack.loss_dlr"}
        case GradientAudit():
            parts |= {"attack.pgd", "attack.random_start", "randomness.generator", "attack.square"}
            parts |= {f"attack.loss_{loss}" for loss in ("cross_entropy", "margin", "dlr")}
        case Information() | TrainInformation():
            parts |= _densities(run) | {"randomness.generator"}
        case BenchmarkPart():
            parts.add("randomness.generator")
    return _versions(parts)


def count_versions(network: Network) -> dict[str, int]:
    """Return the versions of the parts that the count of a network's operations depends on."""
    return _versions({f"network.{_tag(network)}", "metrics.operations"})


def measure_versions(versions: Mapping[str, int], measure: str) -> dict[str, int]:
    """Return the versions that one measure of an evaluation depends on: of the corruptions only its own."""
    corruption = corruption_name(measure)
    if not corruption:
        return dict(versions)
    own = f"corruption.{corruption}"
    return {part: version for part, version in versions.items() if part == own or not part.startswith("corruption.")}


def corruption_name(measure: str) -> str:
    """Return the corruption of a measure, `fog` of `fog/3`; '' for a measure of none or of several."""
    corruption = measure.partition("/")[0]
    return corruption if corruption in (*CORRUPTIONS, *EXTRA_CORRUPTIONS) else ""


def recorded_versions(versions: Mapping[str, int], engine: str | None) -> Mapping[str, int] | None:
    """Return the versions of a record, or else those of the engine that made it; None if neither is known."""
    return versions or ENGINES.get(engine or "")


@dataclass(frozen=True)
class VersionDifference:
    """The parts whose versions differ between a number's record and this checkout."""

    raised: tuple[str, ...] = ()
    """Parts whose numbers have changed since then."""
    newer: tuple[str, ...] = ()
    """Parts that this checkout has in an earlier version or lacks: a newer cebctl made the number."""
    unrecorded: bool = False
    """The engine that made the number recorded no versions and is not in ENGINES."""

    def __bool__(self) -> bool:
        return bool(self.raised or self.newer or self.unrecorded)

    def __or__(self, other: VersionDifference) -> VersionDifference:
        return VersionDifference(
            tuple(sorted({*self.raised, *other.raised})),
            tuple(sorted({*self.newer, *other.newer})),
            self.unrecorded or other.unrecorded,
        )


def compare_versions(recorded: Mapping[str, int] | None, needed: Iterable[str]) -> VersionDifference:
    """Return the differences between recorded versions and the present ones.

    They are over the recorded parts and those that are `needed` now. `recorded` is the value of `recorded_versions`.
    """
    if recorded is None:
        return VersionDifference(unrecorded=True)
    parts = sorted({*recorded, *needed} - RETIRED)
    present = {part: VERSIONS.get(part, 0) for part in parts}
    return VersionDifference(
        tuple(part for part in parts if recorded.get(part, FIRST) < present[part]),
        tuple(part for part in parts if recorded.get(part, FIRST) > present[part]),
    )


def _imported(run: Run) -> set[str]:
    """Return the parts that make a network of an imported file."""
    return {"init.weights_file"} | (set() if isinstance(run.network, SmallCnn) else {"init.foreign_weights"})


def _classifier(run: Run) -> set[str]:
    """Return the parts that make logits of images."""
    parts = {f"network.{_tag(run.network)}", "head.normalise"} | _encoder(run)
    if isinstance(run.network, LibraryNetwork) and run.network.input_size:
        parts.add("network.resize")
    return parts | (
        {"head.consistent", *_backward_encoder(run)} if isinstance(run.objective, Cceb) else {"head.linear"}
    )


def _densities(run: Run) -> set[str]:
    """Return the parts that make log densities of z."""
    objective = run.objective
    if isinstance(objective, Xent):
        return set()
    marginal = objective.marginal
    parts = {f"head.marginal_{marginal.name}" if marginal.name not in (UNSET, "mixture") else "head.marginal"}
    parts = (set() if marginal.own else parts) | _encoder(run)
    return parts | (_backward_encoder(run) if isinstance(objective, Ceb | Cceb | ObjectivePart) else set())


def _encoder(run: Run) -> set[str]:
    covariance = learned_covariance(run.objective)
    return {f"head.encoder_{covariance}"} if covariance else set()


def _backward_encoder(run: Run) -> set[str]:
    learned = {"head.backward_encoder_diagonal"} if learned_covariance(run.objective) else set()
    return {"head.backward_encoder"} | learned


def _images(data: Data, *, augmented: bool) -> set[str]:
    """Return the parts that make the pixels of a data set: `augmented` in training, else in evaluation."""
    parts = {"data.own" if own_dataset.is_own(data.name) else f"data.{data.name}"}
    in_folders = data.name in DATASETS and DATASETS[data.name].crop_padding is None
    augment = data.augment if augmented else NoAugment()
    if in_folders and data.loader:
        parts.add(f"loader.{data.loader}")
    if in_folders and isinstance(augment, NoAugment | Part):
        parts.add("resize.central_crop")
    if isinstance(augment, Part):
        parts.add("randomness.generator")
    if not isinstance(augment, NoAugment | Part):
        parts.add("augment.random_resized_crop" if in_folders else "augment.crop_flip")
    if augmented:
        parts |= {f"augment.{name}" for name in ("erasing", "mixup", "cutmix") if getattr(data, name)}
    if isinstance(augment, RandAugment | TrivialAugment | AugMix):
        parts.add(f"augment.{_tag(augment)}")
    if isinstance(augment, AutoAugment):
        parts.add(f"augment.autoaugment_{augment.family}")
        fields = ("order", "crop_offsets", "cutout", "fill")
        parts |= {f"augment.{field}" for field in fields if getattr(augment, field) is not UNSET}
    return parts


def _tested_images(run: Run, benchmark: AnyBenchmark) -> set[str]:
    """Return the parts that make the images of a benchmark."""
    parts = _images(run.data, augmented=False)
    if getattr(benchmark, "subset", None) or tag(benchmark) in ("clean_holdout", "information_train"):
        parts.add("data.subset")
    if test_set := other_test_set(benchmark):
        parts.add(f"data.{test_set.name}")
    if isinstance(benchmark, OutOfDistribution):
        parts |= {f"data.{benchmark.against}", "resize.fitted"}
    if isinstance(benchmark, Imagenet3dcc):
        parts |= {f"pipeline.{benchmark.pipeline}", "data.imagenet-3dcc"}
    if isinstance(benchmark, CommonCorruptions | ExtraCorruptions):
        parts.add(f"pipeline.{benchmark.pipeline}")
        if benchmark.pipeline == "regenerated":  # decodes by Pillow, and has a crop of its own
            parts -= {"resize.central_crop", "loader.dali"}
        if benchmark.pipeline.startswith("official"):
            parts.add("data.imagenet-c" if run.data.name == "imagenet" else "data.cifar10-c")
        else:
            names = CORRUPTIONS if isinstance(benchmark, CommonCorruptions) else EXTRA_CORRUPTIONS
            parts |= {f"corruption.{name}" for name in names}
    return parts


def _versions(parts: set[str]) -> dict[str, int]:
    # A part of one's own has no version: its digest is in the run's identity.
    return {part: VERSIONS[part] for part in sorted(parts) if not part.endswith(f".{OWN_PART}")}


def _tag(section: Section) -> str:
    return str(type(section).__struct_config__.tag)
