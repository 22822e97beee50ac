"""A last layer as it was drawn is refused, however it was drawn; a trained one never, however bad it is."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from tests.auditor.locks_made import MEAN, STD, Plain, asked, digits, subject, train
from tl_robust.auditor.locks import ask
from tl_robust.models import build
from tl_robust.models.base import NETWORKS, Normalize


@pytest.fixture(scope="module")
def good() -> nn.Module:
    network: nn.Module = train(Plain(Normalize(MEAN, STD)))
    return network


def _zero_bias(layer: nn.Linear) -> None:
    nn.init.zeros_(layer.bias)


DRAWS = {
    "torch": lambda layer: layer.reset_parameters(),
    "timm, transformers": lambda layer: (nn.init.trunc_normal_(layer.weight, std=0.02), _zero_bias(layer)),
    "torchvision": lambda layer: (nn.init.normal_(layer.weight, 0, 0.01), _zero_bias(layer)),
    "Glorot": lambda layer: (nn.init.xavier_uniform_(layer.weight), _zero_bias(layer)),
    "He": lambda layer: (nn.init.kaiming_normal_(layer.weight), _zero_bias(layer)),
}


@pytest.mark.parametrize("draw", DRAWS)
def test_a_fresh_last_layer_on_a_trained_body_is_refused(good: nn.Module, draw: str) -> None:
    """Of 20 draws none passes: a lucky one is above the most frequent class, but not beside exchanged names."""
    with torch.random.fork_rng(devices=[]):
        for seed in range(20):
            torch.manual_seed(seed)
            network = copy.deepcopy(good)
            DRAWS[draw](network.classifier)
            found = asked("head_is_trained", subject(network))
            assert found.passed is False, (seed, found)
            assert "1280 weights of its last layer are distributed as just drawn (" in found.reason
            assert "load the file that has its trained last layer" in found.reason


def test_it_is_the_reason_that_is_told(good: nn.Module) -> None:
    network = copy.deepcopy(good)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network.classifier.reset_parameters()
    locks = ask(subject(network))
    assert [lock.name for lock in locks if lock.passed is False] == ["head_is_trained"]
    others = {lock.name: lock for lock in locks if lock.name in ("class_order", "preprocessing", "better_than_chance")}
    assert len(others) == 3
    for lock in others.values():
        assert lock.passed is None
        assert lock.reason == "Not asked, since head_is_trained failed: repair that first."


def test_a_draw_that_is_known_from_the_network_alone_is_found() -> None:
    """Whatever it draws, such as a normal distribution of standard deviation 0.5."""

    class Odd(nn.Linear):
        def reset_parameters(self) -> None:
            nn.init.normal_(self.weight, 0, 0.5)
            nn.init.zeros_(self.bias)

    network = train(Plain(Normalize(MEAN, STD)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network.classifier = Odd(128, 10)
    found = asked("head_is_trained", subject(network))
    assert found.passed is False
    assert "as its own network draws it" in found.reason


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v3_small"])
def test_untrained_networks_of_torchvision_are_refused(arch: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(NETWORKS.component("torchvision_backbone", {"arch": arch}), (3, 32, 32), 10).eval()
    assert asked("head_is_trained", subject(network, digits(32)[1].take(torch.arange(60)))).passed is False


def test_a_trained_layer_passes_where_it_is_right_and_where_it_is_not(good: nn.Module) -> None:
    assert asked("head_is_trained", subject(good)).passed
    scrambled = copy.deepcopy(good)
    scrambled.first = Normalize((0.0,) * 3, (1 / 255,) * 3)  # so that it knows nothing here
    found = asked("head_is_trained", subject(scrambled))
    assert found.passed
    assert found.reason == "The 1280 weights of its last layer are distributed as no fresh ones are."


@pytest.mark.parametrize("epochs", [1, 2])
def test_hardly_trained_layers_are_told_from_fresh_ones(epochs: int) -> None:
    """After 38 or 76 steps, and with images that no network of them can read."""
    for seed in range(3):
        network = train(Plain(Normalize(MEAN, STD)), epochs=epochs, seed=seed)
        network.first = Normalize((0.0,) * 3, (1 / 255,) * 3)
        assert asked("head_is_trained", subject(network)).passed


def test_a_layer_of_zeros_and_one_that_is_not_finite_are_refused(good: nn.Module) -> None:
    network = copy.deepcopy(good)
    nn.init.zeros_(network.classifier.weight)
    found = asked("head_is_trained", subject(network))
    assert (found.passed, found.reason[:42]) == (False, "All 1280 weights of its last layer are 0, ")
    with torch.no_grad():
        network.classifier.weight[2, 5:7] = math.nan
    found = asked("head_is_trained", subject(network))
    assert (found.passed, found.reason[:51]) == (False, "2 of 1290 values of its last layer are not finite: ")


def test_what_cannot_be_asked_is_said(good: nn.Module) -> None:
    class Nameless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = good

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.inner(images)
            return logits

    found = asked("head_is_trained", subject(Nameless()))
    assert found.passed is None
    assert found.reason.startswith("Its last layer is not known (network")
    fresh = copy.deepcopy(good)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh.classifier.reset_parameters()
    one = digits()[1]
    few = one.take((one.labels == 4).nonzero()[:5, 0])
    found = asked("head_is_trained", subject(fresh, few))
    assert found.passed is None
    assert "of 5 images, too few to tell" in found.reason


def test_the_random_generator_and_the_network_are_left_as_they_were() -> None:
    network = build(NETWORKS.component("cnn6"), (3, 16, 16), 10)
    before, state = torch.random.get_rng_state(), copy.deepcopy(network.state_dict())
    network.train()
    asked("head_is_trained", subject(network))
    assert network.training
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
