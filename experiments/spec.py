"""The resolved *scientific* spec of one run: everything that may change a trained network, nothing else.

A run's identity is the hash of its canonical JSON (`experiments.identity`). Left out on purpose, because they may
change where and how fast a run trains but not the trained network:

- resources (nodes, GPUs, CPUs, memory, time, partition) and the number of workers that load data
- paths (CEBCTL_HOME, CEBCTL_DATA, CEBCTL_STORE)
- the intervals of checkpoints and journal lines
- the benchmarks (`experiments.benchmarks`; an evaluation has its own identity)

A field without effect does not exist: the objective, network, optimiser, … are tagged unions, so `xent` has
no rho to differ in. All fields are resolved and hashed, defaults included. A later field that earlier runs do not need
(`Data.holdout`) is absent where it is unset, so that their identities stay. Where a value means the same (`absent` in
its `Meta`), a matrix may write that value, and it is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1)]
Seed = Annotated[int, Meta(ge=0, lt=2**31)]
Rho = Annotated[float, Meta(ge=-20, le=1000)]
"""gamma = e^-rho: 5e8 at the lower end, 0 in float64 well below the upper."""
Sha256 = Annotated[
    str,
    Meta(pattern="^sha256:[0-9a-f]{64}$", description="`sha256:` and 64 hex digits, as `cebctl import` prints them"),
]
Pixels = Annotated[float, Meta(gt=0, le=1000, extra={"unit": "pixels"})]
"""A distance in image space, in [0, 1] pixel units; a matrix may write it `8/255` or `8 px`."""


class Section(Struct, frozen=True, forbid_unknown_fields=True, tag_field="name"):
    """A group of fields. Where several kinds exist, `name` is the kind."""


# --- parts of one's own ---

Scalar = bool | int | float | str | None
OWN = "own"
"""The field of a section without a tag that holds a part in the place of all others."""


class Part(Section, frozen=True, tag="part", rename={"origin": "from"}, kw_only=True):
    """A part of one's own: a function or class in a user's file or an installed package, by its source and fields."""

    origin: str
    """`parts.py:Vit`, without the folder of the file, or `package.module:Vit`."""
    digest: str
    """Of the source that can change its numbers (`experiments.own_parts`), the version that its author states, or an
    installed package's name and version."""
    fields: dict[str, Scalar | tuple[Scalar, ...]] = {}
    """Its parameters, defaults included."""

    def __str__(self) -> str:
        return " ".join([self.origin, *(f"{name}={value}" for name, value in self.fields.items())])

    def __hash__(self) -> int:
        engine = [getattr(self, name) for name in self.__struct_fields__ if name != "fields"]
        return hash((*engine, *sorted(self.fields.items())))


# --- data ---

DATA_SETS = (
    "digits", "cifar10", "cifar10-jpeg", "cifar100", "svhn", "fashion_mnist", "stl10", "tiny_imagenet", "imagenet",
)  # fmt: skip
_OWN_NAME = "own:[a-z0-9_-]+"
DataName = Annotated[
    str,
    Meta(
        pattern=rf"\A({'|'.join(DATA_SETS)}|{_OWN_NAME})\Z",
        extra={"names": (*DATA_SETS, "own:NAME")},
        extra_json_schema={"anyOf": [{"enum": list(DATA_SETS)}, {"pattern": f"^{_OWN_NAME}$"}]},
    ),
]


class NoAugment(Section, frozen=True, tag="none"):
    """Images as they are."""


class CropFlip(Section, frozen=True, tag="crop_flip"):
    """A random crop and a random horizontal flip: 4 pixels of zero padding at 28x28 and 32x32, 1 pixel and no flip
    for digits; on ImageNet a crop of area 0.08-1 and ratio 3/4-4/3, resized bicubically (FACTS section 3)."""


