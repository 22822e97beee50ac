"""Every network of the registry, and what the larger ones are compared with: formulas, torchvision, a plain loop."""

import re

import pytest
import torch
import torchvision
from by_hand import NETWORK_NAMES, PUBLISHED
from torch import Tensor, nn
from torch.nn import functional

from tests.contracts.asked import ask
from tl_robust.contracts.contract import Contract, contracts_of
from tl_robust.contracts.kinds.network import Maker
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.models import NETWORKS, build
from tl_robust.registry import Scalar
from tl_robust.seeding import generator

SHAPE = (3, 32, 32)
SMALL: dict[str, dict[str, Scalar]] = {"dtn": {"width": 0.1}, "wrn": {"depth": 10, "width": 1}}  # others: defaults
SMALL |= PUBLISHED


def made(name: str, classes: int = 10, shape: tuple[int, int, int] = SHAPE, **settings: Scalar) -> nn.Module:
    return build(NETWORKS.component(name, settings), shape, classes)


def small(name: str, classes: int = 10) -> nn.Module:
    return made(name, classes, **SMALL.get(name, {}))


def images(count: int = 4, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    return torch.rand(count, *shape, generator=generator("images"))


def size(network: nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())


def moved(network: nn.Module) -> nn.Module:
    """BatchNorm has scales, shifts and statistics of its own, so that a mix-up shows."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            for place, value in enumerate((part.weight, part.bias, part.running_mean, part.running_var)):
                assert value is not None
                value.data.copy_(torch.rand(value.shape, generator=generator(place)) + 0.5)
    return network


# What holds for every network


NEW = ("takes_other_shapes_or_says_which", "names_its_blocks")  # many networks are built for these
CONTRACTS = [
    pytest.param(one, id=str(one), marks=[pytest.mark.slow] * (str(one) in NEW))
    for one in contracts_of("network").contracts
    if not one.once
]


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_every_network_keeps_its_contracts(contract: Contract, name: str) -> None:
    ask(contract, Maker(name, SMALL.get(name, {})))


# Wide ResNet


def wrn_size(depth: int, width: int, classes: int, channels: int = 3) -> int:
    """Weights counted by hand: convolutions without bias, two numbers a channel of each BatchNorm, the linear layer."""
    count, before = 9 * channels * 16, 16
    for base in (16, 32, 64):
        after = base * width
        for _ in range((depth - 4) // 6):
            count += 2 * before + 9 * before * after + 2 * after + 9 * after * after
            count += before * after if before != after else 0
            before = after
    return count + 2 * before + before * classes + classes


@pytest.mark.parametrize(
    ("depth", "width", "classes", "published"),
    [(28, 10, 10, 36_479_194), (40, 2, 10, 2_243_546), (16, 4, 100, None), (10, 1, 9, None), (40, 1, 10, None)],
)
def test_wrn_parameters(depth: int, width: int, classes: int, published: int | None) -> None:
    with torch.device("meta"):
        found = size(made("wrn", classes, depth=depth, width=width))
    assert found == wrn_size(depth, width, classes)
    assert published in (None, found)


def test_the_default_is_the_network_of_the_paper() -> None:
    with torch.device("meta"):
        network = made("wrn")
    assert size(network) == 36_479_194
    assert sum(isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3) for part in network.modules()) == 25
    assert {part.p for part in network.modules() if isinstance(part, nn.Dropout)} == {0.0}


def plain_wrn(weights: dict[str, Tensor], images: Tensor, blocks: int) -> Tensor:
    """The paper's figure 1 and table 1 as a loop over the weights."""

    def active(x: Tensor, key: str) -> Tensor:
        mean, var = weights[f"{key}.running_mean"], weights[f"{key}.running_var"]
        return functional.batch_norm(x, mean, var, weights[f"{key}.weight"], weights[f"{key}.bias"]).relu()

    x = functional.conv2d(images * 2 - 1, weights["features.stem.weight"], padding=1)
    for group in (1, 2, 3):
        for block in range(blocks):
            key, stride = f"features.group{group}.{block}", 2 if group > 1 and block == 0 else 1
            first = active(x, f"{key}.activate.0")
            y = functional.conv2d(first, weights[f"{key}.residual.0.weight"], stride=stride, padding=1)
            y = active(y, f"{key}.residual.1")
            y = functional.conv2d(y, weights[f"{key}.residual.4.weight"], padding=1)
            shortcut = weights.get(f"{key}.shortcut.weight")
            x = y + (x if shortcut is None else functional.conv2d(first, shortcut, stride=stride))
    x = active(x, "features.norm").mean((2, 3))
    return x @ weights["classifier.weight"].T + weights["classifier.bias"]


@pytest.mark.parametrize(("depth", "width"), [(16, 1), (16, 2), (10, 3)])
def test_wrn_is_the_plain_loop(depth: int, width: int) -> None:
    network = moved(made("wrn", depth=depth, width=width, dropout=0.3)).eval()
    expected = plain_wrn(network.state_dict(), images(), (depth - 4) // 6)
    torch.testing.assert_close(network(images()), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    shortcuts = [key for key in network.state_dict() if "shortcut" in key]
    assert len(shortcuts) == (2 if width == 1 else 3), "at width 1 the first group keeps its size"


@pytest.mark.parametrize(("shape", "last"), [((3, 32, 32), 8), ((1, 28, 28), 7), ((3, 64, 64), 16), ((3, 30, 30), 8)])
def test_wrn_halves_sides_twice(shape: tuple[int, int, int], last: int) -> None:
    network, seen = made("wrn", 3, shape, depth=10, width=1).eval(), []
    network.features.norm.register_forward_hook(lambda module, given, found: seen.append(tuple(found.shape)))  # type: ignore[union-attr]
    assert network(images(2, shape)).shape == (2, 3)
    assert seen == [(2, 64, last, last)]


def test_wrn_starts_as_the_public_code_does() -> None:
    network = made("wrn", depth=10, width=4)
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            expected = (2 / (part.kernel_size[0] ** 2 * part.out_channels)) ** 0.5
            assert part.weight.std().item() == pytest.approx(expected, rel=0.15)
            assert part.bias is None
    assert network.classifier.bias.abs().max() == 0  # type: ignore[union-attr,operator]


def test_wrn_dropout_is_for_training_and_between_the_convolutions() -> None:
    network = made("wrn", depth=10, width=1, dropout=0.5)
    for group in (network.features.group1, network.features.group2, network.features.group3):  # type: ignore[union-attr]
        order = [type(part).__name__ for part in group[0].residual]  # type: ignore[index,union-attr]
        assert order == ["Conv2d", "BatchNorm2d", "ReLU", "Dropout", "Conv2d"]
    assert [part.p for part in network.modules() if isinstance(part, nn.Dropout)] == [0.5] * 3
    assert not torch.equal(network(images()), network(images()))
    network = made("wrn", depth=10, width=1)
    assert torch.equal(network(images()), network(images())), "without dropout, training is deterministic too"


@pytest.mark.parametrize("depth", [27, 29, 4, 0, -2, 12])
def test_a_depth_that_is_not_6n_plus_4_is_an_error(depth: int) -> None:
    sentence = f"setting 'depth' of network 'wrn' must be 6n + 4 (10, 16, 22, 28, ...), got {depth}."
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        made("wrn", depth=depth)


@pytest.mark.parametrize(
    ("setting", "value"), [("width", 0), ("width", 65), ("dropout", 1.0), ("dropout", -0.1), ("dropout", float("nan"))]
)
def test_wrn_settings_out_of_range_are_an_error(setting: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"^setting '{setting}' of network 'wrn' must be .*, got {value}\.$"):
        made("wrn", **{"depth": 10, setting: value})


# ResNet-18


def swapped(classes: int, channels: int = 3) -> nn.Module:
    """torchvision's network with the stem of the CIFAR versions."""
    network = torchvision.models.resnet18(weights=None, num_classes=classes)
    network.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network.eval()


def test_resnet18_parameters() -> None:
    full = size(torchvision.models.resnet18(weights=None, num_classes=10))
    assert size(made("resnet18")) == full - 64 * 3 * (7 * 7 - 3 * 3) == 11_173_962


@pytest.mark.parametrize(("shape", "classes"), [(SHAPE, 10), ((1, 28, 28), 3)])
def test_resnet18_is_that_of_torchvision_bit_for_bit(shape: tuple[int, int, int], classes: int) -> None:
    network, other = moved(made("resnet18", classes, shape)).eval(), swapped(classes, shape[0])
    weights = {
        re.sub("^classifier", "fc", key.removeprefix("features.")): value for key, value in network.state_dict().items()
    }
    other.load_state_dict(weights)  # strict: every name fits
    x = images(4, shape)
    assert torch.equal(network(x), other((x - 0.5) / 0.5))


def test_resnet18_starts_as_that_of_torchvision_does() -> None:
    stem = made("resnet18").features.conv1.weight  # type: ignore[union-attr]
    assert stem.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.1)  # type: ignore[operator,union-attr]


# torchvision's networks


@pytest.mark.parametrize("arch", ["mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x0_5", "regnet_y_400mf"])
def test_a_backbone_is_that_of_torchvision_bit_for_bit(arch: str) -> None:
    torch.manual_seed(3)
    network, after = made("torchvision_backbone", 7, arch=arch), torch.get_rng_state()
    torch.manual_seed(3)
    other = torchvision.models.get_model(arch, weights=None, num_classes=7)
    assert torch.equal(torch.get_rng_state(), after), "the check draws no numbers"
    assert {key.removeprefix("model."): value.shape for key, value in network.state_dict().items()} == {
        key: value.shape for key, value in other.state_dict().items()
    }
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (images() - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    assert torch.equal(network.eval()(images()), other.eval()(x))
    assert size(network) == size(other)


@pytest.mark.parametrize(("arch", "resize"), [("googlenet", 0), ("inception_v3", 75)])
def test_auxiliary_heads_are_left_out(arch: str, resize: int) -> None:
    network = made("torchvision_backbone", 5, arch=arch, resize=resize)
    logits = network.train()(images(2))
    assert isinstance(logits, Tensor)
    assert logits.shape == (2, 5)
    assert not any("aux" in key.lower() for key in network.state_dict())


def test_resize_is_bilinear_and_has_a_gradient() -> None:
    network, seen = made("torchvision_backbone", resize=48).eval(), []
    network.normalize.register_forward_pre_hook(lambda module, given: seen.append(given[0]))  # type: ignore[union-attr]
    x = images(2).requires_grad_()
    network(x).sum().backward()
    assert seen[0].shape == (2, 3, 48, 48)
    assert 0 <= seen[0].min() <= seen[0].max() <= 1
    # side 32 to 48: pixel 1 of the new row lies at (1 + 1/2) * 2/3 - 1/2 = 1/2 of the old one, pixel 0 before its edge
    assert torch.allclose(seen[0][..., 0, 1], (x[..., 0, 0] + x[..., 0, 1]) / 2)
    assert torch.equal(seen[0][..., 0, 0], x[..., 0, 0])
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.flatten(1).abs().amax(1).min() > 0


def test_resize_0_leaves_the_images() -> None:
    network, seen = made("torchvision_backbone").eval(), []
    network.normalize.register_forward_pre_hook(lambda module, given: seen.append(given[0]))  # type: ignore[union-attr]
    network(images(2))
    assert torch.equal(seen[0], images(2))


@pytest.mark.parametrize("arch", ["vit_b_32", "maxvit_t", "alexnet", "inception_v3"])
def test_images_that_are_too_small_are_an_error_before_anything_runs(arch: str) -> None:
    with torch.device("meta"):
        sentence = rf"^'{arch}' of network 'torchvision_backbone' cannot take images of 3x32x32: set resize, .*\)\.$"
        with pytest.raises(ConfigError, match=sentence):
            made("torchvision_backbone", arch=arch)
        with pytest.raises(ConfigError, match="cannot take images of 3x16x16"):
            made("torchvision_backbone", arch=arch, resize=16)
        made("torchvision_backbone", arch=arch, resize=224)


@pytest.mark.parametrize("arch", ["regnet_x_400mf", "swin_t", "efficientnet_b0", "convnext_tiny", "densenet121"])
def test_other_families_pass_the_check_of_a_config(arch: str) -> None:
    with torch.device("meta"):
        network = made("torchvision_backbone", 6, arch=arch)
    assert network.classifier.out_features == 6  # type: ignore[union-attr]


def test_an_unknown_arch_is_an_error_with_the_closest() -> None:
    sentence = (
        r"^unknown arch of network 'torchvision_backbone' 'resnet_18'; did you mean 'resnet18'\? Known: alexnet, "
    )
    with pytest.raises(UnknownNameError, match=sentence):
        made("torchvision_backbone", arch="resnet_18")
    with pytest.raises(UnknownNameError, match="fcn_resnet50"):  # segments: no logits
        made("torchvision_backbone", arch="fcn_resnet50")


def test_a_backbone_takes_three_channels_only() -> None:
    with pytest.raises(ConfigError, match=r"^network 'torchvision_backbone' takes images of 3 channels, got 1: "):
        made("torchvision_backbone", 10, (1, 32, 32))


@pytest.mark.parametrize("resize", [-1, 1025])
def test_a_resize_out_of_range_is_an_error(resize: int) -> None:
    with pytest.raises(ConfigError, match=rf"^setting 'resize' of .* must be 0 to 1024, got {resize}\.$"):
        made("torchvision_backbone", resize=resize)
