"""The benchmarks of a trained network: the resolved spec of one evaluation, and its measures.

In a matrix a benchmark is a name, or a name with its parameters. A list of values is one benchmark for each;
`only` restricts the benchmark to some of the runs, in the selection language:

    evaluate:
      - clean
      - pgd: {norm: linf, eps: [2/255, 8/255], steps: 20}
      - pgd: {norm: linf, eps: 8/255, steps: 50, only: rho = 0}
      - transfer: {source: rho = 5, norm: linf, eps: 8/255, only: rho = 0}

A benchmark may be declared before its evaluator exists, so that the matrices are complete. `is_runnable` tells them
apart, and only runnable ones are submitted.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from experiments.datasets import OTHER_TEST_SETS, DatasetInfo, OtherTestSet
from experiments.spec import Count, Part, Pixels

Norm = Literal["linf", "l2"]
Loss = Literal["cross_entropy", "margin", "dlr"]
Subset = Count | UnsetType
"""Measure only this many of a benchmark's images, drawn evenly from the classes in a fixed order. Unset: all."""
RunId = Annotated[str, Meta(pattern="^r[0-9a-f]{16}$", extra={"unit": "run"})]
"""A run of the same matrix. A matrix has in its place a selection of one run."""

EOT_DRAWS = 20
"""Draws of z for each gradient of AutoAttack's `rand`, as its authors set it."""

CORRUPTIONS = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
"""The 15 of the Common Corruptions benchmark, in the order in which the papers print them."""

