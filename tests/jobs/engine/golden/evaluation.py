"""Pins of what trained networks are measured by: attacks, evaluators, and how their numbers become results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from experiments import datasets, spec
from experiments.benchmarks import (
    CORRUPTIONS_3D,
    AnyBenchmark,
    AutoAttack,
    Calibration,
    Cifar101,
    Clean,
    CleanHoldout,
    CommonCorruptions,
    ExtraCorruptions,
    GradientAudit,
    Imagenet3dcc,
    ImagenetA,
    ImagenetR,
    ImagenetSketch,
    ImagenetV2,
    Information,
    OutOfDistribution,
    Pgd,
    Top5,
    TrainInformation,
    TrainingRate,
    Transfer,
)
from jobs.engine.attacks import autoattack as sequence
from jobs.engine.attacks import fab, losses, pgd, random_start, rows, square
from jobs.engine.attacks.apgd import highest
from jobs.engine.data import FolderImages, MemoryImages, load
from jobs.engine.data.datasets import other_test_sets
from jobs.engine.evaluation import evaluate
from jobs.engine.evaluation.evaluators import EVALUATORS, EvaluationContext, ImageValues, Summary, ood
from jobs.engine.evaluation.evaluators import pgd as pgd_evaluator
from jobs.engine.evaluation.evaluators.pgd import targets
from jobs.engine.models import CebModel
from tests.jobs.engine.golden.images import batch_of, folders, photograph
from tests.jobs.engine.golden.pins import EXACT, FLOAT32, PIXELS, Room, pin
from tests.jobs.engine.golden.training import OBJECTIVES, TRAJECTORY, numbers, run_of, steps

TARGET_B = torch.tensor([1, 2, 3, 0, 4, 0, 1, 2])
Y_B = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])


def classifier(classes: int = 5) -> nn.Module:
    """Return a smooth network of images of (3, 6, 6), the same everywhere."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(144, classes)).double()
    for number, parameter in enumerate(network.parameters()):
        parameter.data = 0.6 * numbers(*parameter.shape, seed=number) / max(1, parameter[0].numel()) ** 0.5
    return network.eval()


def pictures(count: int = 8) -> Tensor:
    return torch.from_numpy(np.random.default_rng(3).uniform(0, 1, (count, 3, 6, 6)))


# --- attacks ---


@pin("attack.pgd")
def _pgd(room: Room) -> dict[str, Any]:
    """The way an attack takes, by norm, from the image and from elsewhere, away from a class and toward one."""
    network, x_BCHW, pinned = classifier(), pictures(), {}
    for norm, eps in (("linf", 0.06), ("l2", 0.5)):
        for name, options in (
            ("away", {}),
            ("elsewhere", {"start_BCHW": (x_BCHW + 0.5 * eps * torch.sin(9 * x_BCHW)).clamp(0, 1)}),
            ("toward", {"target_B": TARGET_B, "loss": "margin"}),
        ):
            how = {"norm": norm, "eps": eps, "steps": 5, "step_size": eps / 3} | options
            attacked = pgd.search(network, x_BCHW, Y_B, **how)  # type: ignore[arg-type]
            pinned[f"{norm} {name}"] = {"change": attacked.x_BCHW - x_BCHW, "zero": attacked.zero_gradient_B}
    still = pgd.search(lambda x: network(x).detach() + 0 * x.sum(), x_BCHW, Y_B, norm="l2", eps=1, steps=2, step_size=1)
    gradient_BCHW = pgd.gradient(network, x_BCHW, Y_B)
    return pinned | {"still": still.zero_gradient_B, "gradient": gradient_BCHW}


@pin("attack.random_start")
def _random_start(room: Room) -> dict[str, Any]:
    x_BCHW, pinned = pictures(), {}
    for norm in ("linf", "l2"):
        for epoch in (0, 2):
            how = {"norm": norm, "eps": 0.3, "seed": 4, "samples_B": torch.arange(8), "epoch": epoch}
            pinned[f"{norm} {epoch}"] = random_start.random_start(x_BCHW, **how) - x_BCHW  # type: ignore[arg-type]
    return pinned