class AutoAugment(Section, frozen=True, tag="autoaugment"):
    """`crop_flip`, then a policy of AutoAugment (Cubuk et al., 2018) drawn per image."""

    policy: Literal["cifar10", "imagenet"]
    """The published policy."""
    family: Literal["torchvision", "v0", "cifar10_authors", "imagenet_authors"] = "torchvision"
    """The source of its lists: `torchvision` has those printed in the AutoAugment paper, with magnitudes of its own.
    `cifar10_authors` and `imagenet_authors` are the two public codes of the authors' group (tensorflow/models
    research/autoaugment; tensorflow/tpu efficientnet, policy_v0), lists, magnitudes and Pillow's arithmetic. `v0` is
    the second by the loader `dali`, which has its operations itself, rounded otherwise."""
    order: Literal["policy_first"] | UnsetType = UNSET
    """Unset: crop and flip, then the policy. `policy_first`: the policy, then crop and flip, as in the authors' CIFAR
    code. `cutout` is last in both."""
    crop_offsets: Count | UnsetType = UNSET
    """The number of offsets of the crop in each direction. Unset: all, 0 to twice the padding; the authors' CIFAR code
    leaves the last one out: 8, for 0 to 7."""
    cutout: Annotated[int, Meta(ge=2, le=1024, multiple_of=2)] | UnsetType = UNSET
    """Side in pixels of a square that is removed from every image (DeVries & Taylor, 2017), its centre anywhere in the
    image. Unset: none; 16 in the authors' CIFAR code."""
    fill: Literal["mean"] | UnsetType = UNSET
    """The colour of the padding, of the area that a move of the policy leaves empty, and of Cutout's square. Unset:
    black, grey 128 and black. `mean`: the data set's mean colour, 0 behind normalisation, as in the authors' CIFAR
    code. An operation behind a move still sees black there, and where that code converts to RGB (AutoContrast,
    Equalize, Invert, Posterize, Solarize) its result on the black remains."""


class RandAugment(Section, frozen=True, tag="randaugment"):
    """`crop_flip`, then RandAugment (Cubuk et al., 2020) of torchvision, its draws by (seed, epoch, sample)."""

    operations: Count = 2
    magnitude: Annotated[int, Meta(ge=0, le=30)] = 9


class TrivialAugment(Section, frozen=True, tag="trivialaugment"):
    """`crop_flip`, then TrivialAugmentWide (Müller & Hutter, 2021) of torchvision: one operation of any strength."""


class AugMix(Section, frozen=True, tag="augmix"):
    """`crop_flip`, then AugMix (Hendrycks et al., 2020) of torchvision: its images, without its consistency loss."""

    severity: Annotated[int, Meta(ge=1, le=10)] = 3
    chains: Count = 3
    """Chains of operations that are mixed."""
    chain_length: Count | None = None
    """null: 1 to 3, drawn for each chain."""
    alpha: Positive = 1.0
    """Of the Dirichlet and Beta distributions of the weights."""


Augment = NoAugment | CropFlip | AutoAugment | RandAugment | TrivialAugment | AugMix