EXTRA_CORRUPTIONS = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""The four that its authors keep for validation."""

CORRUPTIONS_3D = (
    "near_focus", "far_focus", "bit_error", "color_quant", "flash", "fog_3d", "h265_abr", "h265_crf", "iso_noise",
    "low_light", "xy_motion_blur", "z_motion_blur",
)  # fmt: skip
"""The twelve of ImageNet-3DCC, as its folders are called."""

PUBLISHED_SIZES = (224, 64, 32)
"""The sizes of images, in pixels, for which severities were published."""

Pipeline = Literal["official", "official-recrop", "regenerated", "in-memory", "ours"]


class Benchmark(Struct, frozen=True, forbid_unknown_fields=True, tag_field="name"):
    """One benchmark with its parameters."""

    data_sets: ClassVar[tuple[str, ...]] = ()
    """The data sets that it is defined for; empty: all."""


class Clean(Benchmark, frozen=True, tag="clean"):
    """Top-1 accuracy on the test images, over mean encodings."""

    subset: Subset = UNSET


class CleanHoldout(Benchmark, frozen=True, tag="clean_holdout"):
    """Top-1 accuracy on the training images that were held out (`data.holdout`), over mean encodings: for the choice
    of rho*, so that it is not made on the test set."""

    subset: Subset = UNSET


class Top5(Benchmark, frozen=True, tag="top5"):
    """Top-5 accuracy on the test images, over mean encodings."""

    subset: Subset = UNSET


class Information(Benchmark, frozen=True, tag="information"):
    """Rate R, residual information Rex and H(Y|Z) on the test images, in nats, over sampled z (FACTS section 2)."""

    samples: Count = 8
    """Draws of z per image."""
    subset: Subset = UNSET


class TrainInformation(Benchmark, frozen=True, tag="information_train"):
    """The measures of `information` on the training images, without augmentation. The difference from those on the test
    images shows how much information is particular to the training images."""

    samples: Count = 8
    """Draws of z per image."""
    subset: Count | None = None
    """Only this many of the training images, drawn evenly from the classes in a fixed order; null: all."""


class Calibration(Benchmark, frozen=True, tag="calibration"):
    """Calibration of confidence, over mean encodings: the expected calibration error (Guo et al., 2017), the negative
    log likelihood in nats, and the Brier score (the squared distance of the probabilities from the label's, 0 to 2)."""

    bins: Count = 15
    """Of equal width, of the confidence, for the expected calibration error."""
    subset: Subset = UNSET


class OutOfDistribution(Benchmark, frozen=True, tag="ood"):
    """Detection of another set's images by the largest class probability (Hendrycks & Gimpel, 2017) or by information
    (Fischer, 2020): the area under the ROC curve, and the share of these images that is taken for test images where 95%
    of the test images are."""

    against: Literal["digits", "cifar10", "cifar10-jpeg", "fashion_mnist", "imagenet-sample", "photographs"]
    """The other set, resized and coloured as the network needs its images. `imagenet-sample`: one real
    image of each ImageNet class; `photographs`: 520 windows of the two photographs that scikit-learn ships."""
    subset: Count | None = None
    """At most this many images of either set, drawn evenly from the classes in a fixed order; null: all."""
    score: Literal["rate", "residual_information"] | UnsetType = UNSET
    """The score of an image; the lower one is taken for a test image. `rate`: log e(z|x) - log m(z);
    `residual_information`: log e(z|x) - log b(z|y) of the predicted class; both at the mean of e(z|x), for objectives
    that have m, or b. Unset: minus the largest class probability."""


class TrainingRate(Benchmark, frozen=True, tag="training_rate"):
    """The maximum training rate of v1 Figure 1, in nats: the largest, over the epochs of training behind the jump-start
    (in which the rate says how far the marginal lags), of the rate over an epoch's images. That the maximum is one over
    epochs, and over these, is a guess: v1 says "max training rate" and no more."""


def default_step_size(eps: float, steps: int) -> float:
    """Return the step of attacks that name none: 4/3 eps/steps, so that they reach the ball's edge (v2 section 2.4)."""
    return 4 / 3 * eps / steps


class Pgd(Benchmark, frozen=True, tag="pgd"):
    """Projected gradient descent (Madry et al., 2017) on mean encodings in fp32."""

    norm: Norm
    eps: Pixels
    """Radius of the ball in [0, 1] pixel units; `8/255` and `8 px` are the same."""
    steps: Count = 20
    step_size: Pixels | None = None
    """null: `default_step_size`, 4/3 eps/steps."""
    random_start: bool = True
    """Start uniformly in the ball, else at the image."""
    subset: Count | None = None
    """Attack only this many test images, drawn evenly from the classes in a fixed order; null: all."""
    target: Annotated[int, Meta(ge=0)] | Literal["none", "random"] = "none"
    """`none`: away from the label; `random`: toward (label + U{1..K-1}) mod K (Kurakin et al., 2016; v2 section 3.2),
    with error (as accuracy) and success over all images; the number of a class: toward it, with the success of v1
    section 3.1, the images right on clean that become the target over the images right on clean (images of the
    target class itself are in neither)."""
    loss: Loss | Part = "cross_entropy"
    """The loss that the attack climbs: the cross-entropy, the margin (Carlini & Wagner, 2017), the
    difference-of-logits ratio (Croce & Hein, 2020), or `{from: …}`, a loss of one's own, without a target."""
    restarts: Count = 1
    """Random starts of each image, which counts as right if it is right at the end of every one."""


class Transfer(Benchmark, frozen=True, tag="transfer", kw_only=True):
    """Untargeted PGD examples made on another run of the matrix, tested on this one (v1 Figure 3)."""

    source: RunId
    """The run the examples are made on. In a matrix: a selection that leaves one run, such as `rho = 5`."""
    norm: Norm
    eps: Pixels
    steps: Count = 20
    step_size: Pixels | None = None
    """null: as of `pgd`."""
    random_start: bool = True
    subset: Count | None = None


class AutoAttack(Benchmark, frozen=True, tag="autoattack"):
    """AutoAttack (Croce & Hein, 2020). `min_classes` says for how many classes it is defined, `min_image_size` for
    which images.

    `standard` and `plus` judge the classifier over mean encodings: an image counts as right if it is right before and
    behind every attack of the ensemble. `rand` judges the classifier that averages the probabilities c(y|z) over
    `draws` draws of z from e(z|x). The attack climbs that average over draws of its own; an image counts as right if
    the average over fresh draws is right at the one point that the attack chose. A count over several draws, each of
    which must be right (the authors' `rand`), is no accuracy of any classifier: it falls as draws are added, at radius
    0 too.
    """

    norm: Norm
    eps: Pixels
    version: Literal["standard", "plus", "rand"] = "standard"
    """`standard`: APGD by cross-entropy and by targeted DLR, targeted FAB and Square, on mean encodings; `plus`: these
    and, with 5 restarts each, APGD by cross-entropy and by DLR and FAB without targets; `rand`: on sampled z, APGD by
    cross-entropy and by DLR, each gradient that of a mean over 20 draws (EOT), or over `draws` if they are more.
    Targets are the 9 likeliest other classes, or all where there are fewer."""
    subset: Count | None = None
    """Attack only this many test images, drawn evenly from the classes in a fixed order; null: all."""
    draws: Count | UnsetType = UNSET
    """Of `rand`: how many draws of z the judged classifier averages over; 1 is the classifier that draws one z for each
    image. Unset: 20, as many as the authors take for a gradient."""


class GradientAudit(Benchmark, frozen=True, tag="gradient_audit"):
    """A test of the gradients that attacks follow: PGD against itself with another loss, more steps and restarts or a
    huge radius, and against a black-box attack. `cebctl.report.audit_verdict` makes a verdict of the results. Two
    classes have no DLR: there the other loss is the margin alone."""

    norm: Norm
    eps: Pixels
    steps: Count = 20
    queries: Count = 1000
    """Of the black-box attack, Square (Andriushchenko et al., 2020), for each image."""
    subset: Count | None = None
    """Only this many test images, drawn evenly from the classes in a fixed order; null: all."""


class CommonCorruptions(Benchmark, frozen=True, tag="common_corruptions"):
    """Errors under the 15 corruptions at 5 severities (Hendrycks & Dietterich, 2019): ImageNet-C, CIFAR-10-C, or any
    test images, corrupted here. `pipelines` lists those of a data set."""

    pipeline: Pipeline
    """`official`: the published files as they are; `official-recrop`: with the evaluation crop on top; `regenerated`:
    made here as ImageNet-C was, from the short side resized bilinearly to 256 pixels and the central 224, corrupted
    there and saved as JPEG of quality 85; `in-memory`: corrupted behind the evaluation crop at the published severities
    and never saved, as CIFAR-10-C was made; `ours`: the same at any size, at the severities of the nearest published
    one, comparable with nothing published. The two papers' numbers are not on one footing (FACTS section 4)."""
    subset: Count | None = None
    """Only this many test images, drawn evenly from the classes in a fixed order; null: all."""


class ExtraCorruptions(Benchmark, frozen=True, tag="extra_corruptions"):
    """Errors under the four corruptions that the authors keep for validation, likewise."""

    pipeline: Pipeline
    subset: Count | None = None


class Imagenet3dcc(Benchmark, frozen=True, tag="imagenet_3dcc"):
    """Errors under the twelve corruptions of ImageNet-3DCC at 5 severities (Kar et al., 2022), made with the depth of
    each scene: published files alone."""

    pipeline: Literal["official", "official-recrop"] = "official"
    """`official`: the files as they are; `official-recrop`: with the evaluation crop on top."""
    subset: Count | None = None
    """Only this many test images, drawn evenly from the classes in a fixed order; null: all."""

    data_sets: ClassVar[tuple[str, ...]] = ("imagenet",)


class ImagenetA(Benchmark, frozen=True, tag="imagenet_a"):
    """Natural adversarial examples (Hendrycks et al., 2019): 7,500 images of 200 classes, by the argmax over those
    200 (`imagenet_a`) and over all 1,000 (`imagenet_a_1000`)."""

    subset: Subset = UNSET

    data_sets: ClassVar[tuple[str, ...]] = ("imagenet",)


class ImagenetR(Benchmark, frozen=True, tag="imagenet_r"):
    """Renditions: 30,000 paintings, toys, … of 200 classes (Hendrycks et al., 2021), by the argmax over those 200
    (`imagenet_r`) and over all 1,000 (`imagenet_r_1000`)."""

    subset: Subset = UNSET

    data_sets: ClassVar[tuple[str, ...]] = ("imagenet",)


class ImagenetSketch(Benchmark, frozen=True, tag="imagenet_sketch"):
    """50,889 sketches of all 1,000 classes (Wang et al., 2019)."""

    subset: Subset = UNSET

    data_sets: ClassVar[tuple[str, ...]] = ("imagenet",)


class ImagenetV2(Benchmark, frozen=True, tag="imagenet_v2"):
    """A new test set of 10,000 images (Recht et al., 2019)."""

    version: Literal["matched-frequency", "threshold-0.7", "top-images"] = "matched-frequency"
    """The rule that selected its images among the candidates."""
    subset: Subset = UNSET

    data_sets: ClassVar[tuple[str, ...]] = ("imagenet",)


class Cifar101(Benchmark, frozen=True, tag="cifar10_1"):
    """CIFAR-10.1, a new test set for CIFAR-10 (Recht et al., 2018)."""

    version: Literal["v4", "v6"] = "v6"
    """v4 has 2,021 images, v6 2,000 in balanced classes; which one v1 used is not printed."""
    subset: Subset = UNSET

    data_sets: ClassVar[tuple[str, ...]] = ("cifar10", "cifar10-jpeg")


class BenchmarkPart(Part, frozen=True, tag="part", kw_only=True):
    """A benchmark of one's own, on the test images."""

    data_sets: ClassVar[tuple[str, ...]] = ()

    columns: tuple[str, ...]
    """The names of what it measures: its own, or those that its return annotation lists behind its own."""
    subset: Count | None = None
    """Only this many test images, drawn evenly from the classes in a fixed order; null: all."""


AnyBenchmark = (
    Clean | CleanHoldout | Top5 | Information | TrainInformation | TrainingRate | Calibration | OutOfDistribution
    | Pgd | Transfer | AutoAttack | GradientAudit | CommonCorruptions | ExtraCorruptions | Imagenet3dcc | ImagenetA
    | ImagenetR | ImagenetSketch | ImagenetV2 | Cifar101 | BenchmarkPart
)  # fmt: skip
Attack = Pgd | Transfer | AutoAttack | GradientAudit
"""The benchmarks with a norm and a radius."""

NO_EVALUATOR: tuple[type[Benchmark], ...] = ()
"""Declared benchmarks without an evaluator in `jobs.engine.evaluation.evaluators`."""

NOT_RUNNABLE = "no evaluator in this version"
"""The reason that such a benchmark has no result, in the words of every output."""


def is_runnable(benchmark: AnyBenchmark) -> bool:
    """Return whether this version has an evaluator that runs the benchmark."""
    return not isinstance(benchmark, NO_EVALUATOR)


def other_test_set(benchmark: AnyBenchmark) -> OtherTestSet | None:
    """Return the published images that replace the test images, None if none do or if they are corrupted ones."""
    match benchmark:
        case ImagenetA() | ImagenetR() | ImagenetSketch():
            return OTHER_TEST_SETS[tag(benchmark).replace("_", "-")]
        case ImagenetV2():
            return OTHER_TEST_SETS[f"imagenet-v2-{benchmark.version}"]
        case Cifar101():
            return OTHER_TEST_SETS[f"cifar10.1-{benchmark.version}"]
        case _:
            return None


def pipelines(info: DatasetInfo) -> tuple[Pipeline, ...]:
    """Return the pipelines that make corrupted images of a data set."""
    published: dict[str, tuple[Pipeline, ...]] = {
        "imagenet": ("official", "official-recrop", "regenerated"),
        "cifar10": ("official",),
        "cifar10-jpeg": ("official",),
    }
    in_memory: tuple[Pipeline, ...] = ("in-memory",) if info.size in PUBLISHED_SIZES else ()
    any_size: tuple[Pipeline, ...] = ("ours",) if info.size > 1 else ()  # a single pixel can't be zoomed
    return (*published.get(info.name, ()), *in_memory, *any_size)


def min_classes(benchmark: AnyBenchmark) -> int:
    """Return the smallest number of classes for which an attack's loss is defined.

    The difference-of-logits ratio (DLR) divides by the distance of the largest logit to the third, the targeted one by
    that to the mean of the third and the fourth. AutoAttack's authors name no substitute, so that there is no
    AutoAttack for fewer classes.
    """
    match benchmark:
        case Pgd(loss="dlr", target="none") | AutoAttack(version="rand"):
            return 3
        case Pgd(loss="dlr") | AutoAttack():
            return 4
        case _:
            return 2


def judged_draws(benchmark: AutoAttack) -> int:
    """Return the number of draws of z that the classifier averages which `rand` judges."""
    return EOT_DRAWS if isinstance(benchmark.draws, UnsetType) else benchmark.draws


def min_image_size(benchmark: AnyBenchmark) -> int:
    """Return the smallest height and width of images, in pixels, for which an attack is defined: in l2 Square begins
    with fifths of an image (Andriushchenko et al., 2020)."""
    match benchmark:
        case GradientAudit(norm="l2") | AutoAttack(norm="l2", version="standard" | "plus"):
            return 5
        case _:
            return 1


WITHOUT_SQUARE = "for smaller ones there is pgd"
"""The advice for images that are too small for Square."""

WITHOUT_DLR = "for fewer there are pgd: {loss: margin} and gradient_audit"
"""The advice for data sets with too few classes for DLR."""


def tag(benchmark: AnyBenchmark) -> str:
    """Return the benchmark's name: `pgd`; of one's own that of its function."""
    if isinstance(benchmark, BenchmarkPart):
        return benchmark.origin.rpartition(":")[2]
    return str(type(benchmark).__struct_config__.tag)


def column(benchmark: AnyBenchmark, measure: str) -> str:
    """Return a measure's column in a report, without parameters: `clean`, `rate`, `pgd_linf`, `pgd_linf_success`, …"""
    if not isinstance(benchmark, Pgd | Transfer | AutoAttack) or measure.endswith("share"):
        return measure
    return f"{tag(benchmark)}_{benchmark.norm}" + ("_success" if measure.endswith("success") else "")


def full_column(benchmark: AnyBenchmark, measure: str) -> str:
    """Return the column with its parameters, for a matrix that has several: `pgd_linf@eps=8/255,n=20`."""
    suffix = parameters(benchmark)
    return f"{column(benchmark, measure)}@{suffix}" if suffix else column(benchmark, measure)


def parameters(benchmark: AnyBenchmark) -> str:
    """Return the parameters that tell a benchmark from others of its kind: `eps=8/255,n=20,target=random`, or ''.

    These are the radius and the number of steps of an attack, and other parameters that differ from the default.
    """
    parts: list[str] = []
    if isinstance(benchmark, BenchmarkPart):
        fields = {**benchmark.fields, **({"subset": benchmark.subset} if benchmark.subset else {})}
        return ",".join(f"{name}={value}" for name, value in fields.items())
    if isinstance(benchmark, Attack):
        parts = [f"eps={format_eps(benchmark.eps)}"]
    if isinstance(benchmark, Pgd | Transfer | GradientAudit):
        parts.append(f"n={benchmark.steps}")
    for name, default in zip(benchmark.__struct_fields__, _defaults(type(benchmark)), strict=True):
        value = getattr(benchmark, name)
        if value != default and name not in ("norm", "eps", "steps", "samples"):
            parts.append(f"{name}={format_eps(value) if name == 'step_size' else value}")
    return ",".join(parts)


def describe(benchmark: AnyBenchmark) -> str:
    """Return the benchmark in the words of a plan: `pgd linf eps=8/255,n=20`."""
    norm = benchmark.norm if isinstance(benchmark, Attack) else ""
    return " ".join(part for part in (tag(benchmark), norm, parameters(benchmark)) if part)


def format_eps(eps: float) -> str:
    """Return the shorter of a radius as a decimal and over 255: `0.1`, `8/255`. Read again, it is the same number."""
    decimal = f"{eps:g}" if float(f"{eps:g}") == eps else repr(eps).removesuffix(".0")
    in_255 = f"{eps * 255:.4f}".rstrip("0").rstrip(".")
    exact = float(in_255) / 255 == eps
    return f"{in_255}/255" if exact and len(in_255) + len("/255") < len(decimal) else decimal


def largest_eps(norm: Norm, info: DatasetInfo) -> float:
    """Return the radius of a ball around any image that contains every image."""
    return 1.0 if norm == "linf" else math.sqrt(info.channels * info.size**2)


def measures(benchmark: AnyBenchmark) -> tuple[str, ...]:
    """Return the measures of a benchmark that a report has a column for, in order."""
    match benchmark:
        case Information():
            return ("rate", "residual_information", "conditional_entropy")
        case TrainInformation():
            return ("rate_train", "residual_information_train", "conditional_entropy_train")
        case TrainingRate():
            return ("rate_train_max",)
        case Calibration():
            return ("ece", "nll", "brier")
        case OutOfDistribution():
            return ("ood_auroc", "ood_fpr95")
        case CommonCorruptions():
            return ("mce", "average_ce", *CORRUPTIONS)
        case ExtraCorruptions():
            return EXTRA_CORRUPTIONS
        case Imagenet3dcc():
            return CORRUPTIONS_3D
        case ImagenetA() | ImagenetR():
            return (tag(benchmark), f"{tag(benchmark)}_1000")
        case Pgd(target=target) if target != "none":
            return (column(benchmark, "accuracy"), column(benchmark, "success"))
        case Pgd() | Transfer() | AutoAttack():
            return (column(benchmark, "accuracy"),)
        case GradientAudit():  # a report has its verdict in words
            return ()
        case BenchmarkPart():
            return benchmark.columns
        case _:
            return (tag(benchmark),)


def _defaults(kind: type[Benchmark]) -> tuple[object, ...]:
    """Return each field's default, and for a required one an object that equals no value."""
    required = len(kind.__struct_fields__) - len(kind.__struct_defaults__)
    return (*(object() for _ in range(required)), *kind.__struct_defaults__)
