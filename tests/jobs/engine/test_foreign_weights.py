"""Checkpoints of others under their own names: their logits are the oracle, and what does not fit is one line."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
import torchvision
from msgspec import structs
from torch import nn

from experiments import datasets, spec
from experiments.errors import InputError
from jobs.engine import foreign_weights, weights_file
from jobs.engine.models import build, build_without_weights
from jobs.engine.models.library_networks import LibraryNetwork

SHA = "sha256:" + "0" * 64


def run_of(network: spec.Network, data: str = "cifar10", **fields: Any) -> spec.Run:
    run = spec.Run(data=spec.Data(name=data), network=network, objective=spec.Xent(), optimiser=spec.Adam(), epochs=0,
                   batch=8, weights=SHA)  # fmt: skip
    return structs.replace(run, **fields)


def loaded(run: spec.Run, content: object) -> nn.Module:
    """Return the model of a run with the weights of a file that holds this content."""
    file = io.BytesIO()
    torch.save(content, file)
    weights = weights_file.read(file.getvalue(), "theirs.pt")
    shapes = build_without_weights(run)
    weights_file.check_fits(
        shapes.state_dict(), foreign_weights.adapted(weights, run, shapes, "theirs.pt"), "theirs.pt"
    )
    model = build(run).eval()
    weights_file.load_into(model, foreign_weights.adapted(weights, run, model, "theirs.pt"), "theirs.pt")
    return model


def images(count: int, size: int = 32, channels: int = 3) -> torch.Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0))


def alive(model: nn.Module) -> nn.Module:
    """Give the norms statistics of images, so that no layer is as it began."""
    model.train()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
        model(images(8))
    return model.eval()


@torch.no_grad()
def assert_same_logits(ours: nn.Module, theirs: nn.Module) -> None:
    x_BCHW = images(3)
    torch.testing.assert_close(ours.classify(x_BCHW), theirs(ours.normalise(x_BCHW)))


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_nfnet"])
def test_a_timm_checkpoint_has_timms_logits(name: str) -> None:
    timm = pytest.importorskip("timm")
    size = {"img_size": 32} if "vit" in name else {}
    theirs = alive(timm.create_model(name, num_classes=10, **size))
    assert_same_logits(loaded(run_of(spec.Timm(model=name)), {"state_dict": theirs.state_dict()}), theirs)


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "mobilenet_v3_small", "vgg11"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.model."])
def test_a_torchvision_checkpoint_has_torchvisions_logits(name: str, prefix: str) -> None:
    theirs = alive(torchvision.models.get_model(name, weights=None, num_classes=10))
    weights = {prefix + key: tensor for key, tensor in theirs.state_dict().items()}
    assert_same_logits(loaded(run_of(spec.Torchvision(model=name)), weights), theirs)


def test_torchvisions_resnet_50_fits_our_own() -> None:
    theirs = alive(torchvision.models.resnet50(weights=None, num_classes=10))
    assert_same_logits(loaded(run_of(spec.ResNet(depth=50)), theirs.state_dict()), theirs)


class PublicBlock(nn.Module):
    """The block of the Wide ResNets of RobustBench, by their names and in their order."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.equal = inputs == outputs
        self.convShortcut = None if self.equal else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn1(x).relu()
        shortcut = x if self.convShortcut is None else self.convShortcut(out)
        return shortcut + self.conv2(self.bn2(self.conv1(out)).relu())


