"""The small digits network and what its public weights can do."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from tl_robust.errors import ConfigError
from tl_robust.models import NETWORKS, build, copy_fitting
from tl_robust.models.checkpoint import load_checkpoint
from tl_robust.registry import Scalar
from tl_robust.seeding import generator

DIGITS = (3, 32, 32)


def cnn6(classes: int = 10, shape: tuple[int, int, int] = DIGITS, **settings: Scalar) -> nn.Module:
    return build(NETWORKS.component("cnn6", settings), shape, classes)


def images(count: int = 4, shape: tuple[int, int, int] = DIGITS) -> Tensor:
    return torch.rand(count, *shape, generator=generator("images"))


def test_layer_by_layer() -> None:
    network = cnn6()
    convolutions = ["Conv2d", "BatchNorm2d", "ReLU"] * 2 + ["MaxPool2d"]
    assert [[type(part).__name__ for part in block] for block in network.features] == [convolutions] * 3  # type: ignore[union-attr]
    order = [type(part).__name__ for part in network.hidden]  # type: ignore[union-attr]
    assert order == ["Flatten", "Dropout", "Linear", "ReLU", "Dropout"]
    weights = {name: tuple(value.shape) for name, value in network.named_parameters() if value.ndim > 1}
    assert weights == {
        "features.0.0.weight": (32, 3, 3, 3),
        "features.0.3.weight": (32, 32, 3, 3),
        "features.1.0.weight": (64, 32, 3, 3),
        "features.1.3.weight": (64, 64, 3, 3),
        "features.2.0.weight": (128, 64, 3, 3),
        "features.2.3.weight": (128, 128, 3, 3),
        "hidden.2.weight": (256, 2048),
        "classifier.weight": (10, 256),
    }
    assert sum(value.numel() for value in network.parameters()) == 815_018
    assert "815,018" in str(type(network).__doc__)


def test_it_is_the_plain_formula() -> None:
    network = cnn6().eval()
    for place, value in enumerate(network.state_dict().values()):
        if value.is_floating_point():  # BatchNorm has statistics of its own, so that a mix-up shows
            value.mul_(0.5).add_(torch.rand(value.shape, generator=generator(place)) * 0.1)
    weights = network.state_dict()
    mean, std = torch.tensor([0.4377, 0.4438, 0.4728]), torch.tensor([0.1980, 0.2010, 0.1970])
    x = (images() - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    for block in range(3):
        for place in (0, 3):
            key, norm = f"features.{block}.{place}", f"features.{block}.{place + 1}"
            x = functional.conv2d(x, weights[f"{key}.weight"], weights[f"{key}.bias"], padding=1)
            statistics = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
            x = functional.batch_norm(x, *statistics, weights[f"{norm}.weight"], weights[f"{norm}.bias"]).relu()
        x = functional.max_pool2d(x, 2)
    x = functional.linear(x.flatten(1), weights["hidden.2.weight"], weights["hidden.2.bias"]).relu()
    expected = functional.linear(x, weights["classifier.weight"], weights["classifier.bias"])
    torch.testing.assert_close(network(images()), expected)


@pytest.mark.parametrize(("shape", "values"), [((3, 30, 47), 128 * 3 * 5), ((3, 8, 8), 128), ((3, 64, 64), 128 * 64)])
def test_other_sides(shape: tuple[int, int, int], values: int) -> None:
    network = cnn6(7, shape)
    assert network(images(2, shape)).shape == (2, 7)
    assert network.state_dict()["hidden.2.weight"].shape == (256, values)


def test_dropout_is_before_both_linear_layers_and_only_in_training() -> None:
    assert [part.p for part in cnn6().modules() if isinstance(part, nn.Dropout)] == [0.3, 0.3]
    network = cnn6(dropout=0.5)
    assert [part.p for part in network.modules() if isinstance(part, nn.Dropout)] == [0.5, 0.5]
    assert not torch.equal(network(images()), network(images()))
    assert torch.equal(network.eval()(images()), network(images()))
    network = cnn6(dropout=0.0)
    assert torch.equal(network(images()), network(images()))


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_a_bad_dropout_is_an_error(dropout: float) -> None:
    with pytest.raises(
        ConfigError, match=rf"^setting 'dropout' of network 'cnn6' must be .* below 1, got {dropout}\.$"
    ):
        cnn6(dropout=dropout)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((1, 32, 32), "network 'cnn6' takes images of 3 channels, got 1: choose a space of colored images, or "),
        ((3, 7, 32), "network 'cnn6' needs image sides of at least 8, got 7x32."),
        ((3, 32, 7), "network 'cnn6' needs image sides of at least 8, got 32x7."),
    ],
)
def test_images_it_cannot_take_are_an_error(shape: tuple[int, int, int], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}"):
        cnn6(10, shape)


# Its public weights


def pixels(path: Path) -> tuple[Tensor, Tensor]:
    """Images of digits, 0 to 1, and labels of a stand-in."""
    with np.load(path, allow_pickle=False) as arrays:
        images, labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
    digit = labels < 10
    return images[digit].permute(0, 3, 1, 2) / 255, labels[digit]


@pytest.fixture
def trained(real_data: Path) -> nn.Module:
    network = cnn6()
    network.load_state_dict(load_checkpoint("weights/svhn_cnn6.npz", real_data, network))
    return network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    return float((network(images).argmax(1) == labels).double().mean())


@pytest.mark.data
@pytest.mark.parametrize(("domain", "count", "published"), [("streetchars", 446, 0.91), ("meterdigits", 1030, 0.87)])
def test_the_public_weights_read_digits(
    trained: nn.Module, real_data: Path, domain: str, count: int, published: float
) -> None:
    halves = [pixels(real_data / f"{domain}_{split}.npz") for split in ("train", "test")]
    x, label = (torch.cat(parts) for parts in zip(*halves, strict=True))
    assert len(label) == count
    assert accuracy(trained, x, label) == pytest.approx(published, abs=0.01)  # measured: 0.915 and 0.872


@pytest.mark.data
def test_the_public_weights_read_written_digits(trained: nn.Module, real_data: Path) -> None:
    mnist = torchvision.datasets.MNIST(real_data, train=False)
    x = functional.pad(mnist.data[:1000, None] / 255, (2, 2, 2, 2)).expand(-1, 3, -1, -1)
    assert accuracy(trained, x, mnist.targets[:1000]) == pytest.approx(0.74, abs=0.01)  # measured: 0.739


@pytest.mark.data
def test_other_classes_keep_the_public_features(real_data: Path) -> None:
    state = load_checkpoint("weights/svhn_cnn6.npz", real_data, cnn6())
    assert copy_fitting(state, cnn6(7)) == ["classifier.bias", "classifier.weight"]
