"""Networks of timm and torchvision: features against the libraries' own logits, what can't be built, masks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from msgspec import structs
from torch import nn

from experiments import datasets, spec
from experiments.errors import InputError
from jobs.engine import flops
from jobs.engine.models import build, z_dim
from jobs.engine.models.library_networks import LibraryNetwork
from jobs.engine.training import encoder_noise, step
from jobs.engine.training.epoch_sampler import EpochSampler
from jobs.engine.training.stochastic_layers import SampledDropout, check_compilable
from jobs.engine.training.train_state import initial_state

CIFAR10, DIGITS = datasets.info("cifar10"), datasets.info("digits")
TIMM = ("test_byobnet", "test_convnext", "test_efficientnet", "test_nfnet", "test_resnet", "test_vit", "test_vit3",
        "deit_tiny_distilled_patch16_224")  # fmt: skip
TORCHVISION = ("shufflenet_v2_x0_5", "mobilenet_v3_small", "mnasnet0_5", "regnet_y_400mf", "densenet121", "googlenet",
               "vgg11", "convnext_tiny", "swin_t", "vit_b_16")  # fmt: skip


def run_of(network: spec.Network, data: str = "cifar10", **fields: Any) -> spec.Run:
    run = spec.Run(data=spec.Data(name=data), network=network, objective=spec.Ceb(rho=1.0),
                   optimiser=spec.Sgd(lr=0.1), epochs=1, batch=8, precision="fp64")  # fmt: skip
    return structs.replace(run, **fields)


def images(count: int, channels: int = 3, size: int = 32) -> torch.Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0))


def last_dense(model: nn.Module) -> nn.Linear:
    return [module for module in model.modules() if isinstance(module, nn.Linear)][-1]


@pytest.mark.parametrize("name", TIMM)
def test_timms_classifier_on_the_features_gives_timms_logits(name: str) -> None:
    timm = pytest.importorskip("timm")
    ours = build(run_of(spec.Timm(model=name), precision="fp32")).network.eval()
    size = {"img_size": 32} if "vit" in name or "deit" in name else {}
    whole = timm.create_model(name, num_classes=7, **size).eval()
    whole.load_state_dict(ours.features.model.state_dict(), strict=False)
    x_BCHW = images(3)
    with torch.no_grad():
        f_BZ, classifier = ours(x_BCHW), whole.get_classifier()
        if isinstance(classifier, tuple):  # a head for each of DeiT's two tokens, averaged; the mean is not linear in f
            assert f_BZ.shape == (3, classifier[0].in_features)
            return
        torch.testing.assert_close(classifier(f_BZ), whole(x_BCHW))
    assert f_BZ.shape[1] == z_dim(run_of(spec.Timm(model=name)))


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_classifier_on_the_features_gives_torchvisions_logits(name: str) -> None:
    size = {"image_size": 32} if name.startswith("vit") else {}
    aux = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    whole = torchvision.models.get_model(name, weights=None, num_classes=7, **size, **aux).eval()
    ours = LibraryNetwork(spec.Torchvision(model=name), CIFAR10, None).eval()
    ours.features.model.load_state_dict(whole.state_dict(), strict=False)
    x_BCHW = images(2)
    with torch.no_grad():
        f_BZ = ours(x_BCHW)
        torch.testing.assert_close(last_dense(whole)(f_BZ), whole(x_BCHW))
    assert f_BZ.shape[1] == z_dim(run_of(spec.Torchvision(model=name)))


def test_squeezenets_features_are_pooled_in_front_of_its_last_convolution() -> None:
    ours = LibraryNetwork(spec.Torchvision(model="squeezenet1_1"), CIFAR10, None).eval()
    x_BCHW = images(2)
    with torch.no_grad():
        expected_BZ = ours.features.model.features(x_BCHW).mean(dim=(2, 3))
        torch.testing.assert_close(ours(x_BCHW), expected_BZ)


def test_a_grey_image_is_three_equal_channels_for_torchvision_and_one_for_timm() -> None:
    pytest.importorskip("timm")
    grey_BCHW = images(2, channels=1)
    ours = LibraryNetwork(spec.Torchvision(model="shufflenet_v2_x0_5"), DIGITS, None).eval()
    torch.testing.assert_close(ours.features(grey_BCHW), ours.features(grey_BCHW.repeat(1, 3, 1, 1)))
    timms = LibraryNetwork(spec.Timm(model="test_resnet"), DIGITS, None)
    assert next(timms.parameters()).shape[1] == 1


def test_images_are_brought_to_the_size_of_the_network() -> None:
    network = spec.Torchvision(model="shufflenet_v2_x0_5", input_size=48)
    ours = LibraryNetwork(network, CIFAR10, None).eval()
    resized_BCHW = torchvision.transforms.functional.resize(images(2), [48, 48], antialias=True)
    torch.testing.assert_close(ours(images(2)), ours.features(resized_BCHW))
    whole = flops.count(run_of(structs.replace(network, input_size=None)))
    assert flops.count(run_of(network)).macs > 2 * whole.macs


def test_normalise_model_scales_by_the_models_own_numbers() -> None:
    pytest.importorskip("timm")
    model = build(run_of(spec.Timm(model="vit_tiny_patch16_224", normalise="model"), precision="fp32"))
    torch.testing.assert_close(model.normalise(images(2)), images(2) * 2 - 1)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (spec.Timm(model="vit_tiny_patch16_224"), r"vit_tiny_patch16_224: does not take images of 1x8x8: .*input_size"),
        (spec.Timm(model="resnet18", args='{"depth":3}'), "resnet18: can't be built with depth=3: .*'depth'"),
        (spec.Torchvision(model="vit_b_16"), "vit_b_16: can't be built with image_size=8: .*patch size"),
        (spec.Torchvision(model="vgg11"), "vgg11: does not take images of 1x8x8: .*input_size"),
    ],
)  # fmt: skip
def test_what_can_not_be_built_is_one_line(network: spec.Network, message: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(InputError, match=f"network.model {message}") as caught:
        flops.count(run_of(network, data="digits"))
    assert "\n" not in str(caught.value)


VIT = '{"depth":2,"embed_dim":12,"num_heads":2,"drop_path_rate":0.3,"proj_drop_rate":0.2,"attn_drop_rate":0.2}'
SWIN = '{"depths":[2,2],"num_heads":[2,2],"embed_dim":8,"window_size":4,"drop_path_rate":0.3,"attn_drop_rate":0.2}'


@pytest.mark.parametrize(
    "network",
    [
        spec.Timm(model="vit_tiny_patch16_224", args=VIT),
        spec.Timm(model="swin_tiny_patch4_window7_224", args=SWIN),
        spec.Torchvision(model="convnext_tiny", args='{"stochastic_depth_prob":0.4}'),
    ],
    ids=lambda network: network.model,
)
def test_masks_depend_on_the_image_and_not_on_the_part_that_it_is_in(network: spec.Network) -> None:
    pytest.importorskip("timm")
    torch.manual_seed(0)
    whole, cut = (_after_a_step(network, replica_batch=count) for count in (8, 3))
    torch.testing.assert_close(whole, cut, rtol=0, atol=1e-9)
    assert (whole - _after_a_step(structs.replace(network, args=_without_masks(network.args)))).abs().max() > 1e-6


def _without_masks(args: str) -> str:
    for rate in ("0.2", "0.3", "0.4"):
        args = args.replace(rate, "0.0")
    return args


def _after_a_step(network: spec.Network, **fields: Any) -> torch.Tensor:
    run, y_B, samples_B = run_of(network, **fields), torch.arange(8), torch.arange(8) + 5
    state = initial_state(run, y_B, "cpu")
    now = step.scheduled_values(state, EpochSampler(run, 8))
    step.train_step(state, now, 0, samples_B, images(8), y_B, encoder_noise.draw(run, 0, samples_B, "cpu"))
    return torch.cat([parameter.detach().flatten() for parameter in state.model.network.parameters()])


def test_a_network_with_masks_is_not_compiled() -> None:
    run = run_of(spec.Torchvision(model="convnext_tiny", args='{"stochastic_depth_prob":0.1}'))
    with pytest.raises(InputError, match=r"compile: convnext_tiny draws dropout or stochastic depth .*; allowed: off"):
        check_compilable(run)
    check_compilable(run_of(spec.Torchvision(model="convnext_tiny", args='{"stochastic_depth_prob":0.0}')))


def test_masks_have_their_rate_and_keep_the_mean() -> None:
    with SampledDropout(0, 0, torch.arange(4)):
        dropped = nn.functional.dropout(torch.ones(4, 25_000), 0.3)
        depth = torch.empty(40_000, 1).bernoulli_(0.8)
    assert (dropped == 0).float().mean() == pytest.approx(0.3, abs=0.01)
    assert dropped.mean() == pytest.approx(1, abs=0.01) and depth.mean() == pytest.approx(0.8, abs=0.01)


def test_attention_without_dropout_is_torchs() -> None:
    q, k, v = torch.randn(3, 2, 2, 5, 4, dtype=torch.float64)
    hidden = torch.ones(5, 5, dtype=torch.bool).tril()
    attend = nn.functional.scaled_dot_product_attention
    for mask in (None, hidden, hidden.double()):
        with SampledDropout(0, 0, torch.arange(2)):
            kept = attend(q, k, v, mask, dropout_p=1e-9)
        torch.testing.assert_close(kept, attend(q, k, v, mask))
