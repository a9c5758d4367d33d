"""Hints for words of other tools that a matrix spells otherwise: `learning_rate` is `optimiser.lr` here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

FIELDS = {
    "optimiser": "optimizer optim opt solver",
    "optimiser.lr": "learning_rate learningrate base_lr max_lr init_lr initial_lr peak_lr step_rate",
    "optimiser.weight_decay": "wd l2 l2_reg l2_regularization weightdecay decay_rate",
    "optimiser.beta1": "betas b1 beta_1",
    "optimiser.beta2": "b2 beta_2",
    "optimiser.epsilon": "adam_eps opt_eps adam_epsilon",
    "optimiser.square_decay": "rms_decay alpha_rms",
    "schedule": "scheduler lr_scheduler lr_schedule sched lr_policy learning_rate_schedule",
    "schedule.warmup_epochs": "warmup warm_up warmup_steps warmup_iters warmup_length lr_warmup_epochs",
    "schedule.drops": "milestones lr_steps decay_epochs lr_milestones boundaries",
    "schedule.factor": "lr_gamma lr_decay_factor gamma_lr lr_drop",
    "schedule.horizon_epochs": "t_max total_steps cosine_epochs decay_steps t_initial",
    "schedule.final_factor": "eta_min min_lr lr_min end_lr final_lr final_div_factor",
    "schedule.initial_factor": "div_factor",
    "schedule.rise": "pct_start",
    "schedule.anneal": "anneal_strategy",
    "batch": "batch_size batchsize bs train_batch_size global_batch_size per_device_train_batch_size",
    "replica_batch": "micro_batch micro_batch_size accumulation gradient_accumulation accumulate_grad_batches",
    "epochs": "num_epochs n_epochs max_epochs epoch num_train_epochs",
    "data": "dataset data_set datasets ds",
    "data.holdout": "val val_split validation validation_split val_fraction val_size",
    "data.augment": "augmentation augmentations transform transforms aug data_augmentation auto_augment",
    "data.erasing": "random_erasing random_erase reprob random_erasing_prob erase",
    "data.mixup": "mixup_alpha mix_up",
    "data.cutmix": "cutmix_alpha cut_mix",
    "data.mix_probability": "mixup_prob cutmix_prob mix_prob",
    "network": "model arch architecture backbone net encoder",
    "objective": "loss criterion loss_function loss_fn",
    "objective.rho": "log_gamma log_beta",
    "objective.jump_start": "jumpstart rho_schedule beta_schedule",
    "objective.marginal": "prior",
    "decayed": "no_decay no_weight_decay norm_weight_decay bias_decay filter_bias_and_bn",
    "label_smoothing": "smoothing labelsmoothing ls",
    "clip_norm": "clip_grad grad_clip clip_grad_norm gradient_clipping max_grad_norm gradient_clip_val max_norm clip",
    "ema_decay": "ema model_ema ema_rate polyak averaging",
    "ema_every": "model_ema_steps ema_steps",
    "adversary": "attack adversarial adversarial_training train_attack",
    "precision": "amp dtype mixed_precision fp16 bf16 half",
    "batch_norm": "sync_bn sync_batchnorm syncbn",
    "weights": "checkpoint init_checkpoint load_from finetune_from initial_checkpoint",
    "extends": "resume resume_from continue_from",
    "seed": "random_seed manual_seed rng_seed random_state",
}
"""Other tools' words for a field, in lower case, by its path here."""

ADVICE = {
    "gamma": "gamma follows from rho, e^-rho, of vib 1 / (1 + e^rho): write `rho`",
    "beta": "the bottleneck's weight follows from rho, e^-rho, of vib 1 / (1 + e^rho): write `rho`",
    "kl_weight": "the bottleneck's weight follows from rho, e^-rho, of vib 1 / (1 + e^rho): write `rho`",
    "dropout": "write it among the network's own arguments: `network: {name: timm, args: {drop_rate: 0.1}}`",
    "drop_rate": "write it among the network's own arguments: `network: {name: timm, args: {drop_rate: 0.1}}`",
    "drop_path": "write it among the network's own arguments: `network: {name: timm, args: {drop_path_rate: 0.1}}`",
    "stochastic_depth": "write `network: {name: torchvision, args: {stochastic_depth_prob: 0.1}}`",
    "device": "the machine decides: `resources: {train: {gpus_per_node: 1}}`",
    "gpus": "write `resources: {train: {gpus_per_node: 1}}`",
    "num_gpus": "write `resources: {train: {gpus_per_node: 1}}`",
    "num_workers": "loaders follow the CPUs: `resources: {train: {cpus_per_gpu: 8}}`",
    "workers": "loaders follow the CPUs: `resources: {train: {cpus_per_gpu: 8}}`",
    "compile": "write `resources: {train: {execution: {compile: default}}}`",
    "metrics": "write benchmarks under `evaluate`",
    "eval": "write benchmarks under `evaluate`",
}
"""What to do about other tools' words that are no field of a run."""

VALUES = {
    "xent": "cross_entropy crossentropy cross-entropy ce softmax",
    "steps": "step multistep multi_step steplr multisteplr piecewise constant",
    "cosine": "cosine_annealing cosineannealing cosineannealinglr cos cosine_decay warmup_cosine",
    "polynomial": "poly linear linear_decay polynomiallr",
    "one_cycle": "onecycle onecyclelr 1cycle triangular",
    "sgd": "momentum nesterov",
    "fp32": "float32 full",
    "bf16": "bfloat16 mixed amp half fp16 float16",
    "wide_resnet": "wrn wideresnet",
    "crop_flip": "standard default flip_crop random_crop",
    "randaugment": "rand_augment ra",
    "trivialaugment": "trivial_augment ta ta_wide trivialaugmentwide",
    "autoaugment": "auto_augment aa",
    "fashion_mnist": "fashion fashion-mnist fmnist",
    "none": "no null off false",
}
"""Other tools' words for the name of a kind, by the name."""


def _inverted(words_by_name: Mapping[str, str]) -> dict[str, str]:
    return {word: name for name, words in words_by_name.items() for word in words.split()}


_FIELD_OF, _VALUE_OF = _inverted(FIELDS), _inverted(VALUES)


def field_hint(name: str, is_field: Callable[[str], bool], kinds: Mapping[str, str], section: str = "") -> str:
    """Return what to write for a word that is no field, as `did you mean 'optimiser.lr'?`; '' without a hint.

    `is_field` says whether a path is a field; `kinds` are the sections by the names of their kinds: `cosine` is one of
    `schedule`. Within a `section` only its own fields are hinted at.
    """
    head, *rest = name.lower().replace("-", "_").split(".")
    target = ".".join([_FIELD_OF.get(head, head), *(_FIELD_OF.get(part, part).rpartition(".")[2] for part in rest)])
    if section and target.startswith(f"{section}.") and is_field(target):
        return f"did you mean {target.removeprefix(f'{section}.')!r}?"
    if head in ADVICE and not rest:
        return ADVICE[head]
    if section:
        return ""
    if head in kinds and not rest:
        return f"did you mean '{kinds[head]}: {head}'?"
    return f"did you mean {target!r}?" if target != name and is_field(target) else ""


def value_hint(value: str, allowed: Iterable[str]) -> str:
    """Return the allowed name that another tool's word for a kind, or another case of its name, stands for; '' for
    none."""
    names = {name.lower(): name for name in allowed}
    word = value.lower()
    return names.get(word) or names.get(_VALUE_OF.get(word, "")) or ""
