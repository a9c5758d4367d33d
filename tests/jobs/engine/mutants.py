"""Change one line of the engine at a time, and show that a pinned number moves.

    python tests/jobs/engine/mutants.py              all of them, a line each; exit code 1 if one survives
    python tests/jobs/engine/mutants.py attack.pgd   those of this part

Each mutant is made in a copy of the tree, and the golden numbers of its part are computed there, in a forked process.
"""
# ruff: noqa: E501 # a mutant a line

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BROKEN = "BROKEN"
LIBRARIES = (
    "cv2", "torch", "torchvision.transforms", "scipy.fft", "sklearn", "torch.utils.data", "torch.utils.flop_counter",
    "torch.distributed", "nvidia.dali.auto_aug.auto_augment", "nvidia.dali.plugin.pytorch",
)  # fmt: skip
"""Imported once, before the forks: they are not what is mutated."""


@dataclass(frozen=True)
class Mutant:
    """One line of code, and what takes its place."""

    part: str
    file: str
    line: str
    instead: str


ENGINE = "jobs/engine"
MUTANTS = (
    # random numbers
    Mutant("randomness.generator", f"{ENGINE}/randomness.py", "_shift_right(state, 30)", "_shift_right(state, 31)"),
    Mutant("randomness.order", f"{ENGINE}/training/epoch_sampler.py", '"shuffle"', '"shuffled"'),
    Mutant("randomness.noise", f"{ENGINE}/training/encoder_noise.py", '"noise", epoch', '"noise", 0'),
    # data sets and their readers
    Mutant("data.digits", "experiments/datasets.py", "mean=(0.3053,)", "mean=(0.3054,)"),
    Mutant("data.cifar10", f"{ENGINE}/data/datasets/cifar10.py", "torch.from_numpy(pixels_NF)", "torch.from_numpy(pixels_NF[:, ::-1].copy())"),
    Mutant("data.cifar100", f"{ENGINE}/data/datasets/cifar10.py", 'b"fine_labels" if', 'b"coarse_labels" if'),
    Mutant("data.svhn", f"{ENGINE}/data/datasets/svhn.py", "[:, 0]) % 10", "[:, 0]) - 1"),
    Mutant("data.svhn", f"{ENGINE}/data/datasets/svhn.py", "transpose(3, 2, 0, 1)", "transpose(3, 2, 1, 0)"),
    Mutant("data.stl10", f"{ENGINE}/data/datasets/stl10.py", "swapaxes(2, 3)", "copy()"),
    Mutant("data.tiny_imagenet", f"{ENGINE}/data/datasets/tiny_imagenet.py", "return sorted(labelled)", "return labelled"),
    Mutant("data.fashion_mnist", f"{ENGINE}/data/datasets/fashion_mnist.py", "torch.from_numpy(pixels_NHW)", "torch.from_numpy(255 - pixels_NHW)"),
    Mutant("data.cifar10-jpeg", f"{ENGINE}/data/datasets/cifar10_jpeg.py", "return np.asarray(image)", 'return np.asarray(image.convert("L").convert("RGB"))'),
    Mutant("data.imagenet", f"{ENGINE}/data/batches.py", 'return image.convert("RGB")', 'return image.convert("L").convert("RGB")'),
    Mutant("data.imagenet-sample", f"{ENGINE}/data/datasets/other_test_sets.py", "key=lambda item: item[1]", "key=lambda item: -item[1]"),
    Mutant("data.own", "jobs/datasets/image_folder.py", "Image.Resampling.BICUBIC", "Image.Resampling.NEAREST"),
    Mutant("data.own", "jobs/datasets/image_folder.py", "upright(opened)", "opened"),
    Mutant("data.own", "jobs/datasets/image_folder.py", "number % test_every == 0", "number % test_every == 1"),
    Mutant("data.cifar10-c", f"{ENGINE}/data/datasets/other_test_sets.py", "slice((severity - 1) * count, severity * count)", "slice(0, count)"),
    Mutant("data.photographs", f"{ENGINE}/data/resized.py", "windows.append(cut.swapaxes(1, 2)", "windows.append(cut"),
    Mutant("data.subset", f"{ENGINE}/data/images.py", "order_N[torch.argsort(turns_N, stable=True)]", "order_N"),
    Mutant("data.subset", f"{ENGINE}/data/load.py", "len(images) - 1 - balanced_indices(images.labels_N.flip(0), data.holdout).flip(0)", "balanced_indices(images.labels_N, data.holdout)"),
    Mutant("loader.dali", f"{ENGINE}/data/dali.py", "types.INTERP_CUBIC", "types.INTERP_LINEAR"),
    Mutant("data.cifar10.1-v4", f"{ENGINE}/data/datasets/other_test_sets.py", "_memory(info, declared.name, pixels_NHWC,", "_memory(info, declared.name, pixels_NHWC[::-1].copy(),"),
    Mutant("data.cifar10.1-v6", f"{ENGINE}/data/datasets/other_test_sets.py", "permute(0, 3, 1, 2)", "permute(0, 3, 2, 1)"),
    Mutant("data.imagenet-a", "experiments/datasets.py", 'folder="imagenet-a", images=7_500', 'folder="imagenet-a", images=7_501'),
    Mutant("data.imagenet-3dcc", f"{ENGINE}/data/datasets/other_test_sets.py", "{images.digest} {corruption}/{severity}", "{images.digest} {corruption}"),
    Mutant("data.imagenet-c", f"{ENGINE}/data/datasets/other_test_sets.py", "{images.digest} {corruption}/{severity}", "{images.digest} {severity}"),
    Mutant("data.imagenet-r", "experiments/datasets.py", 'images=30_000, classes=200', 'images=30_000, classes=201'),
    Mutant("data.imagenet-sketch", "experiments/datasets.py", 'images=50_889', 'images=50_888'),
    Mutant("data.imagenet-v2-matched-frequency", "experiments/datasets.py", '-format-val', '-format-test'),
    Mutant("data.imagenet-v2-threshold-0.7", "experiments/datasets.py", '-format-val', '-format-test'),
    Mutant("data.imagenet-v2-top-images", "experiments/datasets.py", '-format-val', '-format-test'),
    # resizing and augmentation
    Mutant("resize.central_crop", f"{ENGINE}/data/augmentation/augment.py", "224 / 256", "225 / 256"),
    Mutant("resize.central_crop", f"{ENGINE}/data/augmentation/augment.py", "InterpolationMode.BICUBIC", "InterpolationMode.BILINEAR"),
    Mutant("resize.fitted", f"{ENGINE}/data/resized.py", "Image.Resampling.BICUBIC", "Image.Resampling.BILINEAR"),
    Mutant("augment.crop_flip", f"{ENGINE}/data/augmentation/augment.py", "drawn_B3[:, 2:] < 0.5", "drawn_B3[:, 2:] < 0.4"),
    Mutant("augment.crop_flip", f"{ENGINE}/data/augmentation/augment.py", "2 * padding + 1", "2 * padding"),
    Mutant("augment.random_resized_crop", f"{ENGINE}/data/augmentation/augment.py", "(0.08, 1.0)", "(0.1, 1.0)"),
    Mutant("augment.random_resized_crop", f"{ENGINE}/data/augmentation/augment.py", "crop, transforms.RandomHorizontalFlip()]", "crop]"),
    Mutant("augment.autoaugment_torchvision", f"{ENGINE}/data/augmentation/autoaugment.py", "GREY = 128", "GREY = 127"),
    Mutant("augment.autoaugment_torchvision", f"{ENGINE}/data/augmentation/autoaugment.py", '"Color": 0.9', '"Color": 0.8'),
    Mutant("augment.autoaugment_torchvision", f"{ENGINE}/data/augmentation/autoaugment.py", "step_R1 // 2", "step_R1 // 3"),
    Mutant("augment.autoaugment_v0", f"{ENGINE}/data/dali.py", "1 - signs_B2", "signs_B2"),
    Mutant("augment.autoaugment_cifar10_authors", f"{ENGINE}/data/augmentation/autoaugment_pillow.py", '4 - 4 * level // 10 if cifar10', '4 - 3 * level // 10 if cifar10'),
    Mutant("augment.autoaugment_cifar10_authors", f"{ENGINE}/data/augmentation/autoaugment_pillow.py", 'sign * (level if cifar10', 'sign * (level + 1 if cifar10'),
    Mutant("augment.autoaugment_imagenet_authors", f"{ENGINE}/data/augmentation/autoaugment_pillow.py", 'return 11 * level', 'return 10 * level'),
    Mutant("augment.order", f"{ENGINE}/data/augmentation/augment.py", '    if augment.order:', '    if not augment.order:'),
    Mutant("augment.crop_offsets", f"{ENGINE}/data/augmentation/augment.py", 'offsets or 2 * padding + 1', '2 * padding + 1'),
    Mutant("augment.cutout", f"{ENGINE}/data/augmentation/augment.py", 'torch.full_like(rows_B, side)', 'torch.full_like(rows_B, side // 2)'),
    Mutant("augment.fill", f"{ENGINE}/data/augmentation/augment.py", 'images_BDHW[:, -1:] == 0', 'images_BDHW[:, -1:] == 255'),
    Mutant("augment.randaugment", f"{ENGINE}/data/augmentation/augment.py", "transforms.RandAugment(augment.operations, augment.magnitude)", "transforms.RandAugment()"),
    Mutant("augment.trivialaugment", f"{ENGINE}/data/augmentation/augment.py", "transforms.TrivialAugmentWide()", "transforms.RandAugment()"),
    Mutant("augment.augmix", f"{ENGINE}/data/augmentation/augment.py", "augment.chain_length or -1", "-1"),
    Mutant("augment.erasing", f"{ENGINE}/data/augmentation/erasing.py", "(0.02, 0.33), (0.3, 3.3)", "(0.02, 0.4), (0.3, 3.3)"),
    Mutant("augment.erasing", f"{ENGINE}/data/augmentation/erasing.py", "chance_B < probability", "chance_B < 1"),
    Mutant("augment.mixup", f"{ENGINE}/data/augmentation/mixing.py", "1 - share_B1)", "share_B1)"),
    Mutant("augment.mixup", f"{ENGINE}/data/training_batches.py", "order_N.roll(-1)", "order_N"),
    Mutant("augment.mixup", f"{ENGINE}/models/gaussian.py", "- 0.5 * means_MZ", "- means_MZ"),
    Mutant("augment.cutmix", f"{ENGINE}/data/augmentation/mixing.py", "0.5 * (1 - lam_B).sqrt()", "0.5 * (1 - lam_B)"),
    Mutant("augment.cutmix", f"{ENGINE}/data/augmentation/mixing.py", "0.5 if mixup and cutmix", "0.4 if mixup and cutmix"),
    # what begins a run
    Mutant("init.streams", f"{ENGINE}/models/build.py", '_seeded(run.seed, "marginal")', '_seeded(run.seed, "classifier")'),
    Mutant("init.weights_file", f"{ENGINE}/weights_file.py", "weights.get(name, tensor) for", "tensor for"),
    Mutant("init.foreign_weights", f"{ENGINE}/foreign_weights.py", '"conv3": "added.6"', '"conv3": "added.3"'),
    Mutant("init.foreign_weights", f"{ENGINE}/foreign_weights.py", "int(match[1]) - 1]) + int(match[2])", "int(match[1]) - 1]) + int(match[2]) + 1"),
    Mutant("init.foreign_weights", f"{ENGINE}/foreign_weights.py", '"bn1": "last.0"', '"bn1": "last.1"'),
    # networks and heads
    Mutant("network.small_cnn", f"{ENGINE}/models/small_cnn.py", 'nonlinearity="relu"', 'nonlinearity="linear"'),
    Mutant("network.wide_resnet", f"{ENGINE}/models/wide_resnet.py", "len(self.blocks) ** -0.5", "len(self.blocks) ** -1.0"),
    Mutant("network.wide_resnet", f"{ENGINE}/models/wide_resnet.py", "self.shortcut(active_BCHW)", "self.shortcut(x_BCHW)"),
    Mutant("network.resnet", f"{ENGINE}/models/resnet.py", "zeros_(last_norm.weight)", "ones_(last_norm.weight)"),
    Mutant("network.resnet", f"{ENGINE}/models/resnet.py", "152: (3, 8, 36, 3)", "152: (3, 4, 36, 3)"),
    Mutant("network.timm", f"{ENGINE}/models/library_networks.py", "return config.mean, config.std", "return info.mean, info.std"),
    Mutant("network.timm", f"{ENGINE}/models/library_networks.py",  "self.dense(self.features(x_BCHW))", "self.dense(self.features(x_BCHW)).relu()"),
    Mutant("network.torchvision", f"{ENGINE}/models/library_networks.py", "xavier_uniform_(self.dense.weight)", "xavier_normal_(self.dense.weight)"),
    Mutant("network.torchvision", f"{ENGINE}/models/library_networks.py", "(0.485, 0.456, 0.406)", "(0.5, 0.5, 0.5)"),
    Mutant("network.resize", f"{ENGINE}/models/library_networks.py", "antialias=True", "antialias=False"),
    Mutant("network.dropout", f"{ENGINE}/training/stochastic_layers.py", "self.draws += 1", ""),
    Mutant("network.dropout", f"{ENGINE}/training/stochastic_layers.py", "drawn_Bn < keep", "drawn_Bn <= 1 - keep"),
    Mutant("network.dropout", f"{ENGINE}/training/stochastic_layers.py", "* (self._kept(shape, 1 - p, x) / (1 - p))", "* self._kept(shape, 1 - p, x)"),
    Mutant("batch_norm.statistics", f"{ENGINE}/training/batch_norm_stats.py", "total.add_(tensor, alpha=weight)", "total.copy_(tensor)"),
    Mutant("batch_norm.sync", f"{ENGINE}/training/sync_batch_norm.py", "variance_C * count / (count - 1)", "variance_C"),
    Mutant("head.normalise", f"{ENGINE}/models/ceb.py", "- self.mean_C11) / self.std_C11", "- self.mean_C11)"),
    Mutant("head.linear", f"{ENGINE}/models/classifiers.py", "std=0.01", "std=0.02"),
    Mutant("head.consistent", f"{ENGINE}/models/classifiers.py", "+ self.log_prior_K", ""),
    Mutant("head.backward_encoder", f"{ENGINE}/models/backward_encoder.py", "xavier_uniform_", "xavier_normal_"),
    Mutant("head.marginal", f"{ENGINE}/models/marginal.py", "std=z_dim**-0.5", "std=1.0"),
    Mutant("head.marginal", f"{ENGINE}/models/marginal.py", "log_softmax(self.logits_M, dim=0)", "self.logits_M"),
    Mutant("head.encoder_diagonal", f"{ENGINE}/models/encoder.py", "self.scales(encoding_BP) * noise_BZ", "self.scales(encoding_BP).sqrt() * noise_BZ"),
    Mutant("head.encoder_full", f"{ENGINE}/models/encoder.py", "offset=-1", "offset=0"),
    Mutant("head.backward_encoder_diagonal", f"{ENGINE}/models/backward_encoder.py", "- scales_KZ.log().sum(dim=1)[y_B]", ""),
    Mutant("head.marginal_diagonal_mixture", f"{ENGINE}/models/gaussian.py", "+ scales_MZ.log())", ")"),
    Mutant("head.marginal_vamp", f"{ENGINE}/models/ceb.py", "- math.log(len(images_MCHW))", ""),
    Mutant("head.marginal_vamp", f"{ENGINE}/models/ceb.py", "        self.network.eval()\n", ""),
    # objectives and schedules
    Mutant("objective.xent", f"{ENGINE}/objectives/xent.py", "cross_entropy(logits_BK, y_B)", "cross_entropy(logits_BK, y_B, label_smoothing=0.1)"),
    Mutant("objective.vib", f"{ENGINE}/objectives/vib.py", "model.log_marginal(z_BZ)).mean()", "model.log_marginal(encoding_BP)).mean()"),
    Mutant("objective.ceb", f"{ENGINE}/objectives/ceb.py", "gamma * residual_information", "residual_information"),
    Mutant("objective.cceb", f"{ENGINE}/objectives/ceb.py", "return math.exp(-rho)", "return math.exp(rho)"),
    Mutant("jump_start.gamma", f"{ENGINE}/training/schedules.py", "_lerp(step / steps,", "_lerp((step + 1) / steps,"),
    Mutant("jump_start.gated", f"{ENGINE}/training/schedules.py", "accuracy > jump_start.threshold", "accuracy >= jump_start.threshold"),
    Mutant("jump_start.gated", f"{ENGINE}/training/schedules.py", "max(passed_step, falling_steps)", "passed_step"),
    Mutant("schedule.warmup", f"{ENGINE}/training/schedules.py", "epoch / schedule.warmup_epochs", "(epoch + 1) / schedule.warmup_epochs"),
    Mutant("schedule.drops", f"{ENGINE}/training/schedules.py", "epoch >= drop", "epoch > drop"),
    Mutant("schedule.cosine", f"{ENGINE}/training/schedules.py", "_share(schedule, epoch, schedule.warmup_epochs), 1.0", "_share(schedule, epoch, 0.0), 1.0"),
    Mutant("schedule.cosine", "experiments/lineage.py", "return run.extends[0] if run.extends else run.epochs", "return run.epochs"),
    Mutant("schedule.polynomial", f"{ENGINE}/training/schedules.py", "schedule.power or 1.0", "1.0"),
    Mutant("schedule.one_cycle", f"{ENGINE}/training/schedules.py", "epoch / (schedule.rise *", "epoch / (0.5 *"),
    Mutant("schedule.one_cycle", f"{ENGINE}/training/schedules.py", 'schedule.anneal == "linear"', 'schedule.anneal == "line"'),
    # optimisation and the step
    Mutant("optimiser.adam", f"{ENGINE}/training/optimisers.py", '"weight_decay": 0.0', '"weight_decay": optimiser.weight_decay'),
    Mutant("optimiser.adam", f"{ENGINE}/training/optimisers.py", 'pop("beta1", 0.9)', 'pop("beta1", 0.8)'),
    Mutant("optimiser.adam", f"{ENGINE}/training/optimisers.py", '"epsilon": "eps",', '"epsilon": "lr",'),
    Mutant("optimiser.adamw", f"{ENGINE}/training/optimisers.py", "torch.optim.AdamW", "torch.optim.Adam"),
    Mutant("optimiser.adamax", f"{ENGINE}/training/optimisers.py", "torch.optim.Adamax", "torch.optim.Adam"),
    Mutant("optimiser.nadam", f"{ENGINE}/training/optimisers.py", '"decoupled": "decoupled_weight_decay"', '"decoupled": "maximize"'),
    Mutant("optimiser.radam", f"{ENGINE}/training/optimisers.py", "torch.optim.RAdam", "torch.optim.Adam"),
    Mutant("optimiser.sgd", f"{ENGINE}/training/optimisers.py", "and optimiser.nesterov is UNSET", ""),
    Mutant("optimiser.sgd", f"{ENGINE}/training/optimisers.py", "and optimiser.nesterov is UNSET", "and False"),
    Mutant("optimiser.rmsprop", f"{ENGINE}/training/rmsprop_tensorflow.py", "torch.ones_like", "torch.zeros_like"),
    Mutant("optimiser.rmsprop", f"{ENGINE}/training/rmsprop_tensorflow.py", 'div_((square + group["eps"]).sqrt_())', 'div_(square.sqrt().add_(group["eps"]))'),
    Mutant("optimiser.adagrad", f"{ENGINE}/training/optimisers.py", '"initial_square": "initial_accumulator_value"', '"initial_square": "eps"'),
    Mutant("optimiser.adadelta", f"{ENGINE}/training/optimisers.py", 'arguments["rho"] = arguments.pop("square_decay")', 'arguments["rho"] = 0.5 * arguments.pop("square_decay")'),
    Mutant("optimiser.marginal", f"{ENGINE}/training/step.py", "marginal.lr * declined", "marginal.lr"),
    Mutant("adversary.pgd", f"{ENGINE}/training/step.py", "    model.eval()\n", ""),
    Mutant("adversary.pgd", f"{ENGINE}/training/step.py", "samples_B=samples_B, epoch=epoch)", "samples_B=samples_B, epoch=0)"),
    Mutant("precision.fp32", f"{ENGINE}/precision.py", 'run.precision != "bf16"', 'run.precision == "bf16"'),
    Mutant("precision.bf16", f"{ENGINE}/precision.py", 'run.precision != "bf16"', 'run.precision != "bf17"'),
    Mutant("precision.bf16", f"{ENGINE}/precision.py", "cache_enabled=False", "enabled=False"),
    Mutant("precision.tf32", f"{ENGINE}/precision.py", "cudnn.allow_tf32 = tf32", "cudnn.allow_tf32 = False"),
    Mutant("precision.fp64", f"{ENGINE}/training/encoder_noise.py", 'torch.float64 if run.precision == "fp64" else', ""),
    Mutant("training.length", f"{ENGINE}/training/epoch_sampler.py", "round(self.run.epochs", "int(self.run.epochs"),
    Mutant("training.step", f"{ENGINE}/training/loss_module.py", "model.sample(encoding_BP, noise_BZ) if", "f_BZ if"),
    Mutant("training.step", f"{ENGINE}/training/loss_module.py", "model.logits(f_BZ) if terms.mean_logits_BK is None else terms.mean_logits_BK", "model.logits(z_BZ)"),
    Mutant("training.parts", f"{ENGINE}/training/step.py", "loss if weight == 1 else loss * weight", "loss"),
    Mutant("training.parts", f"{ENGINE}/training/step.py", "len(samples_B) < len(requested_B):", "False:"),
    Mutant("training.decayed", f"{ENGINE}/training/optimisers.py", "if p.dim() > 1]", "if p.dim() > 2]"),
    Mutant("training.label_smoothing", f"{ENGINE}/training/loss_module.py", "(to_all_classes - terms.conditional_entropy)", "to_all_classes"),
    Mutant("training.clip_norm", f"{ENGINE}/training/optimisers.py", "clip_grad_norm_(parameters, norm)", "clip_grad_value_(parameters, norm)"),
    Mutant("training.ema", f"{ENGINE}/training/weight_average.py", "decay = 0.0", "pass"),
    Mutant("training.ema", f"{ENGINE}/training/weight_average.py", "(10 + self.updates)", "(9 + self.updates)"),
    Mutant("training.ema", f"{ENGINE}/training/step.py", "update(state.step + 1)", "update(state.step)"),
    Mutant("training.execution", f"{ENGINE}/execution.py", 'x_BCHW.device.type == "cpu" or', 'x_BCHW.device.type == "mps" or'),
    # attacks
    Mutant("attack.pgd", f"{ENGINE}/attacks/pgd.py", "(x_BCHW + change_BCHW).clamp(0, 1)", "x_BCHW + change_BCHW"),
    Mutant("attack.pgd", f"{ENGINE}/attacks/pgd.py", "return gradient_BCHW.sign()", "return gradient_BCHW.clamp(-1, 1)"),
    Mutant("attack.pgd", f"{ENGINE}/attacks/pgd.py", "zero_gradient_B |= ~", "zero_gradient_B &= ~"),
    Mutant("attack.random_start", f"{ENGINE}/attacks/random_start.py", "** (1 / features)", "** 1"),
    Mutant("attack.loss_cross_entropy", f"{ENGINE}/attacks/losses.py", "return -cross_entropy(logits_BK, target_B", "return cross_entropy(logits_BK, target_B"),
    Mutant("attack.loss_margin", f"{ENGINE}/attacks/losses.py", "masked_fill(own_BK, -torch.inf)", "masked_fill(own_BK, 0.0)"),
    Mutant("attack.loss_dlr", f"{ENGINE}/attacks/losses.py", "0.5 * (top_B4[:, 2] + top_B4[:, 3])", "top_B4[:, 2]"),
    Mutant("attack.autoattack_standard", f"{ENGINE}/attacks/autoattack.py", "logits_BK.shape[1] - 1)", "logits_BK.shape[1] - 2)"),
    Mutant("attack.autoattack_standard", f"{ENGINE}/attacks/autoattack.py", '"apgd_t", "fab_t", "square"),', '"apgd_t", "square"),'),
    Mutant("attack.autoattack_standard", f"{ENGINE}/attacks/autoattack.py", "right_B[places_b] = ~broken.wrong_B", "pass"),
    Mutant("attack.autoattack_plus", f"{ENGINE}/attacks/autoattack.py", "RESTARTS = 5", "RESTARTS = 4"),
    Mutant("attack.square", f"{ENGINE}/attacks/square.py", '"queries": queries,', '"queries": queries // 3,'),
    Mutant("attack.square", f"{ENGINE}/attacks/square.py", "_SHARE = 0.8", "_SHARE = 0.7"),
    Mutant("attack.square", f"{ENGINE}/attacks/square.py", "given_up_B11C = delta_BHWC[second]", "given_up_B11C = 0 * delta_BHWC[second]"),
    Mutant("attack.square", f"{ENGINE}/attacks/square.py", "(margin_r > state.margin_B[rows_R[ask_r]]) | broken_r", "broken_r"),
    Mutant("attack.fab", f"{ENGINE}/attacks/fab.py", "(1 - free_BD)", "(0 * free_BD)"),
    Mutant("attack.fab", f"{ENGINE}/attacks/fab.py", "nearer_B = (distance_B < shortest_B)", "nearer_B = (distance_B < torch.inf)"),
    Mutant("attack.apgd", f"{ENGINE}/attacks/autoattack.py", "gains_EB.argmax(dim=0)", "gains_EB.argmin(dim=0)"),
    Mutant("attack.apgd", f"{ENGINE}/attacks/apgd.py", "_MOMENTUM = 0.25", "_MOMENTUM = 0.0"),
    Mutant("attack.apgd", f"{ENGINE}/attacks/apgd.py", "_RHO = 0.75", "_RHO = 0.25"),
    Mutant("attack.apgd", f"{ENGINE}/attacks/apgd.py", "state.step_B / 2", "state.step_B / 3"),
    # corruptions
    Mutant("corruption.motion_blur", f"{ENGINE}/corruptions/arithmetic.py", "steps * math.cos(along) - 0.5", "steps * math.cos(along)"),
    Mutant("corruption.glass_blur", f"{ENGINE}/corruptions/blur.py", "inner < side", "inner < side - 1"),
    Mutant("corruption.gaussian_noise", f"{ENGINE}/corruptions/parameters.py", "(0.08, 0.12, 0.18, 0.26, 0.38)", "(0.08, 0.12, 0.18, 0.26, 0.37)"),
    Mutant("corruption.brightness", f"{ENGINE}/corruptions/digital.py", "np.minimum(value_HW1 + np.float32(c), 1)", "value_HW1 + np.float32(c)"),
    Mutant("corruption.elastic_transform", f"{ENGINE}/corruptions/digital.py", "244 if side == 224", "224 if side == 224"),
    Mutant("corruption.jpeg_compression", f"{ENGINE}/corruptions/parameters.py", "(25, 18, 15, 10, 7)", "(25, 18, 15, 10, 8)"),
    Mutant("corruption.fog", f"{ENGINE}/corruptions/weather.py", "half, deviation / decay", "half, deviation / decay**1.1"),
    Mutant("pipeline.official", f"{ENGINE}/evaluation/evaluators/corrupted.py", 'benchmark.pipeline == "official-recrop"', 'benchmark.pipeline == "official"'),
    Mutant("pipeline.in-memory", f"{ENGINE}/corruptions/generate.py", "SEED = 0", "SEED = 1"),
    Mutant("corruption.contrast", f"{ENGINE}/corruptions/parameters.py", '"contrast": (0.4, 0.3, 0.2, 0.1, 0.05)', '"contrast": (0.4, 0.3, 0.2, 0.1, 0.06)'),
    Mutant("corruption.defocus_blur", f"{ENGINE}/corruptions/parameters.py", "(8, 0.5), (10, 0.5)", "(8, 0.5), (9, 0.5)"),
    Mutant("corruption.frost", f"{ENGINE}/corruptions/weather.py", "side / 8", "side / 7"),
    Mutant("corruption.gaussian_blur", f"{ENGINE}/corruptions/arithmetic.py", "int(4 * sigma + 0.5)", "int(2 * sigma + 0.5)"),
    Mutant("corruption.impulse_noise", f"{ENGINE}/corruptions/noise.py", "drawn_HWC < c / 2", "drawn_HWC < c / 3"),
    Mutant("corruption.pixelate", f"{ENGINE}/corruptions/digital.py", "small.resize((width, height), Image.Resampling.BOX)", "small.resize((width, height), Image.Resampling.BILINEAR)"),
    Mutant("corruption.saturate", f"{ENGINE}/corruptions/digital.py", "np.float32(c[0]) + np.float32(c[1])", "np.float32(c[0])"),
    Mutant("corruption.shot_noise", f"{ENGINE}/corruptions/noise.py", "c / 255", "c / 250"),
    Mutant("corruption.snow", f"{ENGINE}/corruptions/weather.py", "np.rot90(flakes_HW1, k=2)", "np.rot90(flakes_HW1, k=0)"),
    Mutant("corruption.spatter", f"{ENGINE}/corruptions/weather.py", "cover_HW1 < 0.8", "cover_HW1 < 0.6"),
    Mutant("corruption.speckle_noise", f"{ENGINE}/corruptions/noise.py", "x_HWC + x_HWC * np.float32(c)", "x_HWC + np.float32(c)"),
    Mutant("corruption.zoom_blur", f"{ENGINE}/corruptions/blur.py", "len(factors) + 1", "len(factors)"),
    Mutant("pipeline.official-recrop", f"{ENGINE}/evaluation/evaluators/corrupted.py", '== "official-recrop"', '== "recrop"'),
    Mutant("pipeline.ours", f"{ENGINE}/evaluation/evaluators/corrupted.py", " of seed {SEED}", ""),
    Mutant("pipeline.regenerated", f"{ENGINE}/corruptions/generate.py", 'PUBLISHED_QUALITY = 85', 'PUBLISHED_QUALITY = 75'),
    # evaluation
    Mutant("evaluation.precision", f"{ENGINE}/attacks/precision.py", ", enabled=False", ""),
    Mutant("evaluation.measure", f"{ENGINE}/evaluation/evaluate.py", "500 if images.info.size <= 32", "500 if images.info.size < 32"),
    Mutant("evaluation.measure", f"{ENGINE}/evaluation/evaluate.py", 'unit in ("accuracy", "success")', 'unit in ("accuracy",)'),
    Mutant("evaluator.clean", f"{ENGINE}/evaluation/evaluators/clean.py", "model.classify(x_BCHW).argmax(dim=1) == y_B)", "model.classify(x_BCHW).argmin(dim=1) == y_B)"),
    Mutant("evaluator.clean_holdout", f"{ENGINE}/evaluation/evaluators/clean.py", 'context.load_images("holdout")', 'context.load_images("train")'),
    Mutant("evaluator.top5", f"{ENGINE}/evaluation/evaluators/clean.py", "min(5, logits_BK.shape[1])", "min(4, logits_BK.shape[1])"),
    Mutant("evaluator.information", f"{ENGINE}/evaluation/evaluators/information.py", "model.sample(encoding_BP, noise_BZ), y_B)", "model.sample(encoding_BP, 0.9 * noise_BZ), y_B)"),
    Mutant("evaluator.information_train", f"{ENGINE}/evaluation/evaluators/information.py", 'context.load_images("train")', 'context.load_images("holdout")'),
    Mutant("evaluator.training_rate", f"{ENGINE}/evaluation/evaluators/training_rate.py", "max(rates)", "rates[-1]"),
    Mutant("evaluator.calibration", f"{ENGINE}/evaluation/evaluators/calibration.py", ".square().sum(dim=1)", ".square().mean(dim=1)"),
    Mutant("evaluator.ood", f"{ENGINE}/evaluation/evaluators/ood.py", "RECOGNISED = 0.95", "RECOGNISED = 0.9"),
    Mutant("evaluator.pgd", "experiments/benchmarks.py", "4 / 3 * eps", "1 * eps"),
    Mutant("evaluator.pgd", f"{ENGINE}/evaluation/evaluators/pgd.py", "(y_B + 1 + ", "(y_B + "),
    Mutant("evaluator.transfer", f"{ENGINE}/evaluation/evaluators/transfer.py", "source.classify,", "model.classify,"),
    Mutant("evaluator.autoattack_standard", f"{ENGINE}/evaluation/evaluators/autoattack.py", '"accuracy", samples_B, attacked.right_B)', '"accuracy", samples_B, ~attacked.right_B)'),
    Mutant("evaluator.gradient_audit", f"{ENGINE}/evaluation/evaluators/gradient_audit.py", "plain_B & under(more=MORE)", "plain_B"),
    Mutant("evaluator.autoattack_standard", f"{ENGINE}/evaluation/evaluators/autoattack.py", "if right else None", "if right and False else None"),
    Mutant("evaluator.autoattack_plus", f"{ENGINE}/evaluation/evaluators/autoattack.py", "SEQUENCES[benchmark.version]", 'SEQUENCES["standard"]'),
    Mutant("evaluator.gradient_audit", f"{ENGINE}/evaluation/evaluators/gradient_audit.py", '"queries": benchmark.queries', '"queries": 1'),
    Mutant("evaluator.common_corruptions", f"{ENGINE}/evaluation/evaluators/corrupted.py", "~column.values_M for", "column.values_M for"),
    Mutant("evaluator.imagenet_3dcc", "experiments/benchmarks.py", '"near_focus", "far_focus"', '"far_focus", "near_focus"'),
    Mutant("evaluator.imagenet_a", f"{ENGINE}/evaluation/evaluators/other_sets.py", "masked_fill(~candidates_K", "masked_fill(candidates_K"),
    Mutant("evaluator.cifar10_1", "experiments/benchmarks.py", 'f"cifar10.1-{benchmark.version}"', '"cifar10.1-v6"'),
    Mutant("evaluator.extra_corruptions", "experiments/benchmarks.py", '"speckle_noise", "gaussian_blur"', '"gaussian_blur", "speckle_noise"'),
    Mutant("evaluator.imagenet_r", f"{ENGINE}/evaluation/evaluators/other_sets.py", "present_K[images.labels_N] = True", "present_K[0] = True"),
    Mutant("evaluator.imagenet_sketch", f"{ENGINE}/evaluation/evaluators/other_sets.py", "(present_K, torch.ones_like(present_K))", "(torch.ones_like(present_K), present_K)"),
    Mutant("evaluator.imagenet_v2", f"{ENGINE}/evaluation/evaluators/other_sets.py", "class_B == y_B", "class_B != y_B"),
    Mutant("evaluator.autoattack_rand", f"{ENGINE}/evaluation/evaluators/averaged.py", 'model.sample(encoding_BP, noise[0])', 'model.sample(encoding_BP, 0.5 * noise[0])'),
    # what training reports
    Mutant("metrics.epoch", f"{ENGINE}/metrics.py", "+ images * value", "+ value"),
    Mutant("metrics.diagnostics", f"{ENGINE}/training/loop.py", "collapsed=float(", "collapsed=1 - float("),
    Mutant("metrics.operations", f"{ENGINE}/models/probe.py", "// (2 * _IMAGES)", "// _IMAGES"),
)  # fmt: skip