def _loss(loss: str, room: Room) -> dict[str, Any]:
    logits_BK = 3 * numbers(8, 5)
    pinned = {}
    for name, target_B in (("away", None), ("toward", TARGET_B)):
        leaf_BK = logits_BK.clone().requires_grad_()
        values_B = losses.ascent(loss, leaf_BK, Y_B, target_B)  # type: ignore[arg-type]
        values_B.sum().backward()
        pinned[name] = {"values": values_B, "gradient": leaf_BK.grad}
        pinned[f"{name} below 0"] = losses.ascent(loss, logits_BK - 20, Y_B, target_B)  # type: ignore[arg-type]
    return pinned


for _name in ("cross_entropy", "margin", "dlr"):
    pin(f"attack.loss_{_name}")(partial(_loss, _name))


def _distances(norm: str, eps: float) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """Return a linear network, images whose distances to its boundary are clear multiples of eps, their classes, and
    which are within eps: a case in which what an attack should find is known."""
    classes, factors_B = 5, torch.tensor([0.5, 1.5, 0.75, 2.0, 0.25, 1.75, 3.0, 0.6])
    weight_KD = 0.1 * numbers(classes, 108)
    weight_KD[1:] = weight_KD[0] + weight_KD[1:]
    network = nn.Sequential(nn.Flatten(), nn.Linear(108, classes)).double()
    network[1].weight.data, network[1].bias.data = weight_KD, torch.zeros(classes, dtype=torch.float64)
    x_BCHW, y_B = 0.3 + 0.4 * pictures(), torch.arange(8) % classes
    dual = {"linf": 1, "l2": 2}[norm]
    for place, (factor, label) in enumerate(zip(factors_B.tolist(), y_B.tolist(), strict=True)):
        with torch.no_grad():
            for _ in range(200):  # moved along the normal of the nearest boundary until its distance is right
                logits_K = network(x_BCHW[place : place + 1])[0]
                apart_KD = weight_KD[label] - weight_KD
                distances_K = (logits_K[label] - logits_K) / apart_KD.norm(dual, dim=1).clamp(min=1e-9)
                distances_K[label] = torch.inf
                nearest = int(distances_K.argmin())
                direction_D = apart_KD[nearest] / apart_KD[nearest].square().sum()
                wanted = factor * eps * float(apart_KD[nearest].norm(dual))
                x_BCHW[place] += ((wanted - (logits_K[label] - logits_K[nearest])) * direction_D).view(3, 6, 6)
    return network.float(), x_BCHW.float(), y_B, factors_B < 1


def _sequence(version: str, room: Room) -> dict[str, Any]:
    """That it finds what is within eps, which attacks it hands how many images, and how it sets each up."""
    pinned: dict[str, Any] = {}
    for norm, eps in (("linf", 0.02), ("l2", 0.2)):
        network, x_BCHW, y_B, _ = _distances(norm, eps)
        y_B[3] = (y_B[3] + 1) % 5  # wrong already
        how = {"norm": norm, "eps": eps, "seed": 3, "attacks": sequence.SEQUENCES[version]}
        pinned[norm] = sequence.autoattack(network, x_BCHW, y_B, torch.arange(8), **how).right_B  # type: ignore[arg-type]
    calls: list[Any] = []
    for name in ("apgd", "fab", "square"):

        def noted(classifier: Any, x_BD: Tensor, y_B: Tensor, *more: Any, name: str = name, **how: Any) -> rows.Broken:
            told = {key: value for key, value in how.items() if not isinstance(value, Tensor)}
            calls.append([name, len(x_BD), told, *(how[key] for key in ("target_B",) if how.get(key) is not None)])
            broken_B = torch.arange(len(x_BD)) == 0  # the first of each call
            return rows.Broken(broken_B, x_BD)

        room.patch.setattr(sequence, name, noted)
    room.patch.setattr(
        rows, "_VALUES_AT_ONCE", {"cpu": 40 * 108}
    )  # so that a targeted attack takes one target at a time
    x_BCHW, y_B = torch.rand(30, 3, 6, 6, generator=torch.Generator().manual_seed(1)), torch.zeros(30).long()
    few = nn.Sequential(nn.Flatten(), nn.Linear(108, 5))
    few[1].weight.data, few[1].bias.data = torch.zeros(5, 108), torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0])
    how = {"norm": "l2", "eps": 0.2, "seed": 3, "attacks": sequence.SEQUENCES[version]}
    right_B = sequence.autoattack(few, x_BCHW, y_B, torch.arange(30), **how).right_B  # type: ignore[arg-type]
    return pinned | {"calls": calls, "left": right_B}