class Data(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The images a run learns from."""

    name: DataName
    """The data set; `cebctl data list` says where each comes from. `cifar10-jpeg` is CIFAR-10 up to JPEG loss;
    `own:…` a folder of one's own images, by the name that `cebctl init` gives it."""
    train_subset: Count | None = None
    """Use only this many training images, drawn evenly from the classes in a fixed order; null: all."""
    augment: Augment | Part = NoAugment()
    erasing: Annotated[float, Meta(ge=0, le=1, extra={"absent": 0.0})] | UnsetType = UNSET
    """Random Erasing (Zhong et al., 2020): the probability that a rectangle of 2 to 33% of an image, of a ratio of 0.3
    to 3.3, gets the data set's mean colour, as torchvision does it behind normalisation. Unset: 0."""
    mixup: Annotated[float, Meta(ge=0, extra={"absent": 0.0})] | UnsetType = UNSET
    """alpha of mixup (Zhang et al., 2018): each image is lam x itself + (1 - lam) x its partner, lam of
    Beta(alpha, alpha), and the loss is the mean over the two labels with these weights. Unset: 0, none."""
    cutmix: Annotated[float, Meta(ge=0, extra={"absent": 0.0})] | UnsetType = UNSET
    """alpha of CutMix (Yun et al., 2019): a rectangle of (1 - lam) of the area comes from the partner. Beside `mixup`
    each image gets one of the two, as probably the other. Unset: 0, none."""
    mix_probability: Annotated[float, Meta(gt=0, le=1, extra={"absent": 1.0})] | UnsetType = UNSET
    """The share of images that are mixed. Unset: 1."""
    holdout: Count | UnsetType = UNSET
    """Keep this many training images out of training, drawn evenly from the classes, to select on (the benchmark
    `clean_holdout`). They are the last of each class, `train_subset` takes the first: with and without a holdout, a
    small subset is the same."""
    loader: Literal["dali"] | UnsetType = UNSET
    """The library that decodes and crops images in folders. Unset: torchvision, with Pillow; `dali`: NVIDIA DALI, the
    extra of that name, on the GPU where there is one. Their crops differ in rounding only."""


# --- network ---


class SmallCnn(Section, frozen=True, tag="small_cnn"):
    """Three 3x3 convolutions (width, 2 width, 2 width; the last two with stride 2) and a dense layer to z."""

    width: Count = 16
    z_dim: Count = 16


class WideResNet(Section, frozen=True, tag="wide_resnet"):
    """Wide ResNet (Zagoruyko & Komodakis, 2016) with pre-activation blocks; depth is 6 blocks + 4."""

    blocks: Count
    """n, blocks per group: 4 is depth 28."""
    width: Count
    """k, the widening factor."""
    norm: Literal["none", "batch"] = "none"
    z_dim: Count | None = None
    """Dimension of a dense layer behind the pooling; null: z is the 64 k pooled features."""
    init: Literal["scaled", "plain"] = "scaled"
    """`scaled`: He, each block's last convolution scaled by L^-1/2 for L blocks, which trains without
    BatchNorm; `plain`: He fan-in throughout, which does not at 28x10."""


class ResNet(Section, frozen=True, tag="resnet"):
    """ResNet v1.5 (stride on the 3x3), every layer scaled by `width`; z is the 2048 width pooled features."""

    depth: Literal[50, 152]
    width: Count = 1


Literals = Annotated[
    str,
    Meta(
        pattern=r"\A\{.*\}\Z",
        description="a mapping of names to numbers, text, true, false, null and lists of these",
        extra={"literals": True},
    ),
]
"""Arguments as a mapping in canonical JSON, so that they are one leaf that can be hashed and compared. A matrix writes
a mapping; `experiments.matrix.spec_fields.plain` encodes it."""


class Timm(Section, frozen=True, tag="timm", kw_only=True):
    """An architecture of timm (PyTorch Image Models), the extra `timm`, without its classifier: z are the features that
    the classifier would get, or a dense layer of them."""

    model: str
    """Its name in timm, with the tag of its pretrained weights or without: `vit_tiny_patch16_224`,
    `resnet50.a1_in1k`."""
    args: Literals = "{}"
    """Further arguments of `timm.create_model`: `{drop_path_rate: 0.1}`."""
    z_dim: Count | None = None
    """Dimension of a dense layer behind the features; null: z are the features."""
    pretrained: Literal[True] | UnsetType = UNSET
    """`true`: begin with the published weights from the hub's cache. A matrix resolves it to the run's `weights`, so
    that no run has it."""
    normalise: Literal["model"] | UnsetType = UNSET
    """Unset: pixels are scaled by the data set's mean and deviation. `model`: by those in the model's `default_cfg`."""
    input_size: Count | UnsetType = UNSET
    """Side in pixels to which images are brought in front of the network, bilinearly and with antialiasing. Unset: the
    data set's. Attacks and corruptions see the images as they are in the data set."""


class Torchvision(Section, frozen=True, tag="torchvision", kw_only=True):
    """A classification architecture of torchvision without its classifier, its last dense layer: z are the features
    that this layer would get, or a dense layer of them. A grey image is given to it as three equal channels."""

    model: str
    """Its name in torchvision: `resnet18`."""
    args: Literals = "{}"
    """Further arguments of `torchvision.models.get_model`: `{stochastic_depth_prob: 0.1}`."""
    z_dim: Count | None = None
    """Dimension of a dense layer behind the features; null: z are the features."""
    pretrained: Literal[True] | UnsetType = UNSET
    """`true`: begin with the published weights from the hub's cache. A matrix resolves it to the run's `weights`, so
    that no run has it."""
    normalise: Literal["model"] | UnsetType = UNSET
    """Unset: pixels are scaled by the data set's mean and deviation. `model`: by those of torchvision's weights, the
    same for all of its classification models."""
    input_size: Count | UnsetType = UNSET
    """Side in pixels to which images are brought in front of the network, as for `timm`."""


LibraryNetwork = Timm | Torchvision
"""A network whose code, and so the dimensions of its features, are a library's."""

Network = SmallCnn | WideResNet | ResNet | Timm | Torchvision | Part


# --- objective ---


class NoJumpStart(Section, frozen=True, tag="none"):
    """The target rho is in force from the first step."""


class GammaJumpStart(Section, frozen=True, tag="gamma"):
    """gamma goes linearly from e^-start_rho to e^-rho over `steps` steps (v2 Listing 3: gamma, not rho)."""

    steps: Count
    start_rho: Rho = 100.0


class GatedJumpStart(Section, frozen=True, tag="gated"):
    """rho falls linearly from start_rho to hold_rho over `epochs`, holds until the training accuracy of an
    epoch passes `threshold`, then goes linearly to the target over one epoch (v2 appendix A.1)."""

    start_rho: Rho = 100.0
    hold_rho: Rho = 10.0
    epochs: Count = 2
    threshold: Fraction = 0.2


JumpStart = NoJumpStart | GammaJumpStart | GatedJumpStart


class MarginalPart(Part, frozen=True, tag="part", kw_only=True):
    """A marginal of one's own: a function or module from z (B, Z) to log m(z) (B,). A module learns as the mixture
    does."""

    marginal_lr: Positive = 1e-2
    """Constant but for the drops of `schedule`."""


class Marginal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """m(z): a mixture of Gaussians that is learned.

    Its own Adam trains it from step 0, by maximum likelihood of the sampled z. For ceb and cceb it only measures
    the rate and sends no gradient to the model; for vib the rate is part of the objective and its gradient goes
    to the encoder.

    `mixture`: unit variances, learned means and weights. `diagonal_mixture`: learned variances too, one for each
    dimension. `vamp` (Tomczak & Welling, 2018): the mean over e(z|u) of learned images u, `components` of them, seen by
    the network in evaluation mode.
    """

    KINDS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        name: {"components": None, "marginal_lr": 1e-2} for name in ("mixture", "diagonal_mixture", "vamp")
    }

    name: Annotated[Literal["mixture", "diagonal_mixture", "vamp"], Meta(extra={"absent": "mixture"})] | UnsetType = (
        UNSET
    )
    """Unset: `mixture`."""
    components: Count | None = None
    """Gaussians in the mixture; null: two per class. With one per class it depends on the seed whether two classes
    end up sharing one, which adds up to a nat to the rate."""
    marginal_lr: Positive = 1e-2
    """Constant but for the drops of `schedule`."""
    own: MarginalPart | UnsetType = UNSET
    """A marginal of one's own in the place of all other fields; in a matrix `marginal: {from: …}`."""

    @property
    def lr(self) -> float:
        """The learning rate of the marginal's optimiser."""
        return self.own.marginal_lr if self.own else self.marginal_lr


