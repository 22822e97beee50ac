"""Blocks of every network, for freezing, and the names of its last layer."""

import pytest
import torch
from by_hand import NETWORK_NAMES, PUBLISHED
from torch import nn

from tl_robust.errors import ConfigError
from tl_robust.models import NETWORKS, build
from tl_robust.models.base import blocks, classifier_names
from tl_robust.registry import Scalar
from tl_robust.seeding import generator

SHAPE = (3, 32, 32)
BACKBONES = {  # blocks, and the share of parameters that lies in none
    "squeezenet1_0": (9, 0.0),
    "resnet18": (5, 0.0),
    "mobilenet_v3_small": (14, 0.0),
    "vgg11_bn": (10, 0.0),
    "densenet121": (8, 0.0),
    "vit_b_16": (13, 0.002),
    "convnext_tiny": (8, 0.0),
    "regnet_y_400mf": (5, 0.0),
    "maxvit_t": (6, 0.0),
}


def made(name: str, **settings: Scalar) -> nn.Module:
    with torch.device("meta"):
        return build(NETWORKS.component(name, settings), SHAPE, 10)


def backbone(arch: str) -> nn.Module:
    return made("torchvision_backbone", arch=arch, resize=224)


def parts(network: nn.Module) -> list[set[str]]:
    """Names of each block's parameters."""
    name_of = {id(value): name for name, value in network.named_parameters()}
    return [{name_of[id(value)] for value in block.parameters()} for block in blocks(network)]


def heads(network: nn.Module, depth: int) -> list[list[str]]:
    """What the names of each block begin with."""
    return [sorted({".".join(name.split(".")[:depth]) for name in part}) for part in parts(network)]


def holds(network: nn.Module, left: float) -> None:
    """What a strategy that freezes the first blocks relies on."""
    before = list(network.state_dict())
    found, last = parts(network), classifier_names(network)
    size = {name: value.numel() for name, value in network.named_parameters()}
    assert all(found), "every block has parameters"
    assert sum(map(len, found)) == len(set().union(*found)), "no parameter is in two blocks"
    assert not set().union(*found) & last, "the classifier is in no block"
    rest = size.keys() - set().union(*found, last)
    assert sum(size[name] for name in rest) <= left * sum(size.values()), rest
    order = {name: place for place, name in enumerate(size)}
    places = [order[name] for block in blocks(network) for name in _names(network, block)]
    assert places == sorted(places), "blocks come in forward order, which is that of the parameters here"
    assert list(network.state_dict()) == before, "nothing is registered twice"


def _names(network: nn.Module, block: nn.Module) -> list[str]:
    name_of = {id(value): name for name, value in network.named_parameters()}
    return [name_of[id(value)] for value in block.parameters()]


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_every_network_has_blocks(name: str) -> None:
    left = {"hf": 0.1, "timm": 0.01}  # of small ViTs, what is added to the patches
    holds(made(name, **PUBLISHED.get(name, {})), left.get(name, 0.0))


@pytest.mark.parametrize(("arch", "expected"), BACKBONES.items())
def test_blocks_of_torchvision(arch: str, expected: tuple[int, float]) -> None:
    network = backbone(arch)
    assert len(blocks(network)) == expected[0]
    holds(network, expected[1])


def test_blocks_of_dtn() -> None:
    found = blocks(made("dtn"))
    kinds = [[type(part).__name__ for part in block.children()] for block in found]
    assert kinds == [["Conv2d", "BatchNorm2d", "Dropout2d", "ReLU"]] * 3 + [
        ["Linear", "BatchNorm1d", "ReLU", "Dropout"]
    ]


def test_blocks_of_cnn6() -> None:
    assert heads(made("cnn6"), 2) == [["features.0"], ["features.1"], ["features.2"], ["hidden.2"]]


def test_blocks_of_wrn() -> None:
    groups = [["features.stem"], ["features.group1"], ["features.group2"], ["features.group3", "features.norm"]]
    assert heads(made("wrn", depth=16, width=1), 2) == groups