for _version in ("standard", "plus"):
    pin(f"attack.autoattack_{_version}", tolerance=EXACT)(partial(_sequence, _version))


@pin("attack.apgd")
def _apgd(room: Room) -> dict[str, Any]:
    """That it finds what is within eps, which images are attacked at which points, and the passes it takes."""
    pinned: dict[str, Any] = {}
    for norm, eps in (("linf", 0.02), ("l2", 0.2)):
        network, x_BCHW, y_B, _ = _distances(norm, eps)
        passes: list[int] = []

        def counted(z_BCHW: Tensor, network: nn.Module = network, passes: list[int] = passes) -> Tensor:
            passes.append(len(z_BCHW))
            return network(z_BCHW)  # type: ignore[no-any-return]

        how = {"norm": norm, "eps": eps, "seed": 3, "samples_B": torch.arange(8)}
        end_BCHW = sequence.worst_points(counted, x_BCHW, y_B, **how)  # type: ignore[arg-type]
        change_B = (end_BCHW - x_BCHW).flatten(1).norm(p=torch.inf if norm == "linf" else 2, dim=1)
        right_B = network(end_BCHW).argmax(dim=1) == y_B
        pinned[norm] = {"right": right_B, "radius": (change_B / eps).round(decimals=2), "passes": len(passes)}
    return pinned | {f"climbed {norm}": _climbed(norm) for norm in ("linf", "l2")}


def _climbed(norm: str) -> Tensor:
    """Return where 25 steps, three checkpoints among them, lead in float64 on a network that is not linear."""
    of_rows = rows.Classifier(classifier(), 3, 6, 6, at_once=3)
    x_BD = rows.rows(pictures())
    start_BD = (x_BD + 0.01).clamp(0, 1)
    eps = {"linf": 0.1, "l2": 0.8}[norm]
    return highest(of_rows, x_BD, Y_B, start_BD, norm=norm, eps=eps, loss="dlr", steps=25)  # type: ignore[arg-type]


@pin("attack.fab")
def _fab(room: Room) -> dict[str, Any]:
    """That it finds what is within eps; and of some steps in float64, without an end, how near they come."""
    pinned: dict[str, Any] = {}
    for norm, eps in (("linf", 0.02), ("l2", 0.2)):
        network, x_BCHW, y_B, _ = _distances(norm, eps)
        of_rows, x_BD = rows.Classifier.of(network, x_BCHW), rows.rows(x_BCHW)
        target_B = network(x_BCHW).scatter(1, y_B[:, None], -torch.inf).argmax(dim=1)
        for name, options in (("toward", {"target_B": target_B}), ("away", {}), ("from", {"start_BD": 0.98 * x_BD})):
            broken = fab.fab(of_rows, x_BD, y_B, norm=norm, eps=eps, steps=5, **options)  # type: ignore[arg-type]
            pinned[f"{norm} {name}"] = broken.wrong_B
        point_BD, normal_BD = 0.5 + 0.5 * numbers(4, 30, seed=1).clamp(-1, 1), numbers(4, 30, seed=2)
        height_B = torch.tensor([0.5, -2.0, 9.0, -0.01], dtype=torch.float64)
        pinned[f"{norm} plane"] = fab.onto_plane(point_BD, normal_BD, height_B, norm)  # type: ignore[arg-type]
    return pinned


