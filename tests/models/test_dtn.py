"""The network of the paper, and copying weights."""

import pytest
import torch
from torch import Tensor, nn

from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.models import NETWORKS, build, copy_fitting
from tl_robust.registry import Component
from tl_robust.seeding import generator

DIGITS = (3, 32, 32)


def dtn(width: float = 0.1, classes: int = 10, shape: tuple[int, int, int] = DIGITS) -> nn.Module:
    return build(Component("dtn", 1, (("width", width),)), shape, classes)


def images(count: int = 4, shape: tuple[int, int, int] = DIGITS) -> Tensor:
    return torch.rand(count, *shape, generator=generator("images"))


def test_the_network_of_the_paper_layer_by_layer() -> None:
    network = build(NETWORKS.component("dtn"), DIGITS, 10)
    assert {name: tuple(value.shape) for name, value in network.named_parameters()} == {
        "features.0.weight": (64, 3, 5, 5),
        "features.0.bias": (64,),
        "features.1.weight": (64,),
        "features.1.bias": (64,),
        "features.4.weight": (128, 64, 5, 5),
        "features.4.bias": (128,),
        "features.5.weight": (128,),
        "features.5.bias": (128,),
        "features.8.weight": (256, 128, 5, 5),
        "features.8.bias": (256,),
        "features.9.weight": (256,),
        "features.9.bias": (256,),
        "hidden.0.weight": (512, 256 * 4 * 4),
        "hidden.0.bias": (512,),
        "hidden.1.weight": (512,),
        "hidden.1.bias": (512,),
        "classifier.weight": (10, 512),
        "classifier.bias": (10,),
    }
    assert sum(value.numel() for value in network.parameters()) == 3_133_962
    dropout = {name: part.p for name, part in network.named_modules() if isinstance(part, nn.Dropout | nn.Dropout2d)}
    assert dropout == {"features.2": 0.1, "features.6": 0.3, "features.10": 0.5, "hidden.3": 0.5}
    order = [type(part).__name__ for part in [*network.features, *network.hidden]]  # type: ignore[misc,union-attr]
    convolution = ["Conv2d", "BatchNorm2d", "Dropout2d", "ReLU"]
    assert order == [*convolution * 3, "Flatten", "Linear", "BatchNorm1d", "ReLU", "Dropout"]


def test_sides_halve_three_times() -> None:
    network = dtn(1.0).eval()
    sides = []
    for part in network.features:  # type: ignore[union-attr]
        part.register_forward_hook(lambda module, given, found: sides.append(tuple(found.shape[1:])))
    assert network(images()).shape == (4, 10)
    assert list(dict.fromkeys(sides)) == [(64, 16, 16), (128, 8, 8), (256, 4, 4), (4096,)]


def test_the_first_layer_maps_0_1_to_minus_1_1() -> None:
    network = dtn().eval()
    seen = []
    network.features.register_forward_pre_hook(lambda module, given: seen.append(given[0]))  # type: ignore[union-attr]
    x = images()
    x[0], x[1] = 0, 1
    network(x)
    assert torch.equal(seen[0], (x - 0.5) / 0.5)
    assert seen[0][0].unique().tolist() == [-1]
    assert seen[0][1].unique().tolist() == [1]
    assert not any("normalize" in name for name in network.state_dict()), "constants are no weights"


@pytest.mark.parametrize(
    ("width", "sizes"),
    [(0.25, [16, 32, 64, 128]), (0.05, [3, 6, 13, 26]), (0.001, [1, 1, 1, 1]), (2.0, [128, 256, 512, 1024])],
)
def test_width_scales_every_hidden_size(width: float, sizes: list[int]) -> None:
    weights = dtn(width).state_dict()
    names = ("features.0", "features.4", "features.8", "hidden.0")
    assert [len(weights[f"{name}.weight"]) for name in names] == sizes
    assert weights["classifier.weight"].shape == (10, sizes[-1])