BottleneckDim = Count | UnsetType
InitialScale = Annotated[float, Meta(gt=0, extra={"absent": 1.0})] | UnsetType


class Xent(Section, frozen=True, tag="xent"):
    """Cross-entropy, no noise: -log c(y|f(x))."""


class Vib(Section, frozen=True, tag="vib"):
    """-log c(y|z) + sigma(-rho) [log e(z|x) - log m(z)] (v2 eq. 7)."""

    rho: Rho
    jump_start: JumpStart = NoJumpStart()
    marginal: Marginal = Marginal()
    covariance: Annotated[Literal["unit", "diagonal", "full"], Meta(extra={"absent": "unit"})] | UnsetType = UNSET
    """The covariance of e(z|x). Unset: `unit`, as in the papers. `diagonal` (Alemi et al., 2017) and `full`: a function
    of the image. The mean is then a dense layer of the network's features, and so is the standard deviation (of `full`
    the Cholesky factor), its positive numbers softplus of that layer."""
    bottleneck_dim: BottleneckDim = UNSET
    """Dimensions of z where the covariance is not `unit`. Unset: as many as the network has features."""
    initial_scale: InitialScale = UNSET
    """The standard deviation that e(z|x) begins with, for every image. Unset: 1."""


class Ceb(Section, frozen=True, tag="ceb"):
    """-log c(y|z) + gamma [log e(z|x) - log b(z|y)], gamma = e^-rho (v2 eq. 6)."""

    rho: Rho
    jump_start: JumpStart = NoJumpStart()
    marginal: Marginal = Marginal()
    covariance: Annotated[Literal["unit", "diagonal"], Meta(extra={"absent": "unit"})] | UnsetType = UNSET
    """As for `vib`; with `diagonal` b(z|y) has a learned variance for each class and dimension too."""
    bottleneck_dim: BottleneckDim = UNSET
    initial_scale: InitialScale = UNSET
    """The standard deviation that e(z|x) and b(z|y) begin with. Unset: 1."""