@pytest.mark.parametrize(("network", "prefix"), [("resnet18", "features"), ("torchvision_backbone", "model")])
def test_blocks_of_resnet18_ours_and_torchvisions(network: str, prefix: str) -> None:
    found = made("resnet18") if network == "resnet18" else backbone("resnet18")
    stages = [[f"{prefix}.layer{stage}"] for stage in (1, 2, 3, 4)]
    assert heads(found, 2) == [[f"{prefix}.bn1", f"{prefix}.conv1"], *stages]


def test_a_normalization_belongs_to_the_part_before_it() -> None:
    names = heads(backbone("vgg11_bn"), 3)
    assert names[:2] == [["model.features.0", "model.features.1"], ["model.features.4", "model.features.5"]]
    assert names[-2:] == [["model.classifier.0"], ["model.classifier.3"]], "hidden layers of the head are blocks too"
    assert heads(backbone("densenet121"), 3)[-1] == ["model.features.denseblock4", "model.features.norm5"]


def test_vit_is_opened_down_to_its_layers() -> None:
    names = heads(backbone("vit_b_16"), 4)
    assert names[0] == ["model.conv_proj.bias", "model.conv_proj.weight"]
    assert names[1] == ["model.encoder.layers.encoder_layer_0"]
    assert names[-1] == ["model.encoder.layers.encoder_layer_11", "model.encoder.ln.bias", "model.encoder.ln.weight"]


def test_blocks_are_the_networks_own_modules() -> None:
    """Frozen and put into eval mode, a block keeps its statistics while the rest moves."""
    network = build(NETWORKS.component("dtn", {"width": 0.1}), SHAPE, 10)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    blocks(network)[0].requires_grad_(False).eval()
    network(torch.rand(4, *SHAPE, generator=generator("images"))).sum().backward()
    frozen = {name for name, value in network.named_parameters() if value.grad is None}
    assert frozen == {f"features.{place}.{kind}" for place in (0, 1) for kind in ("weight", "bias")}
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert "features.1.running_mean" not in moved
    assert "features.5.running_mean" in moved


def test_the_list_is_the_callers() -> None:
    network = nn.Linear(2, 2)
    network.blocks = nn.ModuleList([nn.Linear(1, 1)])
    found = blocks(network)
    found.clear()
    assert len(blocks(network)) == 1


def test_a_network_without_blocks_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"^network 'linear' does not say what its blocks are: give .*network\.$"):
        blocks(nn.Linear(2, 2))


# Names of the last layer


@pytest.mark.parametrize("name", ["dtn", "wrn", "resnet18", "cnn6"])
def test_names_of_the_classifier(name: str) -> None:
    assert classifier_names(made(name)) == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize(
    ("arch", "prefix"),
    [("squeezenet1_0", "model.classifier.1"), ("resnet18", "model.fc"), ("vit_b_16", "model.heads.head")],
)
def test_names_of_torchvisions_classifiers(arch: str, prefix: str) -> None:
    assert classifier_names(backbone(arch)) == {f"{prefix}.weight", f"{prefix}.bias"}


def test_a_classifier_may_have_buffers_and_two_names() -> None:
    network = nn.Module()
    network.first = network.classifier = nn.BatchNorm1d(2)
    names = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    assert classifier_names(network) == {f"{part}.{name}" for part in ("first", "classifier") for name in names}
    assert classifier_names(network) == network.state_dict().keys()


@pytest.mark.parametrize("kind", ["none", "no module", "foreign"])
def test_a_network_without_a_classifier_is_an_error(kind: str) -> None:
    network = nn.Linear(2, 2)
    if kind != "none":
        object.__setattr__(network, "classifier", nn.Linear(2, 2) if kind == "foreign" else "fc")
    with pytest.raises(ConfigError, match=r"^network 'linear' does not say what its last layer is: give .*modules\.$"):
        classifier_names(network)