@pytest.mark.parametrize(("shape", "classes"), [((1, 16, 24), 3), ((3, 64, 64), 23), ((1, 8, 8), 2)])
def test_other_images_and_classes(shape: tuple[int, int, int], classes: int) -> None:
    assert dtn(0.05, classes, shape)(images(2, shape)).shape == (2, classes)


def test_sides_that_do_not_divide_by_8_are_an_error() -> None:
    with pytest.raises(ConfigError, match="8"):
        dtn(0.05, 10, (3, 30, 30))


@pytest.mark.parametrize("width", [0.0, -1.0, 17.0, float("nan"), float("inf")])
def test_a_bad_width_is_an_error(width: float) -> None:
    with pytest.raises(ConfigError, match=rf"^setting 'width' of network 'dtn' must be above 0 .* got {width}\.$"):
        dtn(width)


def test_settings_are_checked() -> None:
    with pytest.raises(UnknownNameError, match=r"setting of network 'dtn' 'with'; did you mean 'width'\?"):
        NETWORKS.component("dtn", {"with": 1})
    with pytest.raises(ConfigError, match=r"setting 'width' of network 'dtn' must be float, got 'wide' \(str\)"):
        NETWORKS.component("dtn", {"width": "wide"})
    assert NETWORKS.component("dtn", {"width": 2}) == Component("dtn", 1, (("width", 2.0),))
    assert NETWORKS.component("dtn", {"width": 1}) == Component("dtn", 1), "the default, however it is written"


def test_weights_follow_from_the_global_generator() -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(dtn().state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["features.0.weight"], states[2]["features.0.weight"])


def moved(network: nn.Module) -> nn.Module:
    """Every tensor of the state, BatchNorm's statistics included, is unlike a fresh one."""
    for place, value in enumerate(network.state_dict().values()):
        value.copy_(torch.rand(value.shape, generator=generator(place)) * 5 + 1)
    return network


def test_copying_to_an_equal_network_copies_everything() -> None:
    parent, child = moved(dtn()), dtn()
    assert copy_fitting(parent.state_dict(), child) == []
    assert child.state_dict().keys() == parent.state_dict().keys()
    for name, value in child.state_dict().items():
        assert torch.equal(value, parent.state_dict()[name]), name
    assert child.state_dict()["features.1.running_var"].min() >= 1
    assert torch.equal(child.eval()(images()), parent.eval()(images()))


def test_another_number_of_classes_leaves_the_classifier_fresh() -> None:
    parent, child = moved(dtn(classes=10)), dtn(classes=7)
    before = {name: value.clone() for name, value in child.state_dict().items()}
    rest = copy_fitting(parent.state_dict(), child)
    assert rest == ["classifier.bias", "classifier.weight"]
    for name, value in child.state_dict().items():
        assert torch.equal(value, before[name] if name in rest else parent.state_dict()[name]), name


def test_copying_shares_no_memory() -> None:
    parent, child = moved(dtn()), dtn()
    copy_fitting(parent.state_dict(), child)
    before = parent.state_dict()["features.1.running_mean"].clone()
    child.train()(images(16))
    assert torch.equal(parent.state_dict()["features.1.running_mean"], before)
    assert not torch.equal(child.state_dict()["features.1.running_mean"], before)


def test_a_stranger_is_ignored() -> None:
    child = dtn()
    before = {name: value.clone() for name, value in child.state_dict().items()}
    assert copy_fitting({"other.weight": torch.ones(3)}, child) == sorted(before)
    assert all(torch.equal(value, before[name]) for name, value in child.state_dict().items())


def test_a_factor_lowers_all_dropout() -> None:
    built = build(NETWORKS.component("dtn", {"width": 0.1, "dropout": 0.5}), DIGITS, 10)
    assert [part.p for part in built.modules() if isinstance(part, nn.Dropout | nn.Dropout2d)] == [
        0.05, 0.15, 0.25, 0.25,
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"setting 'dropout' of network 'dtn' must be in \[0, 1\], got 2"):
        build(NETWORKS.component("dtn", {"dropout": 2.0}), DIGITS, 10)