class Cceb(Section, frozen=True, tag="cceb"):
    """CEB whose classifier is the Bayes inversion of b(z|y) (v2 eqs. 10-11)."""

    rho: Rho
    jump_start: JumpStart = NoJumpStart()
    marginal: Marginal = Marginal()
    covariance: Annotated[Literal["unit", "diagonal"], Meta(extra={"absent": "unit"})] | UnsetType = UNSET
    """As for `ceb`."""
    bottleneck_dim: BottleneckDim = UNSET
    initial_scale: InitialScale = UNSET


def learned_covariance(objective: object) -> Literal["diagonal", "full"] | None:
    """Return the form of the covariance that an objective's encoder learns, None if it is 1."""
    covariance = getattr(objective, "covariance", UNSET)
    return covariance if covariance in ("diagonal", "full") else None


class ObjectivePart(Part, frozen=True, tag="part", kw_only=True):
    """An objective of one's own. Its model has a backward encoder and a marginal, z is drawn from e(z|x)."""

    rho: Rho = 0.0
    """gamma = e^-rho is given to the objective."""
    jump_start: JumpStart = NoJumpStart()
    marginal: Marginal = Marginal()


Objective = Xent | Vib | Ceb | Cceb | ObjectivePart


# --- optimisation ---


class Adam(Section, frozen=True, tag="adam"):
    """Adam (Kingma & Ba, 2015); `weight_decay` is the L2 term 1/2 w^2 over all but BatchNorm's parameters."""

    lr: Positive = 1e-3
    weight_decay: NonNegative = 0.0
    beta1: Annotated[float, Meta(ge=0, lt=1, extra={"absent": 0.9})] | UnsetType = UNSET
    """Decay of the mean of the gradients. Unset: 0.9."""
    beta2: Annotated[float, Meta(ge=0, lt=1, extra={"absent": 0.999})] | UnsetType = UNSET
    """Decay of the mean of their squares. Unset: 0.999."""
    epsilon: Annotated[float, Meta(gt=0, extra={"absent": 1e-8})] | UnsetType = UNSET
    """Added to the root of that mean, behind its correction for the start (TensorFlow 1 adds it before: its epsilon is
    this one times sqrt(1 - beta2^t)). Unset: 1e-8."""


class AdamW(Adam, frozen=True, tag="adamw"):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019): each step also takes lr x `weight_decay` x w from
    every weight but BatchNorm's. The decay is of torch's form, times the scheduled lr; the paper's own is not."""

    weight_decay: NonNegative = 1e-2


class Adamax(Adam, frozen=True, tag="adamax"):
    """Adam with the largest gradient in place of the root of the mean square; `weight_decay` is L2."""

    lr: Positive = 2e-3


class NAdam(Adam, frozen=True, tag="nadam"):
    """Adam with Nesterov momentum (Dozat, 2016)."""

    lr: Positive = 2e-3
    momentum_decay: NonNegative = 4e-3
    decoupled: bool = False
    """`true`: weight decay as in `adamw`; `false`: L2."""


class RAdam(Adam, frozen=True, tag="radam"):
    """Rectified Adam (Liu et al., 2020)."""

    decoupled: bool = False
    """`true`: weight decay as in `adamw`; `false`: L2."""


class Sgd(Section, frozen=True, tag="sgd"):
    """SGD with Nesterov momentum; `weight_decay` is the L2 term 1/2 w^2 over all but BatchNorm parameters."""

    lr: Positive
    momentum: Fraction = 0.9
    weight_decay: NonNegative = 0.0
    nesterov: Annotated[bool, Meta(extra={"absent": True})] | UnsetType = UNSET
    """`false`: the heavy ball, v = momentum v + g, w -= lr v, the same in torch and TensorFlow's MomentumOptimizer.
    Unset: Nesterov's step, w -= lr (g + momentum v)."""


