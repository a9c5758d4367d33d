"""Pins of what is trained and how: networks, heads, objectives, optimisers, schedules, one step."""

from __future__ import annotations

import dataclasses
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec import UNSET, structs
from torch import Tensor, distributed, nn

from experiments import costs, datasets, spec
from experiments.resources import Execution
from jobs.engine import flops, foreign_weights, objectives, weights_file
from jobs.engine.attacks.precision import full_precision
from jobs.engine.data import load, training_batches
from jobs.engine.data.augmentation import mixing
from jobs.engine.evaluation.training_history import epochs
from jobs.engine.execution import to_memory_format
from jobs.engine.metrics import Meter
from jobs.engine.models import CebModel, build, build_without_weights, resnet
from jobs.engine.models.backward_encoder import BackwardEncoder
from jobs.engine.models.ceb import Normalise
from jobs.engine.models.classifiers import ConsistentClassifier, LinearClassifier
from jobs.engine.models.encoder import DiagonalEncoder, Encoder, FullEncoder
from jobs.engine.models.gaussian import relative_log_normals
from jobs.engine.models.marginal import MixtureMarginal, VampMarginal
from jobs.engine.precision import encode, training_precision
from jobs.engine.training import encoder_noise, optimisers, schedules, step, stochastic_layers, sync_batch_norm
from jobs.engine.training.epoch_sampler import EpochSampler
from jobs.engine.training.loop import is_collapsed, train
from jobs.engine.training.train_state import TrainState, initial_state
from jobs.journal.files import Journal, read
from jobs.journal.records import Metrics
from jobs.paths import RunPaths
from tests.jobs.engine.golden.pins import BF16, EXACT, FLOAT32, Room, pin

TRAJECTORY = 1e-5
"""Of what a few steps of training in float64 end with."""
NETWORK = 3e-5
"""Of a whole network, whose weights are drawn in float32: by 2e-6 between vector instructions and none."""
NORMED = spec.WideResNet(blocks=1, width=1, norm="batch", z_dim=5)
OBJECTIVES: dict[str, spec.Objective] = {
    "xent": spec.Xent(),
    "vib": spec.Vib(rho=1.0),
    "ceb": spec.Ceb(rho=1.0),
    "cceb": spec.Cceb(rho=1.0),
}
RUN = spec.Run(
    data=spec.Data(name="digits", augment=spec.CropFlip()),
    network=spec.SmallCnn(width=4, z_dim=6),
    objective=OBJECTIVES["ceb"],
    optimiser=spec.Adam(lr=1e-2, weight_decay=1e-3),
    epochs=2,
    batch=48,
    precision="fp64",
    seed=3,
)


def run_of(**fields: Any) -> spec.Run:
    return structs.replace(RUN, **fields)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Return normal numbers of NumPy's, which are the same everywhere, in float64."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def gradients(module: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() if p.grad is not None else torch.zeros(p.numel()) for p in module.parameters()])


def steps(run: spec.Run, count: int) -> tuple[TrainState, dict[str, list[float]]]:
    """Train so many steps; the state behind them, and what each reported before it."""
    images = load(run.data, "train", Path())
    state, length = initial_state(run, images.labels_N, "cpu"), EpochSampler(run, len(images))
    reported: dict[str, list[float]] = {}
    while state.step < count:
        epoch = state.step // length.steps_per_epoch
        left = length.remaining_batches(state.step)[: count - state.step]
        for samples_B, x_BCHW, y_B in training_batches(images, left, run, epoch, length.order(epoch), "cpu"):
            noise_BZ = encoder_noise.draw(run, epoch, samples_B, "cpu")
            values = step.train_step(
                state, step.scheduled_values(state, length), epoch, samples_B, x_BCHW, y_B, noise_BZ
            )
            for name, value in values.items():
                reported.setdefault(name, []).append(value.item())
            state.step += 1
    return state, reported


# --- networks ---


def _network(network: spec.Network, data: str, images: int = 3) -> dict[str, Any]:
    """Initialise in float64, go forward and backward in training, and forward in evaluation."""
    run = run_of(network=network, data=spec.Data(name=data), objective=spec.Xent())
    info = datasets.info(data)
    model = build(run).network.train()
    side = min(info.size, 40)
    x_BCHW = numbers(images, info.channels, side, side)
    f_BZ = model(x_BCHW)
    f_BZ.square().mean().backward()
    pinned = {"initial": model, "f": f_BZ, "gradients": gradients(model)}
    with torch.no_grad():
        return pinned | {"evaluated": model.eval()(x_BCHW)}


@pin("network.small_cnn", tolerance=NETWORK)
def _small_cnn(room: Room) -> dict[str, Any]:
    return {data: _network(spec.SmallCnn(width=3, z_dim=4), data) for data in ("digits", "fashion_mnist", "cifar10")}


@pin("network.wide_resnet", tolerance=NETWORK)
def _wide_resnet(room: Room) -> dict[str, Any]:
    kinds = {
        "plain": spec.WideResNet(blocks=2, width=1, init="plain"),
        "scaled": spec.WideResNet(blocks=2, width=1, z_dim=5),
        "normed": spec.WideResNet(blocks=1, width=2, norm="batch"),
    }
    return {name: _network(network, "cifar10") for name, network in kinds.items()}