class PublicWideResNet(nn.Module):
    def __init__(self, blocks: int, width: int) -> None:
        super().__init__()
        widths = (16, 16 * width, 32 * width, 64 * width)
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        for group in (1, 2, 3):
            rows = [
                PublicBlock(widths[group] if row else widths[group - 1], widths[group], 2 if group > 1 > row else 1)
                for row in range(blocks)
            ]
            layer = nn.Module()
            layer.layer = nn.Sequential(*rows)
            setattr(self, f"block{group}", layer)
        self.bn1, self.fc = nn.BatchNorm2d(widths[3]), nn.Linear(widths[3], 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        for layer in (self.block1, self.block2, self.block3):
            x = layer.layer(x)
        return self.fc(self.bn1(x).relu().mean(dim=(2, 3)))


def test_a_public_wide_resnet_has_its_own_logits() -> None:
    theirs = alive(PublicWideResNet(2, 2))
    weights = {f"module.{name}": tensor for name, tensor in theirs.state_dict().items()}
    unused = {f"module.sub_block1.{name}": tensor for name, tensor in theirs.block1.state_dict().items()}
    network = spec.WideResNet(blocks=2, width=2, norm="batch")
    assert_same_logits(loaded(run_of(network), {"model_state": weights | unused, "epoch": 3}), theirs)


def test_a_normalisation_in_the_file_has_to_be_the_runs() -> None:
    theirs, info = alive(torchvision.models.shufflenet_v2_x0_5(weights=None, num_classes=10)), datasets.info("cifar10")
    inner = {f"model.{name}": tensor for name, tensor in theirs.state_dict().items()}
    network = spec.Torchvision(model="shufflenet_v2_x0_5")
    same = {"mean": torch.tensor(info.mean)[:, None, None], "std": torch.tensor(info.std)[:, None, None]}
    assert_same_logits(loaded(run_of(network), same | inner), theirs)
    other = {"mean": torch.tensor([0.485, 0.456, 0.406])} | inner
    wrong = r"normalises images by the mean \(0.485, 0.456, 0.406\), and the run by \(0.4914, 0.4822, 0.4465\); `norm"
    with pytest.raises(InputError, match=wrong):
        loaded(run_of(network), other)
    loaded(run_of(structs.replace(network, normalise="model")), other)


def test_position_embeddings_are_resized_as_timm_does() -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("test_vit", num_classes=10, img_size=64).eval()
    resized = timm.create_model("test_vit", num_classes=10, img_size=32).eval()
    convert = timm.models.vision_transformer.checkpoint_filter_fn
    resized.load_state_dict(convert(dict(theirs.state_dict()), resized))
    assert_same_logits(loaded(run_of(spec.Timm(model="test_vit")), theirs.state_dict()), resized)


def thousand() -> dict[str, torch.Tensor]:
    return torchvision.models.shufflenet_v2_x0_5(weights=None).state_dict()


def folder(*names: str) -> datasets.DatasetInfo:
    info = datasets.info("cifar10")
    return datasets.DatasetInfo(**{field: getattr(info, field) for field in info.__dataclass_fields__}
                                | {"class_names": names, "classes": len(names), "name": "own:birds-0"})  # fmt: skip


def test_a_thousand_classes_are_mapped_by_the_names_of_folders() -> None:
    rows = foreign_weights.class_rows(folder("tench", "great white shark", "Toilet_Tissue"), 1000)
    assert rows == [0, 2, 999]
    pytest.importorskip("timm")
    assert foreign_weights.class_rows(folder("n01443537", "n01440764"), 1000) == [1, 0]


@pytest.mark.parametrize(
    ("names", "classes", "wrong"),
    [
        (("tench", "unicorn"), 1000, "ImageNet has no class 'unicorn'; name the folders by WordNet ids"),
        (("tench", "a", "b", "c", "d"), 1000, "ImageNet has no class 'a', 'b', 'c' and 1 more"),
        (("tench", "tench "), 1000, "two folders are the same class"),
        (("tench", "goldfish"), 21843, "its classifier has 21,843 classes, and own:birds-0 has 2$"),
    ],
)
def test_other_classes_are_refused(names: tuple[str, ...], classes: int, wrong: str) -> None:
    with pytest.raises(LookupError, match=wrong):
        foreign_weights.class_rows(folder(*names), classes)


def test_classes_that_do_not_fit_stop_an_evaluation_and_not_a_training() -> None:
    network = spec.Torchvision(model="shufflenet_v2_x0_5")
    theirs = thousand()
    with pytest.raises(InputError, match=r"theirs.pt: its classifier has 1,000 classes, and cifar10 has 10: ImageNet"):
        loaded(run_of(network), theirs)
    run = run_of(network, epochs=1, objective=spec.Ceb(rho=1.0))
    model, fresh = loaded(run, theirs), build(run)
    assert torch.equal(model.classifier.weight, fresh.classifier.weight)
    assert torch.equal(model.backward_encoder.kernel_KZ, fresh.backward_encoder.kernel_KZ)
    assert isinstance(model.network, LibraryNetwork)
    assert torch.equal(model.network.features.model.conv1[0].weight, theirs["conv1.0.weight"])


def test_an_evaluation_of_distributions_that_the_file_lacks_is_refused() -> None:
    theirs = torchvision.models.shufflenet_v2_x0_5(weights=None, num_classes=10)
    with pytest.raises(
        InputError, match="has no distributions over z, which ceb needs; objective: xent, or epochs > 0"
    ):
        loaded(run_of(spec.Torchvision(model="shufflenet_v2_x0_5"), objective=spec.Ceb(rho=1.0)), theirs.state_dict())


def test_another_architecture_is_one_line() -> None:
    theirs = torchvision.models.mobilenet_v3_small(weights=None, num_classes=10).state_dict()
    with pytest.raises(InputError, match=r"theirs\.pt: does not fit the network: it lacks") as caught:
        loaded(run_of(spec.Torchvision(model="shufflenet_v2_x0_5")), theirs)
    assert "\n" not in str(caught.value)


def test_a_safetensors_file_is_read_and_a_truncated_one_named() -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    weights = {"a.weight": torch.arange(6.0).view(2, 3)}
    data = safetensors.save(weights)
    assert torch.equal(weights_file.read(data, "x")["a.weight"], weights["a.weight"])
    with pytest.raises(InputError, match="x: is no safetensors file, or a truncated one"):
        weights_file.read(data[:-3], "x")


OWN = """
import torch
from torch import nn
class Net(nn.Module):  # its names mean something else in public checkpoints
    def __init__(self, image, z_dim: int = 4):
        super().__init__()
        self.conv1, self.fc = nn.Conv2d(image.channels, 2, 3), nn.Linear(2, z_dim)
        self.register_buffer("mean", torch.full((image.channels,), 0.3))
    def forward(self, x): return self.fc((self.conv1(x) - self.mean[0]).mean(dim=(2, 3)))
def plain(image): return nn.Sequential(nn.Flatten(), nn.Linear(image.channels * image.size**2, 4))
def by_numbers(image):  # can't be built without values
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, int(torch.linspace(1, 4, 2)[1].item())))
"""


@pytest.mark.parametrize("name", ["Net", "plain", "by_numbers"])
@pytest.mark.parametrize("prefix", ["", "module.", "network."])
def test_a_file_of_a_module_of_ones_own_keeps_its_names(own_part: Any, name: str, prefix: str) -> None:
    run = run_of(own_part(OWN, name, "network"), epochs=1, objective=spec.Ceb(rho=1.0))
    theirs, fresh = build(structs.replace(run, seed=1)), build(run)
    weights = {f"{prefix}{key}": tensor for key, tensor in theirs.network.state_dict().items()}
    if prefix == "network.":  # as our own checkpoints have it, with every head
        weights = theirs.state_dict()
    model = loaded(run, weights)
    assert all(torch.equal(t, model.network.state_dict()[n]) for n, t in theirs.network.state_dict().items())
    heads = theirs if prefix == "network." else fresh
    assert torch.equal(model.classifier.weight, heads.classifier.weight)
    assert torch.equal(model.backward_encoder.kernel_KZ, heads.backward_encoder.kernel_KZ)


def test_what_a_file_lacks_of_a_network_of_ones_own_is_said(own_part: Any) -> None:
    run = run_of(own_part(OWN, "Net", "network"))
    weights = build(run).network.state_dict()
    with pytest.raises(InputError, match=r"theirs\.pt: does not fit the network: it lacks .*classifier\.bias"):
        loaded(run, weights)
    with pytest.raises(InputError, match=r"theirs\.pt: does not fit the network: it lacks network\.conv1\.bias"):
        loaded(structs.replace(run, epochs=1), {n: t for n, t in weights.items() if n != "conv1.bias"})