@pin("attack.square")
def _square(room: Room) -> dict[str, Any]:
    """What it finds with many queries where that is known, and with few; its start and its proposals, in float64."""
    network, x_BCHW, y_B, within_B = _distances("linf", 0.05)
    pinned: dict[str, Any] = {"within": within_B}
    for queries in (3, 100, 400):
        how = {"norm": "linf", "eps": 0.05, "queries": queries, "seed": 3}
        pinned[str(queries)] = square.black_box(network, x_BCHW, y_B, torch.arange(8), **how)  # type: ignore[arg-type]
    x_BD, of_rows = rows.rows(pictures(4)), rows.Classifier.of(network, pictures(4))
    for norm, made in (("linf", square._Linf(of_rows, 0.05)), ("l2", square._L2(of_rows, 0.5))):
        best_BD = made.start(x_BD, numbers(4, made.start_numbers).frac().abs())
        drawn_BN = numbers(4, made.numbers, seed=1).frac().abs()
        sizes = [made.size(share) for share in (0.8, 0.4, 0.1, 0.01)]
        points = {f"{norm} {size}": made.propose(x_BD, best_BD, size, drawn_BN) for size in set(sizes)}
        pinned |= {f"{norm} sizes": sizes, f"{norm} start": best_BD} | points
    return pinned | {f"rounds {rescaled}": list(square._rounds(1500, rescaled)) for rescaled in (False, True)}


# --- evaluators ---


@cache
def trained(name: str = "ceb", seed: int = 3) -> CebModel:
    """Return a model of the digits that was trained some steps in float64, in eval mode."""
    state, _ = steps(run_of(objective=OBJECTIVES[name], seed=seed, data=spec.Data(name="digits")), 25)
    return state.model.eval()


@cache
def _digits(images: int = 60) -> MemoryImages:
    test = load(spec.Data(name="digits"), "test", Path())
    assert isinstance(test, MemoryImages)
    return test.subset(torch.arange(images))


def measured(benchmark: AnyBenchmark, model: CebModel | None = None, **context: Any) -> dict[str, Any]:
    """Return all that an evaluator finds on some of the digits, batch by batch."""
    options = {"images": _digits(), "device": "cpu", "batch_size": 25} | context
    made = EVALUATORS[type(benchmark)](model or trained(), EvaluationContext(**options), benchmark, 5)
    return _found(made)


def _found(made: Iterable[ImageValues | Summary]) -> dict[str, Any]:
    pinned: dict[str, Any] = {}
    for one in made:
        if isinstance(one, Summary):
            pinned[one.name] = {"unit": one.unit, "total": one.total, "value": one.value}
        else:
            pinned[one.name] = {"unit": one.unit, "samples": one.samples_M, "values": one.values_M}
    return pinned


def _of_split(split: str) -> MemoryImages:
    images = load(spec.Data(name="digits", holdout=40), split, Path())  # type: ignore[arg-type]
    assert isinstance(images, MemoryImages)
    return images.subset(torch.arange(40))


@pin("evaluator.clean")
def _clean(room: Room) -> dict[str, Any]:
    return measured(Clean())


@pin("evaluator.clean_holdout")
def _clean_holdout(room: Room) -> dict[str, Any]:
    return measured(CleanHoldout(), load_images=_of_split)


@pin("evaluator.top5")
def _top5(room: Room) -> dict[str, Any]:
    return measured(Top5())


@pin("evaluator.information", tolerance=TRAJECTORY)
def _information(room: Room) -> dict[str, Any]:
    return {name: measured(Information(samples=3), trained(name)) for name in OBJECTIVES}


@pin("evaluator.information_train", tolerance=TRAJECTORY)
def _information_train(room: Room) -> dict[str, Any]:
    return measured(TrainInformation(samples=3, subset=30), load_images=_of_split)


@pin("evaluator.training_rate")
def _training_rate(room: Room) -> dict[str, Any]:
    rates = ((9.0, 100.0), (7.0, 50.0), (3.0, 1.0), (2.0, 1.0), (2.5, 1.0), (None, 1.0))
    epochs = [{"rate": rate, "rho": rho} for rate, rho in rates]
    objective = spec.Ceb(rho=1.0, jump_start=spec.GammaJumpStart(steps=9))
    short = measured(TrainingRate(), epochs=lambda: epochs[:3], objective=objective)
    off_target = measured(TrainingRate(), epochs=lambda: epochs[:2], objective=objective)
    falling = measured(TrainingRate(), epochs=lambda: [*epochs, {"rate": 1.5, "rho": 1.0}], objective=objective)
    whole = measured(TrainingRate(), epochs=lambda: epochs, objective=objective)
    return whole | {"within the jump-start": short, "off target": off_target, "falling": falling}