@pin("network.resnet", tolerance=NETWORK)
def _resnet(room: Room) -> dict[str, Any]:
    """How one with a block in each group trains, and the names and shapes of the parameters of those there are."""
    pinned: dict[str, Any] = {}
    for network in (spec.ResNet(depth=50), spec.ResNet(depth=152), spec.ResNet(depth=50, width=2)):
        with torch.device("meta"):
            shapes = build(run_of(network=network, data=spec.Data(name="imagenet"), precision="fp32")).state_dict()
        described = "\n".join(f"{name} {tuple(tensor.shape)}" for name, tensor in shapes.items())
        pinned[f"{network.depth}x{network.width}"] = torch.tensor(list(described.encode()), dtype=torch.uint8)
    room.patch.setitem(resnet.GROUPS, 50, (1, 1, 1, 1))
    return pinned | {"short": _network(spec.ResNet(depth=50), "imagenet", images=2)}


SMALL_VIT = spec.Timm(model="vit_tiny_patch16_224", args='{"depth":2,"embed_dim":12,"num_heads":2}')


@pin("network.timm", tolerance=NETWORK, needs="timm")
def _timm(room: Room) -> dict[str, Any]:
    normalised = structs.replace(SMALL_VIT, normalise="model")
    model = build(run_of(network=normalised, data=spec.Data(name="cifar10")))
    return {
        "vit": _network(SMALL_VIT, "cifar10"),
        "dense": _network(structs.replace(SMALL_VIT, z_dim=5), "cifar10"),
        "convolutional": _network(spec.Timm(model="test_resnet"), "cifar10"),
        "normalised": model.normalise(numbers(2, 3, 4, 4)),
    }


@pin("network.torchvision", tolerance=NETWORK, withdrawn={"squeezenet": "the draws of its dropout, without a seed"})
def _torchvision(room: Room) -> dict[str, Any]:
    normalised = spec.Torchvision(model="shufflenet_v2_x0_5", normalise="model")
    model = build(run_of(network=normalised, data=spec.Data(name="cifar10")))
    with _drawn():
        dropped = _network(spec.Torchvision(model="squeezenet1_1"), "cifar10")
    return {
        "grey": _network(spec.Torchvision(model="shufflenet_v2_x0_5"), "digits"),
        "dense": _network(spec.Torchvision(model="shufflenet_v2_x0_5", z_dim=5), "cifar10"),
        "squeezenet, seeded": dropped,
        "normalised": model.normalise(numbers(2, 3, 4, 4)),
    }


@pin("network.resize", tolerance=NETWORK)
def _resize(room: Room) -> dict[str, Any]:
    network = spec.Torchvision(model="shufflenet_v2_x0_5", input_size=20)
    return {data: _network(network, data) for data in ("digits", "cifar10")}


@pin("network.dropout", tolerance=TRAJECTORY, needs="timm")
def _dropout(room: Room) -> dict[str, Any]:
    """Masks of each kind, and two steps of a network that has them."""
    pinned: dict[str, Any] = {}
    with stochastic_layers.SampledDropout(3, 1, torch.tensor([5, 2])):
        ones_BCHW = torch.ones(2, 3, 4, 4, dtype=torch.float64)
        pinned["values"] = nn.functional.dropout(ones_BCHW, 0.3)
        pinned["channels"] = nn.functional.dropout2d(ones_BCHW, 0.3)
        pinned["depth"] = ones_BCHW.new_empty(2, 1, 1, 1).bernoulli_(0.4)
        query_BHNE = numbers(2, 2, 3, 4)
        pinned["attention"] = nn.functional.scaled_dot_product_attention(*[query_BHNE] * 3, dropout_p=0.3)
    args = '{"depth":2,"embed_dim":12,"num_heads":2,"attn_drop_rate":0.2,"drop_path_rate":0.3,"drop_rate":0.1}'
    network = spec.Timm(model="vit_tiny_patch16_224", args=args, input_size=16)
    state, reported = steps(run_of(network=network, data=spec.Data(name="digits", train_subset=60), batch=20), 2)
    return pinned | {"network": state.model.network, "reported": reported}


@pin("init.streams")
def _streams(room: Room) -> dict[str, Any]:
    pinned = {}
    for part in ("network", "backward_encoder", "marginal", "classifier"):
        with sys.modules[build.__module__]._seeded(7, part):
            pinned[part] = torch.rand(4, dtype=torch.float64)
    models = {name: build(run_of(objective=objective)) for name, objective in OBJECTIVES.items()}
    return pinned | {f"model of {name}": model for name, model in models.items()}