class RmsProp(Section, frozen=True, tag="rmsprop"):
    """RMSprop (Tieleman & Hinton, 2012); `weight_decay` is L2 over all but BatchNorm's parameters."""

    lr: Positive = 1e-2
    weight_decay: NonNegative = 0.0
    square_decay: Annotated[float, Meta(ge=0, lt=1)] = 0.99
    """Decay of the mean of squares: torch's alpha; 0.9 in TensorFlow and Keras."""
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    epsilon: Positive = 1e-8
    """1e-3 in the recipes of EfficientNet and MobileNet."""
    form: Literal["tensorflow"] | UnsetType = UNSET
    """`tensorflow`: epsilon within the root, mean squares that begin at 1, and a momentum that holds the lr of each
    step, as in the public code of EfficientNet. Unset: torch's, with epsilon outside, from 0, lr times the momentum."""


class Adagrad(Section, frozen=True, tag="adagrad"):
    """Adagrad (Duchi et al., 2011); `weight_decay` is L2 over all but BatchNorm's parameters."""

    lr: Positive = 1e-2
    weight_decay: NonNegative = 0.0
    lr_decay: NonNegative = 0.0
    """lr is divided by 1 + `lr_decay` x step."""
    initial_square: NonNegative = 0.0
    """What the sums of squares begin with; 0.1 in TensorFlow."""
    epsilon: Positive = 1e-10


class Adadelta(Section, frozen=True, tag="adadelta"):
    """Adadelta (Zeiler, 2012); `weight_decay` is L2 over all but BatchNorm's parameters."""

    lr: Positive = 1.0
    weight_decay: NonNegative = 0.0
    square_decay: Annotated[float, Meta(ge=0, lt=1)] = 0.9
    """Decay of both means of squares: torch's rho."""
    epsilon: Positive = 1e-6


Optimiser = Adam | AdamW | Adamax | NAdam | RAdam | Sgd | RmsProp | Adagrad | Adadelta


class SchedulePart(Part, frozen=True, tag="part", kw_only=True):
    """A schedule of one's own: a factor of the learning rate, the marginal's too, by the progress in [0, 1]."""

    horizon_epochs: Positive | UnsetType = UNSET
    """The epoch at which the progress is 1, counted from the first run's start. Unset: the epochs of the run, or of the
    first one that it extends."""


class Schedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The learning rate, as a factor of `lr` that changes with every step: a warm-up, then what `name` says.

    `steps`: times `factor` at each of `drops`. `cosine`: half a cosine (Loshchilov & Hutter, 2017), and `polynomial`: a
    power, from the end of the warm-up down to `final_factor` at the horizon. `one_cycle` (Smith & Topin, 2018): from
    `initial_factor` up to 1, then down to `final_factor`, the momentum constant.
    """

    KINDS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "steps": {"warmup_epochs": 0.0, "drops": (), "factor": 0.1},
        "cosine": {"warmup_epochs": 0.0, "horizon_epochs": UNSET, "final_factor": 0.0},
        "polynomial": {"warmup_epochs": 0.0, "horizon_epochs": UNSET, "final_factor": 0.0, "power": 1.0},
        "one_cycle": {
            "horizon_epochs": UNSET, "rise": 0.3, "initial_factor": 0.04, "final_factor": 4e-6, "anneal": "cosine",
        },
    }  # fmt: skip
    """The fields of each kind with their defaults; that of `horizon_epochs` is the run's length."""

    name: (
        Annotated[Literal["steps", "cosine", "polynomial", "one_cycle"], Meta(extra={"absent": "steps"})] | UnsetType
    ) = UNSET
    """Unset: `steps`."""
    warmup_epochs: NonNegative = 0.0
    """Linear from 0."""
    drops: tuple[Positive, ...] = ()
    factor: Positive = 0.1
    horizon_epochs: Positive | UnsetType = UNSET
    """The epoch at which the schedule ends, counted from the first run's start; from then on the factor stays. A matrix
    that leaves it out gets the epochs of the run, or of the first one that it extends: all go on by one schedule."""
    final_factor: Fraction | UnsetType = UNSET
    power: Positive | UnsetType = UNSET
    rise: Annotated[float, Meta(gt=0, lt=1)] | UnsetType = UNSET
    """The share of the horizon at which a cycle has its top."""
    initial_factor: Fraction | UnsetType = UNSET
    anneal: Literal["cosine", "linear"] | UnsetType = UNSET
    own: SchedulePart | UnsetType = UNSET
    """A schedule of one's own in the place of all other fields; in a matrix `schedule: {from: …}`."""