@pin("evaluator.calibration", tolerance=TRAJECTORY)
def _calibration(room: Room) -> dict[str, Any]:
    return measured(Calibration(bins=7))


@pin("evaluator.ood", tolerance=PIXELS)
def _ood(room: Room) -> dict[str, Any]:
    scores_M, others_N = numbers(40), numbers(30, seed=1) - 0.7
    rates = [ood.auroc(scores_M, others_N), ood.false_positive_rate(scores_M, others_N)]
    information = {
        score: measured(OutOfDistribution(against="photographs", subset=50, score=score))
        for score in ("rate", "residual_information")
    }
    return measured(OutOfDistribution(against="photographs", subset=50)) | {"rates": rates} | information


@pin("evaluator.pgd")
def _pgd_evaluator(room: Room) -> dict[str, Any]:
    attacks = {
        "away": Pgd(norm="linf", eps=0.1, steps=3, restarts=2),
        "still": Pgd(norm="l2", eps=0.5, steps=2, random_start=False, subset=20),
        "random": Pgd(norm="linf", eps=0.2, steps=3, target="random"),
        "class": Pgd(norm="l2", eps=1.0, steps=3, target=3, loss="margin"),
    }
    drawn_B = targets("random", torch.arange(10), torch.arange(10), 10, 5)
    calls: dict[str, Any] = {}

    def noted(*options: Any, **how: Any) -> Any:
        calls.setdefault("steps", []).append([how["steps"], how["step_size"], how["eps"]])
        return search(*options, **how)

    search = pgd_evaluator.search
    room.patch.setattr(pgd_evaluator, "search", noted)
    return {name: measured(attack) for name, attack in attacks.items()} | {"targets": drawn_B, "asked": calls["steps"]}


@pin("evaluator.transfer")
def _transfer(room: Room) -> dict[str, Any]:
    source = Transfer(source="r0123456789abcdef", norm="linf", eps=0.15, steps=3)
    still = Transfer(source="r0123456789abcdef", norm="l2", eps=0.8, steps=3, random_start=False)
    other = trained(seed=4)
    return {str(n): measured(attack, load_model=lambda _: other) for n, attack in enumerate((source, still))}


def _sequence_evaluator(version: str, room: Room) -> dict[str, Any]:
    """What it hands to the attacks, one after another, and the name of what it makes of it."""
    from jobs.engine.evaluation.evaluators import autoattack

    calls: list[Any] = []
    handed: list[Any] = []

    def noted(logits_of: Any, x_BCHW: Tensor, y_B: Tensor, samples_B: Tensor, **how: Any) -> sequence.Attacked:
        right_B = how["right_B"]
        if right_B is None:
            first_BK, second_BK = logits_of(x_BCHW), logits_of(x_BCHW)
            calls.append([len(x_BCHW), first_BK.shape[1], how["norm"], how["eps"], how["seed"]])
            calls.append(["draws", not torch.equal(first_BK, second_BK)])
            right_B = first_BK.argmax(dim=1) == y_B
        return sequence.Attacked(right_B, x_BCHW)

    def breaking(logits_of: Any, x_BCHW: Tensor, y_B: Tensor, samples_B: Tensor, **how: Any) -> sequence.Attacked:
        right_B = torch.ones_like(y_B, dtype=torch.bool) if how["right_B"] is None else how["right_B"]
        handed.append([*how["attacks"], len(samples_B), int(right_B.sum())])
        return sequence.Attacked(right_B & (samples_B % 7 != len(handed) % 7), x_BCHW)

    attack = AutoAttack(norm="l2", eps=0.5, version=version)  # type: ignore[arg-type]
    room.patch.setattr(autoattack, "autoattack", noted)
    pinned = measured(attack) | {"asked": calls}
    room.patch.setattr(autoattack, "autoattack", breaking)
    return pinned | {"broken": measured(attack), "handed": handed}


