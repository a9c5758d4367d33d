"""A public network judged from its own checkpoint: one matrix that `init` writes, and no code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cebctl.conftest import Cebctl
from tests.experiments.test_pretrained import put

CLASSES = ("tench", "goldfish", "great_white_shark", "tiger_shark")


@pytest.fixture
def fish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images of noise in a folder for each of four classes of ImageNet, and caches of the hubs in the same place."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("CEBCTL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CEBCTL_DATA", str(tmp_path / "data"))
    for name in ("HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return _images(tmp_path / "fish", CLASSES)


def _images(folder: Path, classes: tuple[str, ...]) -> Path:
    generator = np.random.default_rng(0)
    for name in classes:
        for split, count in (("train", 2), ("test", 1)):
            inside = folder / split / name
            inside.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(inside / f"{number}.png")
    return folder


def _put_timm(hub: Path, model: str, weights: dict[str, torch.Tensor]) -> Path:
    return put(hub, pytest.importorskip("safetensors.torch").save(weights), model)


def test_a_timm_network_is_judged_by_the_matrix_that_init_writes(cebctl: Cebctl, fish: Path, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    weights = timm.create_model("test_resnet", num_classes=1000).state_dict()
    blob = _put_timm(tmp_path, "test_resnet.r160_in1k", weights)
    made = cebctl("init", "--model", "timm:test_resnet.r160_in1k", "--data", fish, "--size", "32")
    assert made.code == 0, made.err
    (matrix,) = tmp_path.glob("*.yaml")
    assert matrix.name == "test_resnet.r160_in1k.yaml"
    plan = json.loads(cebctl("plan", matrix, "--json").out)
    assert plan["runs"][0]["spec"]["weights"] == f"sha256:{blob.name}" and plan["totals"]["new"] == 1
    submitted = cebctl("submit", matrix, "--wait")
    assert submitted.code == 0, submitted.err
    (table,) = json.loads(cebctl("report", matrix, "--json").out)["tables"]
    cells = table["rows"][0]["cells"]
    assert {name for name, cell in cells.items() if "missing" in cell} == {"mce"}  # for published data sets alone
    judged = {"clean", "pgd_linf@eps=1/255,n=20", "pgd_linf@eps=4/255,n=20", "autoattack_linf", "gaussian_noise"}
    assert judged <= cells.keys(), cells.keys()
    assert cells["clean"]["n"] == 4 and cells["clean"]["value"] == _accuracy(timm, weights, fish)
    assert cells["autoattack_linf"]["value"] <= cells["pgd_linf@eps=4/255,n=20"]["value"]


def _accuracy(timm: object, weights: dict[str, torch.Tensor], folder: Path) -> float:
    """Return the accuracy that timm's own model has on the images, among the four classes."""
    model = timm.create_model("test_resnet", num_classes=1000).eval()  # type: ignore[attr-defined]
    model.load_state_dict(weights)
    config = timm.get_pretrained_cfg("test_resnet.r160_in1k")  # type: ignore[attr-defined]
    mean, std = (torch.tensor(values)[:, None, None] for values in (config.mean, config.std))
    right = 0
    for label, name in enumerate(sorted(CLASSES)):
        pixels = np.asarray(Image.open(folder / "test" / name / "0.png"))
        x_CHW = (torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255 - mean) / std
        rows = [{"goldfish": 1, "great_white_shark": 2, "tench": 0, "tiger_shark": 3}[name] for name in sorted(CLASSES)]
        with torch.no_grad():
            right += int(model(x_CHW[None])[0, rows].argmax()) == label
    return right / len(CLASSES)


def test_torchvisions_resnet_50_is_judged(cebctl: Cebctl, fish: Path, tmp_path: Path) -> None:
    import torchvision

    file = tmp_path / "torch/hub/checkpoints/resnet50-11ad3fa6.pth"
    file.parent.mkdir(parents=True)
    torch.save(torchvision.models.resnet50(weights=None).state_dict(), file)
    made = cebctl("init", "judged.yaml", "--model", "torchvision:resnet50", "--data", fish, "--size", "32")
    assert made.code == 0, made.err
    matrix = tmp_path / "judged.yaml"
    text = matrix.read_text().partition("evaluate:")[0]
    matrix.write_text(text + "evaluate: [clean, calibration, {pgd: {norm: linf, eps: 1/255, steps: 2}}]\n")
    submitted = cebctl("submit", matrix, "--wait")
    assert submitted.code == 0, submitted.err
    (table,) = json.loads(cebctl("report", matrix, "--json").out)["tables"]
    cells = table["rows"][0]["cells"]
    assert cells["clean"]["n"] == 4 and all("missing" not in cell for cell in cells.values())


def test_classes_that_imagenet_lacks_and_weights_of_another_network_stop_the_plan(
    cebctl: Cebctl, fish: Path, tmp_path: Path
) -> None:
    timm = pytest.importorskip("timm")
    _put_timm(tmp_path, "test_resnet.r160_in1k", timm.create_model("test_resnet").state_dict())
    _put_timm(tmp_path, "test_vit.r160_in1k", timm.create_model("test_resnet").state_dict())
    other = _images(tmp_path / "other", ("tench", "unicorn"))
    for model, folder, wrong in (
        ("timm:test_resnet.r160_in1k", other, "ImageNet has no class 'unicorn'"),
        ("timm:test_vit.r160_in1k", fish, "does not fit the network: it lacks network.features.model."),
    ):
        matrix = tmp_path / f"{folder.name}.yaml"
        assert cebctl("init", matrix, "--model", model, "--data", folder, "--size", "32").code == 0
        for command in ("plan", "submit"):
            refused = cebctl(command, matrix)
            assert (refused.code, refused.out) == (2, "") and wrong in refused.err and refused.err.count("\n") == 1


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        ("timm:test_resnet.r160_in1k", "no weights of timm/test_resnet.r160_in1k in"),
        ("timm:resnet19", "model 'resnet19'"),
        ("resnet50", "expected one of"),
        ("small_cnn", "is no public network; timm:MODEL or torchvision:MODEL"),
        ("torchvision:resnet18", "no resnet18-f37072fd.pth"),
    ],
)
def test_a_model_that_can_not_be_judged_is_one_line_and_nothing_is_written(
    call: Cebctl, fish: Path, tmp_path: Path, model: str, wrong: str
) -> None:
    refused = call("init", tmp_path / "x.yaml", "--model", model, "--data", fish)
    assert refused.code == 2 and wrong in refused.err and refused.err.count("\n") == 1
    assert not (tmp_path / "x.yaml").exists() and not (tmp_path / "data").exists()


def test_a_function_reads_the_images_at_its_own_size(cebctl: Cebctl, fish: Path, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    _put_timm(tmp_path, "test_resnet.r160_in1k", timm.create_model("test_resnet", num_classes=1000).state_dict())
    (tmp_path / "parts.py").write_text("")
    answer = cebctl("init", "m.yaml", "--model", "timm:test_resnet.r160_in1k", "--data", "parts.py:scans")
    assert (answer.code, "has no function or class 'scans'" in answer.err) == (2, True), answer.err