def main(parts: Sequence[str]) -> int:
    """Try the mutants of these parts, or all; 1 if one of them moves no pinned number."""
    chosen = [mutant for mutant in MUTANTS if not parts or mutant.part in parts]
    survivors = 0
    with copied() as tree:
        for mutant in chosen:
            began = time.monotonic()
            moved = moved_numbers(mutant, tree)
            survivors += not moved or moved.startswith(BROKEN)
            change = f"{mutant.line.strip()}  ->  {mutant.instead.strip() or '(nothing)'}"
            verdict = "SURVIVED" if not moved else moved if moved.startswith(BROKEN) else "killed  "
            took = time.monotonic() - began
            print(f"{verdict} {mutant.part:32} {mutant.file}: {change}  ({took:.0f} s)", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants of {len({m.part for m in chosen})} parts are killed")
    return int(survivors > 0)


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of what the golden test imports."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for name in ("experiments", "jobs", "store", "cebctl", "tests"):
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copyfile(ROOT / "pyproject.toml", tree / "pyproject.toml")
        yield tree


def moved_numbers(mutant: Mutant, tree: Path) -> str:
    """Return which pinned numbers of the part moved, as the golden test compares them; empty if none did. It begins
    with BROKEN if the mutant computes nothing at all, which proves nothing. ValueError if the line is not there."""
    path = tree / mutant.file
    text = path.read_text()
    if mutant.line not in text:
        raise ValueError(f"{mutant.file} has no {mutant.line!r}")
    path.write_text(text.replace(mutant.line, mutant.instead, 1))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w") as said:
            said.write(_moved(mutant.part, tree))
            said.flush()
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        answer = said.read()
    os.waitpid(child, 0)
    path.write_text(text)
    return answer


def _moved(part: str, tree: Path) -> str:
    """Return which pinned numbers of a part moved in the copy: empty if none did."""
    sys.dont_write_bytecode = True
    sys.path[:] = [str(tree), *(place for place in sys.path if place and Path(place) != ROOT)]
    os.chdir(tree)
    try:
        from tests.jobs.engine.golden import evaluation, images, training  # noqa: F401  # they register their pins
        from tests.jobs.engine.golden.pins import PINS, Room, moved, written

        with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
            made = written(PINS[part].compute(Room(Path(folder), patch)))
        entries = json.loads((tree / "tests/jobs/engine/golden_versions.json").read_text())[part]
        entry = entries[max(entries, key=int)]
        return "; ".join(moved(PINS[part], json.loads(json.dumps(made)), entry))
    except Exception as error:
        return f"{BROKEN} {type(error).__name__}: {error}"


if __name__ == "__main__":
    for library in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(library)
    sys.modules["torch"].set_num_threads(1)
    sys.exit(main(sys.argv[1:]))
