"""Trained networks outside of cebctl: `load_model`, and files that torch runs without it; both are what was judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import cebctl as package
from experiments import spec
from experiments.errors import InputError
from experiments.matrix.load import load
from jobs.engine import checkpoint_format, classifier, data
from jobs.engine.classifier import Classifier
from jobs.engine.models import build
from jobs.paths import Home

WITHOUT_CEBCTL = """
import sys
sys.modules |= dict.fromkeys(["cebctl", "cebctl_command", "experiments", "jobs", "store"])
import numpy, torch
facts = {"cebctl.json": ""}
model = torch.export.load("ceb.pt2", extra_files=facts).module()
images = torch.from_numpy(numpy.load("images.npy"))
numpy.save("logits.npy", torch.cat([model(images[:300]), model(images[300:359]), model(images[359:])]).detach().numpy())
print(facts["cebctl.json"])
"""


def test_a_run_is_used_as_it_was_judged(cebctl, tiny: Path, home: Path, tmp_path: Path) -> None:
    done = cebctl("submit", tiny, "--only", "objective = ceb", "--wait")
    assert done.code == 0, done.err
    ceb = next(run for run in load(tiny).runs if run.name == "ceb rho=3")
    rows = json.loads(cebctl("report", tiny, "--only", "rho = 3", "--json").out)["tables"][0]["rows"]
    judged = rows[0]["cells"]["clean"]

    # The names of a run, and the numbers on scikit-learn's own images: every fifth of a class is a test image.
    model = package.load_model("ceb rho=3")
    assert {package.load_model(name, **options).run_id for name, options in [
        (ceb.run_id[:9], {}), ("ceb rho=3", {"matrix": tiny}), (ceb.run_id, {"home": home})
    ]} == {ceb.run_id}  # fmt: skip
    images = data.load(ceb.run.data, "test", tmp_path)
    x_NCHW, labels_N = images.images_NCHW.float() / 255, images.labels_N
    assert (x_NCHW * 16).round().int().flatten(1).tolist()[0] in load_digits().data.astype(int).tolist()
    with torch.no_grad():
        logits_NK = model.logits(x_NCHW)
        assert logits_NK.shape == (360, 10) and not model.training and model.encode(x_NCHW).shape == (360, 4)
        assert (logits_NK.argmax(dim=1) == labels_N).sum().item() == round(judged["value"] * judged["n"])
        engine = checkpoint_format.load_model(ceb.run, Home(home).run(ceb.run_id).checkpoints).model
        assert torch.equal(logits_NK, engine.classify(x_NCHW)) and torch.equal(model(x_NCHW), logits_NK)
    with pytest.raises(TypeError, match=r"expected floats in \[0, 1\], got torch.uint8; divide bytes by 255"):
        model(images.images_NCHW)

    exported = cebctl("export", tiny, "--only", "rho = 3", "--to", "torch", "--out", "ceb.pt2")
    assert (exported.code, exported.err) == (0, f"{ceb.run_id}: its network exported to ceb.pt2\n")
    np.save(tmp_path / "images.npy", x_NCHW.numpy())
    used = subprocess.run([sys.executable, "-c", WITHOUT_CEBCTL], cwd=tmp_path, capture_output=True, text=True)
    assert used.returncode == 0, used.stderr
    assert json.loads(used.stdout) == {"run_id": ceb.run_id, "image_shape": [1, 8, 8], "class_names": None}
    assert np.allclose(np.load(tmp_path / "logits.npy"), logits_NK.numpy(), atol=1e-4)

    for arguments, message in {
        ("export", tiny, "--to", "torch", "--out", "x.pt2"): "one run, and these are 3: xent, ceb rho=3, ceb rho=0;",
        ("export", ceb.run_id, "--to", "torch", "--out", "ceb.pt2"): "ceb.pt2: is there already",
        ("export", ceb.run_id, "--only", "rho = 3", "--to", "torch", "--out", "x.pt2"): "selects among the runs of a",
        ("export", "ceb rho=7", "--to", "torch", "--out", "x.pt2"): "did you mean r",
        ("export", tiny, "--only", "objective=xent", "--to", "torch", "--out", "x.pt2"): "it is not trained; `cebctl s",
    }.items():
        answer = cebctl(*arguments)
        assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1), answer
        assert message in answer.err and not (tmp_path / "x.pt2").exists()
    for checkpoint in Home(home).run(ceb.run_id).checkpoints.iterdir():
        checkpoint.unlink()
    with pytest.raises(InputError, match=r"its checkpoints were removed from .*; `cebctl submit MATRIX --again train`"):
        package.load_model("ceb rho=3")


def test_without_a_home_it_is_one_line_and_none_is_made(home: Path) -> None:
    with pytest.raises(InputError, match=r"home: there is no home; name one by home=…, or set CEBCTL_HOME$"):
        package.load_model("ceb")
    assert not home.exists()


@pytest.mark.parametrize(
    ("network", "objective", "precision"),
    [
        (spec.WideResNet(blocks=1, width=1), spec.Xent(), "fp32"),
        (spec.WideResNet(blocks=1, width=1, norm="batch"), spec.Vib(rho=1), "fp64"),
        (spec.ResNet(depth=50), spec.Cceb(rho=1), "bf16"),
        (spec.Torchvision(model="mobilenet_v3_small"), spec.Ceb(rho=1), "fp32"),
    ],
    ids=["wide_resnet", "batch_norm", "resnet", "torchvision"],
)
def test_networks_are_exported(
    network: spec.Network, objective: spec.Objective, precision: str, tmp_path: Path
) -> None:
    images = spec.Data(name="digits" if isinstance(network, spec.WideResNet) else "cifar10")
    run = spec.Run(data=images, network=network, objective=objective, optimiser=spec.Adam(), epochs=1, batch=32,
                   precision=precision)  # type: ignore[arg-type]  # fmt: skip
    model = Classifier(build(run), "r0", run)
    classifier.export(model, tmp_path / "x.pt2")
    exported = torch.export.load(tmp_path / "x.pt2").module()
    for count in (1, 5):
        x_BCHW = torch.rand(count, *model.image_shape)
        assert torch.allclose(exported(x_BCHW), model(x_BCHW), rtol=1e-3, atol=1e-4)


PARTS = """
from torch import nn


def mlp(image, hidden: int = 8):
    return nn.Sequential(nn.Flatten(), nn.Linear(image.channels * image.size**2, hidden))
"""


def test_a_network_of_ones_own_is_the_one_that_was_trained(tiny: Path, home: Path, tmp_path: Path) -> None:
    """Whatever its file says by now, and without an import of it by the user."""
    tiny.write_text(
        tiny.read_text().replace("{name: small_cnn, width: 4, z_dim: 4}", "{from: parts.py:mlp, hidden: 5}")
    )
    (tmp_path / "parts.py").write_text(PARTS)
    study = package.Study(tiny, only="objective = xent")
    assert study.submit(wait=True, progress=False)["counts"]["done"] == 1
    run_id = study.status()["runs"][0]["run_id"]
    (tmp_path / "parts.py").write_text(PARTS.replace("nn.Flatten(), ", "nn.Flatten(), nn.Tanh(), "))
    script = f"import cebctl, torch; print(cebctl.load_model({run_id!r}).encode(torch.rand(2, 1, 8, 8)).shape)"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "torch.Size([2, 5])", done.stderr