@pin("init.weights_file", tolerance=EXACT)
def _weights_file(room: Room) -> dict[str, Any]:
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    stored = {name: tensor.clone() for name, tensor in network.state_dict().items() if "tracked" not in name}
    stored["0.weight"] = torch.arange(6.0).view(2, 3)
    pinned = {}
    for name, content in (
        ("plain", stored),
        ("nested", {"model": stored, "epoch": 3}),
        ("state_dict", {"state_dict": {f"module.{name}": tensor for name, tensor in stored.items()}}),
    ):
        saved = io.BytesIO()
        torch.save(content, saved)
        read_weights = weights_file.read(saved.getvalue(), name)
        weights_file.load_into(network, read_weights, name)
        pinned[name] = {"names": sorted(read_weights), "weight": network.state_dict()["0.weight"]}
    return pinned


@pin("init.foreign_weights", tolerance=EXACT)
def _foreign_weights(room: Room) -> dict[str, Any]:
    """The names that torchvision's ResNet-50 and a public Wide ResNet get, and what becomes of their values."""
    pinned: dict[str, Any] = {}
    names = [f"layer{group}.{block}.{layer}.weight" for group in (1, 2, 3, 4) for block in (0, 2)
             for layer in ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample.0", "downsample.1")]  # fmt: skip
    for network, theirs in (
        (spec.ResNet(depth=50), ["conv1.weight", "bn1.bias", *names]),
        (spec.WideResNet(blocks=2, width=1, norm="batch"), [
            "conv1.weight", "bn1.running_mean", "block1.layer.0.bn1.weight", "block2.layer.0.convShortcut.weight",
            "block3.layer.1.conv1.weight", "block3.layer.1.conv2.weight", "block2.layer.1.bn2.bias",
        ]),
    ):  # fmt: skip
        run = run_of(network=network, data=spec.Data(name="cifar10"), objective=spec.Xent(), epochs=0)
        width = 2048 if isinstance(network, spec.ResNet) else 64
        weights = {f"module.{name}": torch.full((2,), float(number)) for number, name in enumerate(theirs)}
        weights |= {
            "module.fc.weight": torch.arange(10.0 * width).view(10, width),
            "module.fc.bias": torch.arange(10.0),
        }
        adapted = foreign_weights.adapted(weights, run, build_without_weights(run), "theirs")
        pinned[type(network).__name__] = {name: tensor.flatten()[:2] for name, tensor in sorted(adapted.items())}
    info = dataclasses.replace(datasets.info("imagenet"), class_names=("robin", "toilet tissue", "Goldfish"), classes=3)
    return pinned | {"rows": foreign_weights.class_rows(info, 1000)}


# --- heads ---


@pin("head.normalise")
def _normalise(room: Room) -> dict[str, Any]:
    infos = map(datasets.info, ("digits", "cifar10"))
    return {info.name: Normalise(info.mean, info.std).double()(numbers(2, info.channels, 3, 3)) for info in infos}


@contextmanager
def _drawn(seed: int = 0) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@pin("head.linear")
def _linear(room: Room) -> dict[str, Any]:
    with _drawn():
        head = LinearClassifier(5, 4)
    return {"initial": head, "logits": head.double()(numbers(3, 5))}


@pin("head.consistent")
def _consistent(room: Room) -> dict[str, Any]:
    head = ConsistentClassifier(4).double()
    relative_BK = relative_log_normals(numbers(3, 5), numbers(4, 5, seed=1))
    pinned = {"uniform": head(relative_BK)}
    head.set_label_counts(torch.tensor([3, 0, 5, 1]))
    return pinned | {"prior": head.log_prior_K, "logits": head(relative_BK)}


@pin("head.backward_encoder")
def _backward_encoder(room: Room) -> dict[str, Any]:
    with _drawn():
        head = BackwardEncoder(4, 5)
    pinned = {"initial": head.kernel_KZ, "bias": head.bias_Z}
    head.double().bias_Z.data += 0.3
    head.log_prob(numbers(3, 5), torch.tensor([0, 3, 1])).sum().backward()
    densities_B = head.log_prob(numbers(3, 5), torch.tensor([0, 3, 1]))
    return pinned | {"means": head.means(), "log": densities_B, "gradients": gradients(head)}


@pin("head.marginal")
def _marginal(room: Room) -> dict[str, Any]:
    with _drawn():
        head = MixtureMarginal(4, 5)
    pinned = {"initial": head.means_MZ, "weights": head.logits_M}
    head.double().logits_M.data += numbers(4, seed=2)
    z_BZ = numbers(3, 5).requires_grad_()
    head.log_prob(z_BZ).sum().backward()
    pinned |= {"log": head.log_prob(z_BZ), "gradients": gradients(head), "gradient of z": z_BZ.grad}
    head.zero_grad()
    head.log_prob_fixed(z_BZ).sum().backward()
    reached = [p.grad is not None and bool(p.grad.any()) for p in head.parameters()]
    return pinned | {"fixed": head.log_prob_fixed(z_BZ), "reached": reached}


def _encoder(kind: type[Encoder], room: Room) -> dict[str, Any]:
    with _drawn():
        head = kind(6, 4, 0.7)  # type: ignore[call-arg]
    pinned = {"initial": head.state_dict()}
    for parameter in head.double().parameters():
        parameter.data += 0.3 * numbers(*parameter.shape, seed=parameter.numel())
    encoding_BP = head(numbers(3, 6))
    z_BZ = head.sample(encoding_BP, numbers(3, 4, seed=1))
    (head.log_prob(z_BZ, encoding_BP).sum() + z_BZ.square().sum()).backward()
    log_probs_BM = head.log_probs(z_BZ, encoding_BP[:2])
    return pinned | {
        "z": z_BZ,
        "log": head.log_prob(z_BZ, encoding_BP),
        "gradients": gradients(head),
        "all": log_probs_BM,
    }


pin("head.encoder_diagonal")(partial(_encoder, DiagonalEncoder))
pin("head.encoder_full")(partial(_encoder, FullEncoder))


@pin("head.backward_encoder_diagonal")
def _backward_encoder_diagonal(room: Room) -> dict[str, Any]:
    with _drawn():
        head = BackwardEncoder(4, 5, initial_scale=0.7).double()
    pinned = {"initial": head.state_dict()}
    for parameter in head.parameters():
        parameter.data += 0.3 * numbers(*parameter.shape, seed=parameter.numel())
    log_prob_B = head.log_prob(numbers(3, 5), torch.tensor([0, 3, 1]))
    log_prob_B.sum().backward()
    shares_BK = numbers(3, 4, seed=4).softmax(dim=1)
    return pinned | {
        "log": log_prob_B,
        "mixed": head.log_prob(numbers(3, 5), shares_BK),
        "relative": head.relative_log_probs(numbers(3, 5)),
        "gradients": gradients(head),
    }


@pin("head.marginal_diagonal_mixture")
def _diagonal_mixture(room: Room) -> dict[str, Any]:
    with _drawn():
        head = MixtureMarginal(4, 5, diagonal=True).double()
    pinned = {"initial": head.state_dict()}
    for parameter in head.parameters():
        parameter.data += 0.5 * numbers(*parameter.shape, seed=parameter.numel())
    z_BZ = numbers(3, 5).requires_grad_()
    head.log_prob(z_BZ).sum().backward()
    return pinned | {"log": head.log_prob(z_BZ), "gradients": gradients(head), "gradient of z": z_BZ.grad}


@pin("head.marginal_vamp", tolerance=NETWORK)
def _vamp(room: Room) -> dict[str, Any]:
    """Its density under each covariance, behind a network with BatchNorm, and which gradients it sends where."""
    pinned: dict[str, Any] = {}
    for covariance in (UNSET, "diagonal", "full"):
        objective = spec.Vib(rho=1.0, marginal=spec.Marginal(name="vamp", components=3), covariance=covariance)
        model = build(run_of(objective=objective, network=NORMED)).train()
        z_BZ = numbers(4, 5)
        (model.log_marginal(z_BZ).sum() + 2 * model.log_marginal_alone(z_BZ).sum()).backward()
        assert isinstance(model.marginal, VampMarginal)
        named = {"images": model.marginal.images(), "log": model.log_marginal(z_BZ), "gradients": gradients(model)}
        statistics = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        assert model.network.training and statistics and not any(norm.num_batches_tracked for norm in statistics)
        pinned |= {f"{covariance or 'unit'} {name}": value for name, value in named.items()}
    return pinned


# --- objectives ---


def _objective(name: str, room: Room) -> dict[str, Any]:
    """The terms of a loss, its gradients, and gamma and rho as functions of one another."""
    objective = objectives.from_spec(OBJECTIVES[name])
    model = build(run_of(objective=OBJECTIVES[name]))
    generator = np.random.default_rng(1)
    for parameter in model.parameters():
        parameter.data += torch.from_numpy(0.5 * generator.standard_normal(tuple(parameter.shape)))
    f_BZ = (2 * numbers(8, 6)).requires_grad_()
    z_BZ = f_BZ + numbers(8, 6, seed=1) if objective.noisy else f_BZ
    terms = objective.loss(model, f_BZ, z_BZ, torch.arange(8), 0.3)
    total = terms.loss if terms.marginal_loss is None else terms.loss + terms.marginal_loss
    total.backward()
    rhos = (-3.0, -0.5, 0.0, 1.5, 20.0)
    gammas = [objective.gamma_of(rho) for rho in rhos]
    pinned = {
        **terms.values(),
        "noisy": objective.noisy,
        "marginal": terms.marginal_loss,
        "gradient of f": f_BZ.grad,
        "gradients": gradients(model),
        "gammas": gammas,
    }
    return pinned | ({} if name == "xent" else {"rhos": [objective.rho_of(gamma) for gamma in gammas]})


for _name in OBJECTIVES:
    pin(f"objective.{_name}")(partial(_objective, _name))


@pin("jump_start.gamma")
def _gamma_jump_start(room: Room) -> dict[str, Any]:
    jump_start = spec.GammaJumpStart(steps=12, start_rho=50.0)
    return {
        name: [
            schedules.gamma(objectives.from_spec(OBJECTIVES[name]), 1.5, jump_start, at, 7, None)
            for at in range(0, 16, 3)
        ]
        for name in ("vib", "ceb", "cceb")
    }


@pin("jump_start.gated")
def _gated_jump_start(room: Room) -> dict[str, Any]:
    jump_start = spec.GatedJumpStart(start_rho=50.0, hold_rho=8.0, epochs=2, threshold=0.3)
    pinned: dict[str, Any] = {
        str(passed): [schedules.gated_rho(jump_start, 1.5, at, 5, passed) for at in range(0, 26, 3)]
        for passed in (None, 5, 15)
    }
    gates = [schedules.gate_passed(jump_start, accuracy, 9, None) for accuracy in (0.1, 0.3, 0.31)]
    gamma = schedules.gamma(objectives.from_spec(OBJECTIVES["ceb"]), 1.5, jump_start, 17, 5, 15)
    return pinned | {
        "gates": [gate or -1 for gate in gates],
        "stays": schedules.gate_passed(jump_start, 0, 9, 4),
        "gamma": gamma,
    }


# --- optimisation ---


def _optimised(optimiser: spec.Optimiser, updates: int = 4) -> dict[str, Any]:
    """Parameters behind some updates with gradients of our own, those of BatchNorm apart."""
    run = run_of(network=NORMED, data=spec.Data(name="cifar10"), optimiser=optimiser)
    pinned: dict[str, Any] = {}
    model = build(run)
    made = optimisers.build(optimiser, model)
    for update in range(updates):
        optimisers.set_lr(made, 0.05 / (update + 1))
        for number, parameter in enumerate(p for group in made.param_groups for p in group["params"]):
            parameter.grad = numbers(*parameter.shape, seed=100 * update + number)
        made.step()
    norms = [m.weight for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    sizes = [sum(p.numel() for p in group["params"]) for group in made.param_groups]
    pinned |= {"normed": torch.cat(norms), "sizes": sizes, "decay": [g["weight_decay"] for g in made.param_groups]}
    return pinned | {"network": model.network, "classifier": model.classifier, "encoder": model.backward_encoder}


@pin("optimiser.adam")
def _adam(room: Room) -> dict[str, Any]:
    return {
        "plain": _optimised(spec.Adam(lr=0.05)),
        "decayed": _optimised(spec.Adam(lr=0.05, weight_decay=0.1)),
        "betas": _optimised(spec.Adam(lr=0.05, beta1=0.0, beta2=0.9, epsilon=0.01)),
    }


@pin("optimiser.sgd")
def _sgd(room: Room) -> dict[str, Any]:
    kinds = {
        "plain": spec.Sgd(lr=0.05, momentum=0.0),
        "nesterov": spec.Sgd(lr=0.05),
        "decayed": spec.Sgd(lr=0.05, momentum=0.8, weight_decay=0.1),
        "heavy ball": spec.Sgd(lr=0.05, nesterov=False),
    }
    return {name: _optimised(optimiser) for name, optimiser in kinds.items()}


OPTIMISERS: dict[str, dict[str, spec.Optimiser]] = {
    "adamw": {"plain": spec.AdamW(lr=0.05, weight_decay=0.1)},
    "adamax": {"plain": spec.Adamax(lr=0.05, weight_decay=0.1)},
    "nadam": {
        "plain": spec.NAdam(lr=0.05, weight_decay=0.1),
        "decoupled": spec.NAdam(lr=0.05, weight_decay=0.1, decoupled=True),
    },
    "radam": {
        "plain": spec.RAdam(lr=0.05, weight_decay=0.1, beta2=0.9),
        "decoupled": spec.RAdam(lr=0.05, weight_decay=0.1, beta2=0.9, decoupled=True),
    },
    "rmsprop": {
        "plain": spec.RmsProp(lr=0.05, momentum=0.9, weight_decay=0.1),
        "tensorflow": spec.RmsProp(lr=0.05, momentum=0.9, weight_decay=0.1, epsilon=0.1, form="tensorflow"),
    },
    "adagrad": {"plain": spec.Adagrad(lr=0.05, weight_decay=0.1, lr_decay=0.3, initial_square=0.2)},
    "adadelta": {"plain": spec.Adadelta(lr=0.05, weight_decay=0.1)},
}


def _optimisers(name: str, room: Room) -> dict[str, Any]:
    return {kind: _optimised(optimiser) for kind, optimiser in OPTIMISERS[name].items()}


for _name in OPTIMISERS:
    pin(f"optimiser.{_name}")(partial(_optimisers, _name))


@pin("optimiser.marginal")
def _marginal_optimiser(room: Room) -> dict[str, Any]:
    with _drawn():
        marginal = MixtureMarginal(4, 5).double()
    made = optimisers.build_marginal(0.02, marginal)
    for update in range(4):
        for number, parameter in enumerate(marginal.parameters()):
            parameter.grad = numbers(*parameter.shape, seed=100 * update + number)
        made.step()
    schedule = spec.Schedule(warmup_epochs=1.0, drops=(1.5,), factor=0.2)
    run = run_of(schedule=schedule, objective=spec.Vib(rho=1.0, marginal=spec.Marginal(marginal_lr=0.03)))
    state, length = initial_state(run, torch.arange(10), "cpu"), EpochSampler(run, 480)
    rates = []
    for at in (0, 5, 14, 15, 19):
        state.step = at
        rates.append(step.scheduled_values(state, length).marginal_lr)
    return {"weights": marginal, "rates": rates}


@pin("schedule.warmup")
def _warmup(room: Room) -> dict[str, Any]:
    schedule = spec.Schedule(warmup_epochs=2.5)
    run = run_of(schedule=schedule)
    state, length = initial_state(run, torch.arange(10), "cpu"), EpochSampler(run, 480)
    state.step = 7
    factors = [schedules.warmup(schedule, epoch) for epoch in (0.0, 0.1, 1.0, 2.5, 9.0)]
    none = [schedules.warmup(spec.Schedule(), epoch) for epoch in (0.0, 5.0)]
    return {"factors": factors, "none": none, "lr": step.scheduled_values(state, length).lr}


@pin("schedule.drops")
def _drops(room: Room) -> dict[str, Any]:
    schedule = spec.Schedule(drops=(0.5, 1.0), factor=0.3)
    run = run_of(schedule=schedule)
    state, length = initial_state(run, torch.arange(10), "cpu"), EpochSampler(run, 480)
    state.step = 12
    factors = [schedules.drops(schedule, epoch) for epoch in (0.0, 0.49, 0.5, 0.99, 1.0, 7.0)]
    return {"factors": factors, "lr": step.scheduled_values(state, length).lr}


SCHEDULES: dict[str, dict[str, spec.Schedule]] = {
    "cosine": {
        "plain": spec.Schedule(name="cosine"),
        "warm": spec.Schedule(name="cosine", warmup_epochs=0.5, horizon_epochs=3.0, final_factor=0.1),
    },
    "polynomial": {"plain": spec.Schedule(name="polynomial"), "square": spec.Schedule(name="polynomial", power=2.0)},
    "one_cycle": {
        "plain": spec.Schedule(name="one_cycle"),
        "linear": spec.Schedule(name="one_cycle", anneal="linear", rise=0.2, initial_factor=0.2, final_factor=0.1),
    },
}


def _schedule(name: str, room: Room) -> dict[str, Any]:
    """The rates of the model and of the marginal, of a run and of one that goes on from it."""
    pinned: dict[str, Any] = {}
    for kind, schedule in SCHEDULES[name].items():
        for extends in ((), (1,)):
            run = run_of(schedule=schedule, extends=extends or UNSET)
            state, length = initial_state(run, torch.arange(10), "cpu"), EpochSampler(run, 480)
            rates = []
            for at in (0, 1, 4, 9, 13, 19):
                state.step = at
                values = step.scheduled_values(state, length)
                rates += [values.lr, values.marginal_lr]
            pinned[f"{kind} {extends}"] = rates
    return pinned


for _name in SCHEDULES:
    pin(f"schedule.{_name}")(partial(_schedule, _name))


@pin("adversary.pgd", tolerance=TRAJECTORY, withdrawn={"linf": "the signs of gradients that are all but 0"})
def _adversary(room: Room) -> dict[str, Any]:
    """The examples of l2, and how far those of linf go."""
    pinned: dict[str, Any] = {}
    for norm, eps in (("linf", 0.1), ("l2", 0.7)):
        adversary = spec.PgdAdversary(norm=norm, eps=eps, steps=3, step_size=eps / 2)  # type: ignore[arg-type]
        run = run_of(adversary=adversary, network=NORMED, objective=spec.Xent())
        images = load(run.data, "train", room.folder)
        state = initial_state(run, images.labels_N, "cpu")
        samples_B = torch.arange(8)
        x_BCHW = images.images_NCHW[samples_B].double() / 255  # type: ignore[union-attr]
        made_BCHW = step._adversarial(state, 2, samples_B, x_BCHW, images.labels_N[samples_B])
        change_BCHW = made_BCHW - x_BCHW
        if norm == "l2":
            pinned[norm] = {"images": change_BCHW, "training": state.model.training}
        else:
            pinned["largest"] = change_BCHW.abs().amax(dim=(1, 2, 3))
    return pinned


# --- one step ---


@pin("training.step", tolerance=TRAJECTORY)
def _step(room: Room) -> dict[str, Any]:
    pinned = {}
    for name, objective in OBJECTIVES.items():
        state, reported = steps(run_of(objective=objective), 4)
        pinned[name] = {"said": reported, "weights": state.model}
    return pinned


@pin("training.decayed", tolerance=TRAJECTORY)
def _decayed(room: Room) -> dict[str, Any]:
    state, reported = steps(run_of(network=NORMED, decayed="kernels", optimiser=spec.AdamW(weight_decay=0.5)), 2)
    sizes = [sum(p.numel() for p in group["params"]) for group in state.optimiser.param_groups]
    return {"said": reported, "weights": state.model, "sizes": sizes}


@pin("training.label_smoothing", tolerance=TRAJECTORY)
def _label_smoothing(room: Room) -> dict[str, Any]:
    pinned = {}
    for name, objective in OBJECTIVES.items():
        state, reported = steps(run_of(objective=objective, label_smoothing=0.2), 2)
        pinned[name] = {"said": reported, "weights": state.model}
    return pinned


@pin("training.clip_norm", tolerance=TRAJECTORY)
def _clip_norm(room: Room) -> dict[str, Any]:
    """The gradients behind a step, the marginal's apart: one norm is never reached."""
    pinned = {}
    for norm in (0.01, 1e3):
        state, _ = steps(run_of(clip_norm=norm, optimiser=spec.Sgd(lr=0.01)), 2)
        pinned[f"{norm:g}"] = {"gradients": gradients(state.model), "weights": state.model}
    return pinned


@pin("training.ema", tolerance=TRAJECTORY)
def _ema(room: Room) -> dict[str, Any]:
    kinds = {"torch": {}, "tensorflow": {"ema_form": "tensorflow"}, "every": {"ema_every": 2}}
    pinned = {}
    for name, fields in kinds.items():
        state, _ = steps(run_of(network=NORMED, ema_decay=0.7, **fields), 5)
        assert state.average is not None
        tensors = [tensor.flatten() for tensor in state.average.tensors.values() if tensor.is_floating_point()]
        pinned[name] = {"average": torch.cat(tensors), "updates": state.average.updates}
    return pinned


def _mixed(name: str, room: Room) -> dict[str, Any]:
    """The draws, and two steps of each objective with labels that are mixed."""
    pinned: dict[str, Any] = {}
    settings = {"alone": {name: 0.4}, "both": {"mixup": 0.4, "cutmix": 1.0, "mix_probability": 0.7}}
    for kind, fields in settings.items():
        data = structs.replace(RUN.data, **fields)
        mixture = mixing.draw(data, 8, 3, 2, torch.arange(40))
        pinned[kind] = {"kept": mixture.kept_BHW, "share": mixture.share_B}
        for objective in OBJECTIVES.values() if kind == "alone" else ():
            state, reported = steps(run_of(data=data, objective=objective), 2)
            pinned[type(objective).__name__] = {"said": reported, "weights": state.model}
    return pinned


pin("augment.mixup", tolerance=TRAJECTORY)(partial(_mixed, "mixup"))
pin("augment.cutmix", tolerance=TRAJECTORY)(partial(_mixed, "cutmix"))


@pin("training.parts", tolerance=TRAJECTORY)
def _parts(room: Room) -> dict[str, Any]:
    state, reported = steps(run_of(batch=40, replica_batch=16, network=NORMED), 3)
    parts = step._parts(state.run, torch.arange(40), torch.arange(40)[torch.arange(40) % 7 != 3], torch.arange(34))
    return {"said": reported, "weights": state.model, "sizes": [len(part[0]) for part in parts]}


@pin("training.execution", tolerance=EXACT)
def _execution(room: Room) -> dict[str, Any]:
    """How images lie in memory, and what computes a step: rounding alone depends on it."""
    x_BCHW, pinned = torch.zeros(2, 3, 4, 4), {}
    for last in (None, True, False):
        for precision in ("fp32", "bf16"):
            laid = to_memory_format(x_BCHW, run_of(precision=precision), Execution(channels_last=last))
            pinned[f"{last} {precision}"] = laid.is_contiguous(memory_format=torch.channels_last)
    for update in ("fused", "foreach", "for-loop"):
        for optimiser in (spec.Adam(), spec.Sgd(lr=1)):
            group = optimisers.build(optimiser, build(RUN), update).param_groups[0]  # type: ignore[arg-type]
            pinned[f"{update} {type(optimiser).__name__}"] = [bool(group["fused"]), bool(group["foreach"])]
    return pinned


@pin("batch_norm.statistics", tolerance=TRAJECTORY)
def _statistics(room: Room) -> dict[str, Any]:
    """Running means and variances behind steps in one part and in several."""
    pinned = {}
    for name, replica_batch in (("whole", {}), ("parts", {"replica_batch": 16})):
        state, _ = steps(run_of(batch=40, network=NORMED, objective=spec.Xent(), **replica_batch), 3)
        norms = [module for module in state.model.modules() if isinstance(module, nn.BatchNorm2d)]
        pinned[name] = {
            "mean": torch.cat([norm.running_mean for norm in norms]),  # type: ignore[misc]
            "variance": torch.cat([norm.running_var for norm in norms]),  # type: ignore[misc]
            "counts": [int(norm.num_batches_tracked) for norm in norms],  # type: ignore[arg-type]
            "eps": norms[0].eps,
            "momentum": norms[0].momentum,
        }
    return pinned


@pin("batch_norm.sync", tolerance=TRAJECTORY)
def _sync(room: Room) -> dict[str, Any]:
    store = distributed.HashStore()
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        network = nn.Sequential(nn.BatchNorm2d(3).double())
        model = nn.Module()
        model.network = network
        sync_batch_norm.synchronise(model, "cpu")  # type: ignore[arg-type]
        x_BCHW = (1 + 2 * numbers(4, 3, 5, 5)).requires_grad_()
        made_BCHW = network.train()(x_BCHW)
        (made_BCHW * numbers(4, 3, 5, 5, seed=1)).sum().backward()
        pinned = {"made": made_BCHW, "gradient": x_BCHW.grad, "gradients": gradients(network), "running": network}
        return pinned | {"evaluated": network.eval()(x_BCHW), "kind": type(network[0]).__name__}
    finally:
        distributed.destroy_process_group()


# --- precision ---


class _Dtypes:
    """Notes what the first convolution and the head make."""

    def __init__(self, model: CebModel) -> None:
        self.seen: list[str] = []
        model.network[0].register_forward_hook(self._note)  # type: ignore[index]
        model.classifier.register_forward_hook(self._note)

    def _note(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        self.seen.append(str(output.dtype))


def _precision(precision: str, room: Room) -> dict[str, Any]:
    """What is computed in which type, the encodings, and what a step ends with."""
    run = run_of(precision=precision, network=spec.SmallCnn(width=8, z_dim=6))
    model = build(run)
    dtypes = _Dtypes(model)
    x_BCHW = (0.5 + 0.2 * numbers(6, 1, 8, 8)).float()
    with training_precision(run, "cpu"):
        f_BZ = encode(model, run, x_BCHW)
        logits_BK = model.logits(f_BZ)
        state, reported = steps(run, 2)
    pinned = {"f": f_BZ, "logits": logits_BK, "types": [*dtypes.seen, str(f_BZ.dtype)], "losses": reported["loss"]}
    return pinned | {"noise": str(encoder_noise.draw(run, 0, torch.arange(2), "cpu").dtype), "step": state.step}


pin("precision.fp32", tolerance=FLOAT32)(partial(_precision, "fp32"))
pin("precision.bf16", tolerance=BF16)(partial(_precision, "bf16"))
pin("precision.fp64", tolerance=TRAJECTORY)(partial(_precision, "fp64"))


@pin("precision.tf32", tolerance=EXACT)
def _tf32(room: Room) -> dict[str, Any]:
    """Which switches are set, for GPUs alone: nothing can be computed with them here."""
    room.patch.setattr(torch.cuda, "is_tf32_supported", lambda: True)
    pinned = {}
    for precision in ("fp32", "tf32", "bf16"):
        with training_precision(run_of(precision=precision), "cuda"):
            pinned[precision] = [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32]
    return pinned


@pin("evaluation.precision", tolerance=FLOAT32)
def _full_precision(room: Room) -> dict[str, Any]:
    """Inside an autocast, which it has to end."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    with torch.autocast("cpu", torch.bfloat16), full_precision("cpu"):
        made_BB = numbers(4, 4).float() @ numbers(4, 4, seed=1).float()
        switches = [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32]
    torch.backends.cuda.matmul.allow_tf32 = before
    return {"made": made_BB, "type": str(made_BB.dtype), "switches": switches}


# --- what training reports ---


def _trained(room: Room, run: spec.Run) -> tuple[RunPaths, list[Metrics]]:
    paths = RunPaths(room.folder / "run")
    with Journal(paths.journal("train", 1)) as journal:
        train(run, paths, journal, room.folder, "cpu", lambda: False)
    records = read(paths.journal("train", 1)).records
    return paths, [record for record in records if isinstance(record, Metrics)]


@pin("metrics.epoch", tolerance=TRAJECTORY)
def _epoch(room: Room) -> dict[str, Any]:
    run = run_of(data=spec.Data(name="digits", train_subset=60), batch=20, epochs=3)
    paths, _ = _trained(room, run)
    meter = Meter()
    meter.add({"loss": 2.0, "rate": 1.0}, 3)
    meter.add({"loss": 5.0, "rate": 0.5}, 1)
    reported = [
        {name: epoch[name] for name in ("loss", "rate", "residual_information", "train_accuracy", "rho", "gamma")}
        for epoch in epochs([paths])
    ]
    return {"means": meter.means(), "reported": reported}


@pin("metrics.diagnostics", tolerance=TRAJECTORY)
def _diagnostics(room: Room) -> dict[str, Any]:
    run = run_of(data=spec.Data(name="digits", train_subset=60), batch=20, epochs=2, optimiser=spec.Adam(lr=1e-6))
    _, metrics = _trained(room, run)
    measured = ("images_per_second", "data_wait_share", "memory_mb")
    values = [{k: v for k, v in record.values.items() if k in ("collapsed", "lr")} for record in metrics]
    names = sorted({name for record in metrics for name in record.values} - set(measured))
    shares = (0.001, 0.0015, 0.1, 0.14, 0.15, 0.67, 0.68, 0.7, 0.9, 0.91, 1.0)
    collapsed = [[is_collapsed(accuracy, constant) for accuracy in shares] for constant in shares]
    return {
        "values": values,
        "collapsed": collapsed,
        "names": names,
        "at": [[record.step, record.epoch] for record in metrics],
    }


@pin("metrics.operations", tolerance=EXACT)
def _operations(room: Room) -> dict[str, Any]:
    networks = {"digits": spec.SmallCnn(), "cifar10": NORMED, "imagenet": spec.ResNet(depth=50)}
    counts: dict[str, costs.NetworkCount] = {
        data: flops.count(run_of(network=network, data=spec.Data(name=data))) for data, network in networks.items()
    }
    names = ("macs", "parameters", "z_dim", "activations", "largest")
    return {data: [getattr(count, name) for name in names] for data, count in counts.items()}