for _version in ("standard", "plus"):
    pin(f"evaluator.autoattack_{_version}", tolerance=EXACT)(partial(_sequence_evaluator, _version))


@pin("evaluator.autoattack_rand", tolerance=TRAJECTORY)
def _rand_evaluator(room: Room) -> dict[str, Any]:
    """The classifiers that it attacks and judges, by their log probabilities, and what it makes of given points."""
    from jobs.engine.evaluation.evaluators import autoattack, averaged

    calls: list[Any] = []

    def noted(logits_of: Any, x_BCHW: Tensor, y_B: Tensor, **how: Any) -> Tensor:
        with torch.no_grad():
            calls.append([how["norm"], how["eps"], how["seed"], how["samples_B"].tolist(), logits_of(x_BCHW)])
        return 1 - x_BCHW

    made = averaged.averaged

    def judged(*options: Any, **how: Any) -> Any:
        calls.append([how["stream"], how["draws"], how["seed"]])
        return made(*options, **how)

    room.patch.setattr(autoattack, "worst_points", noted)
    room.patch.setattr(autoattack, "averaged", judged)
    options = ({}, {"draws": 1}, {"draws": 30})
    pinned = {str(o): measured(AutoAttack(norm="l2", eps=0.5, version="rand", subset=12, **o)) for o in options}  # type: ignore[arg-type]
    return pinned | {"asked": calls}


@pin("evaluator.gradient_audit", tolerance=EXACT)
def _gradient_audit(room: Room) -> dict[str, Any]:
    pinned = measured(GradientAudit(norm="linf", eps=0.15, steps=2, queries=10, subset=30))
    weak = GradientAudit(norm="linf", eps=0.08, steps=1, queries=3, subset=60)
    blind = GradientAudit(norm="l2", eps=0.6, steps=1, queries=60, subset=60)
    return pinned | {"weak": measured(weak), "blind": measured(blind)}


@pin("evaluator.common_corruptions", tolerance=PIXELS)
def _common_corruptions(room: Room) -> dict[str, Any]:
    made = measured(CommonCorruptions(pipeline="ours", subset=30))
    return {name: made[name] for name in ("brightness", "brightness/1", "contrast/5", "contrast")} | {
        "names": list(made)
    }


@pin("evaluator.extra_corruptions", tolerance=PIXELS)
def _extra_corruptions(room: Room) -> dict[str, Any]:
    made = measured(ExtraCorruptions(pipeline="ours", subset=30))
    return {name: made[name] for name in ("saturate", "saturate/1", "saturate/5")} | {"names": list(made)}


@pin("evaluator.imagenet_3dcc", tolerance=PIXELS)
def _imagenet_3dcc(room: Room) -> dict[str, Any]:
    names = [f"n0{number}000000" for number in range(4)]
    declared = replace(datasets.OTHER_TEST_SETS["imagenet-3dcc"], images=4, classes=4)
    room.patch.setitem(datasets.OTHER_TEST_SETS, "imagenet-3dcc", declared)
    for number, name in enumerate(CORRUPTIONS_3D):
        for severity in range(1, 6):
            for label, folder in enumerate(names):
                path = room.folder / "ImageNet-3DCC" / name / str(severity) / folder / "0.JPEG"
                path.parent.mkdir(parents=True)
                Image.fromarray(photograph(32, seed=100 * number + 10 * severity + label)).save(path, "PNG")
    info = replace(datasets.info("imagenet"), classes=4, size=32)
    listed = np.array([f"{name}/0.JPEG".encode() for name in names])
    images = FolderImages(info, "test", "d", torch.arange(4), room.folder / "val", listed)
    made = measured(Imagenet3dcc(), _Linear(), images=images, root=room.folder)  # type: ignore[arg-type]
    return {name: made[name] for name in ("flash", "z_motion_blur", "flash/2")} | {"names": list(made)}