class NoAdversary(Section, frozen=True, tag="none"):
    """Train on clean images."""


class PgdAdversary(Section, frozen=True, tag="pgd", kw_only=True):
    """Adversarial training (Madry et al., 2017): every batch is replaced by PGD examples made on it."""

    norm: Literal["linf", "l2"] = "linf"
    eps: Pixels
    steps: Count
    step_size: Pixels


class Run(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run, fully resolved."""

    data: Data
    network: Network
    objective: Objective
    optimiser: Optimiser | Part
    schedule: Schedule = Schedule()
    decayed: Literal["kernels"] | UnsetType = UNSET
    """The parameters that the optimiser's `weight_decay` is on. Unset: all but BatchNorm's. `kernels`: those of two
    dimensions or more, so no bias and no scale of any norm, as in the recipes of timm and of vision transformers."""
    label_smoothing: Annotated[float, Meta(ge=0, lt=1, extra={"absent": 0.0})] | UnsetType = UNSET
    """a: the classifier's -log c(y|z) becomes (1 - a) times itself plus a times its mean over all classes (Szegedy et
    al., 2016; the same in torch and TensorFlow). The bottleneck's terms keep y. Unset: 0."""
    clip_norm: Positive | UnsetType = UNSET
    """The largest norm of the gradient of all parameters but the marginal's, to which a longer one is scaled down
    (Pascanu et al., 2013)."""
    ema_decay: Annotated[float, Meta(ge=0, lt=1, extra={"absent": 0.0})] | UnsetType = UNSET
    """Keep an exponential moving average of all weights and of BatchNorm's statistics, which a checkpoint holds beside
    them. Unset: 0, none."""
    ema_form: Literal["tensorflow"] | UnsetType = UNSET
    """Unset: the average begins with the weights behind the first update, as torch's AveragedModel. `tensorflow`: with
    the initial ones, its decay at the n-th update min(ema_decay, (1 + n) / (10 + n))."""
    ema_every: Annotated[int, Meta(ge=1, extra={"absent": 1})] | UnsetType = UNSET
    """Optimiser steps from one update of the average to the next. Unset: 1."""
    ema_judged: Annotated[bool, Meta(extra={"absent": True})] | UnsetType = UNSET
    """`false`: evaluations judge the weights of the last step. Unset: the average."""
    adversary: NoAdversary | PgdAdversary = NoAdversary()
    epochs: NonNegative
    """Passes over the training images; a fraction stops in the middle of one. 0: none, for imported `weights`."""
    extends: Annotated[tuple[Count, ...], Meta(min_length=1)] | UnsetType = UNSET
    """Go on from the last checkpoint of the run that is equal but for its `epochs`, which are these; of several
    lengths, in rising order, each run went on from the one before. Optimisers, jump-start and random numbers go on too,
    and schedules count epochs and steps from the first run's start, so that on a CPU it ends, bit for bit, as the run
    of as many epochs that extends nothing."""
    weights: Sha256 | UnsetType = UNSET
    """Begin with the weights of this file, which `cebctl import` took into the home, with new optimisers and schedules.
    With `epochs: 0` the weights are evaluated as they are, and the settings of training may describe their origin."""
    batch: Count
    """Images per optimiser step over all GPUs and accumulation steps."""
    replica_batch: Count | UnsetType = UNSET
    """The number of images that one GPU computes at a time. BatchNorm's statistics are over them, whatever the number
    of GPUs, and gradients are added up. Unset: each GPU's share of the batch at once."""
    batch_norm: Literal["sync"] | UnsetType = UNSET
    """`sync`: BatchNorm's statistics are over the whole batch, whatever the number of GPUs (SyncBatchNorm). Unset: over
    the images that a GPU computes at a time, as in the papers."""
    precision: Literal["fp32", "tf32", "bf16", "fp64"] = "fp32"
    """Of the network; the head and the loss are fp32 at least. `tf32` is fp32 whose products, the head's too, are of
    factors rounded to 10 bits: on GPUs alone."""
    seed: Seed = 0


def read_run(spec: object) -> Run | None:
    """Return the run of a stored spec; None for one that this version of cebctl can't read."""
    try:
        return msgspec.convert(spec, Run)
    except msgspec.ValidationError:
        return None
