"""`pretrained: true`: the digest of what a hub's cache holds, in the place of the field."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from experiments import pretrained
from experiments.errors import MatrixError
from experiments.spec import Timm

TIMM = "network: {name: timm, model: resnet18.a1_in1k, pretrained: true}"
TORCHVISION = "network: {name: torchvision, model: resnet18, pretrained: true}"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of each hub."""
    for name in ("HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


def put(hub: Path, content: bytes, model: str = "resnet18.a1_in1k") -> Path:
    """Put a file where the Hugging Face client puts a model's weights."""
    folder = hub / "hf/hub" / f"models--timm--{model}"
    for name in ("refs", "snapshots/c0ffee", "blobs"):
        (folder / name).mkdir(parents=True)
    (folder / "refs/main").write_text("c0ffee")
    blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
    blob.write_bytes(content)
    (folder / "snapshots/c0ffee/model.safetensors").symlink_to(Path("../../blobs") / blob.name)
    return blob


def test_it_is_the_run_that_names_the_digest(hub: Path, expand) -> None:
    blob = put(hub, b"weights of timm")
    resolved = expand(f"grids: [{{objective: xent, epochs: 0, {TIMM}}}]").runs[0]
    written = TIMM.replace(", pretrained: true", "")
    named = expand(f'grids: [{{objective: xent, epochs: 0, {written}, weights: "sha256:{blob.name}"}}]').runs[0]
    assert resolved.run_id == named.run_id and resolved.run.network == Timm(model="resnet18.a1_in1k")
    assert pretrained.file_of(resolved.run).resolve() == blob.resolve()


def test_torchvisions_file_is_hashed(hub: Path, expand) -> None:
    file = hub / "torch/hub/checkpoints/resnet18-f37072fd.pth"
    file.parent.mkdir(parents=True)
    for content in (b"first", b"second one"):
        file.write_bytes(content)
        run = expand(f"grids: [{{objective: xent, epochs: 0, {TORCHVISION}}}]").runs[0].run
        assert run.weights == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_the_addresses_are_torchvisions_own() -> None:
    import torchvision
    from torchvision.models import get_model_weights, list_models

    for name in list_models(module=torchvision.models):
        assert pretrained.torchvision_url(name) == get_model_weights(name).DEFAULT.url


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (TIMM, r"pretrained: no weights of timm/resnet18.a1_in1k in .*hf/hub \(HF_HOME\); `hf download timm/resnet18"),
        (
            TORCHVISION,
            r"pretrained: no resnet18-f37072fd.pth of torchvision's resnet18 in .*; put https",
        ),
        (TIMM.replace(".a1_in1k", ""), "pretrained: resnet18 has no tag, .*; as in resnet18.a1_in1k"),
        (f'{TIMM}, weights: "sha256:{"0" * 64}"', "pretrained: the run has `weights` too"),
        (TIMM.replace("resnet18", "resnet19"), "model 'resnet19.a1_in1k'"),
        (TIMM.replace("true", "false"), "pretrained: expected"),
    ],
)
def test_what_is_not_there_is_one_line_at_its_place(hub: Path, expand, fields: str, message: str) -> None:
    with pytest.raises(MatrixError, match=rf"m.yaml:2:\d+: {message}") as caught:
        expand(f"grids: [{{objective: xent, {fields}}}]")
    assert "\n" not in str(caught.value)


def test_the_tags_that_the_cache_has_are_named(hub: Path, expand) -> None:
    put(hub, b"any")
    with pytest.raises(MatrixError, match=r"resnet18 has no tag, .*; the cache has resnet18.a1_in1k"):
        expand(f"grids: [{{objective: xent, {TIMM.replace('.a1_in1k', '')}}}]")