class _Linear:
    """Classifies images of 32x32 by a fixed product, into four classes."""

    def classify(self, x_BCHW: Tensor) -> Tensor:
        return (x_BCHW.double() - 0.5).flatten(1) @ numbers(3 * 32 * 32, 4)


def _other_set(benchmark: AnyBenchmark, room: Room) -> dict[str, Any]:
    """Images of two of four classes, by the argmax among those and among all."""
    names = [f"n0{number}000000" for number in range(4)]
    info = replace(datasets.info("imagenet"), classes=4, size=32)
    kinds = {"imagenet-r": "imagenet-r", "imagenet-a": "imagenet-a", "imagenet-sketch": "sketch"}
    declared = {name: {"images": 6, "classes": 2, "labels": ()} for name in kinds}
    declared["imagenet-v2-top-images"] = {"images": 6, "classes": 2}
    for name, changed in declared.items():
        small = replace(datasets.OTHER_TEST_SETS[name], **changed)  # type: ignore[arg-type]
        room.patch.setitem(datasets.OTHER_TEST_SETS, name, small)
        classes = ("1", "3") if "v2" in name else (names[1], names[3])
        folders(room.folder / small.folder, classes, 3, side=40)
    listed = np.array([f"{name}/0.JPEG".encode() for name in names])
    images = FolderImages(info, "test", "d", torch.arange(4), room.folder / "val", listed)
    return measured(benchmark, _Linear(), images=images, root=room.folder)  # type: ignore[arg-type]


pin("evaluator.imagenet_a", tolerance=PIXELS)(partial(_other_set, ImagenetA()))
pin("evaluator.imagenet_r", tolerance=PIXELS)(partial(_other_set, ImagenetR()))
pin("evaluator.imagenet_sketch", tolerance=PIXELS)(partial(_other_set, ImagenetSketch()))
pin("evaluator.imagenet_v2", tolerance=PIXELS)(partial(_other_set, ImagenetV2(version="top-images")))


@pin("evaluator.cifar10_1")
def _cifar10_1(room: Room) -> dict[str, Any]:
    read: list[str] = []

    def small(declared: Any, info: Any, root: Path) -> MemoryImages:
        read.append(declared.name)
        labels_N = torch.arange(8) % 4
        return MemoryImages(replace(info, classes=4), "test", declared.name, labels_N, batch_of(8, 32))

    room.patch.setattr(other_test_sets, "cifar10_1", small)
    images = replace(_digits(), info=replace(datasets.info("cifar10"), classes=4))
    made = measured(Cifar101(version="v4"), _Linear(), images=images)  # type: ignore[arg-type]
    return made | {"read": read}


@pin("evaluation.measure", tolerance=FLOAT32)
def _measure(room: Room) -> dict[str, Any]:
    """From what was found on each image to the number of a result."""
    samples_M = torch.tensor([1, 2, 5, 7])
    right_M, nats_M = torch.tensor([True, False, True, True]), torch.tensor([0.5, 2.0, 1.0, 4.0])
    pinned: list[ImageValues | Summary] = [
        ImageValues("fog/3", "accuracy", samples_M, ~right_M),
        ImageValues("clean", "accuracy", samples_M, right_M),
        ImageValues("pgd_success", "success", samples_M, right_M),
        ImageValues("rate", "nats", samples_M, nats_M),
        ImageValues("zero", "share", samples_M, right_M),
        ImageValues("fog", "error", samples_M, nats_M / 5),
        Summary("ece", "share", 9, 0.25),
    ]
    made = {}
    for one in pinned:
        number = evaluate.measure(one)
        made[one.name] = [number.total, number.correct, number.value, number.std, number.unit]
    context = EvaluationContext(_digits(), "cpu", 25)
    context.corrupt, context.requested = 3, 40
    (left_out,) = evaluate._left_out(context)
    sizes = [
        evaluate._batch_size(replace(_digits(), info=replace(_digits().info, size=size))) for size in (32, 33, 224)
    ]
    return made | {"flags": evaluate._flags(pinned, 9), "left out": left_out.value, "batches": sizes}
