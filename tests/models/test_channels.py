"""The channels of a last convolution against loops over a forward pass by hand."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tl_robust import models
from tl_robust.errors import ConfigError
from tl_robust.models.channels import Channels
from tl_robust.models.features import logits, pixels

SHAPE = (1, 16, 16)
IMAGES = torch.randint(0, 256, (40, *SHAPE), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
LABELS = torch.arange(40) % 10
NETWORKS = ["dtn", "wrn", "plain"]


class Plain(nn.Module):
    """A convolution without BatchNorm, behind one that is asked later than it stands in the list of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Conv2d(4, 6, 3)
        self.first = nn.Conv2d(1, 4, 3)
        self.classifier = nn.Linear(6, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.second(self.first(images).relu()).relu().mean((2, 3)))


def network(name: str) -> nn.Module:
    torch.manual_seed(2)
    settings = {"dtn": {"width": 0.1}, "wrn": {"depth": 10, "width": 1}}
    built = Plain() if name == "plain" else models.get(name, SHAPE, 10, **settings[name])
    for module in built.modules():  # as after a training: statistics and weights of BatchNorm differ
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.bias, 0, 0.3)
    return built


def trained(built: nn.Module, steps: int = 5) -> None:
    """With momentum and decay, which move weights without a gradient of their own."""
    optimizer = torch.optim.SGD(built.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)
    built.train()
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(built(IMAGES / 255), LABELS).backward()
        optimizer.step()
    built.eval()


def test_activations_are_the_means_of_the_positive_parts() -> None:
    built = network("dtn").eval()
    channels = Channels.last(built, IMAGES)
    assert channels.convolution is built.features[8]
    assert channels.norm is built.features[9]
    answer = built.features[:10](built.normalize(IMAGES / 255)).detach()
    naive = [
        sum(max(float(value), 0.0) for image in answer for value in image[place].flatten()) / answer[:, 0].numel()
        for place in range(answer.shape[1])
    ]
    found = channels.activations(IMAGES)
    assert torch.allclose(found, torch.tensor(naive, dtype=torch.float64), rtol=1e-5)
    assert found.std() > 0.01  # they differ, so that an order of channels means something


def test_the_last_convolution_is_the_one_that_is_asked_last() -> None:
    built = network("plain")
    channels = Channels.last(built, IMAGES)
    assert channels.convolution is built.second
    assert channels.norm is None


@pytest.mark.parametrize("name", NETWORKS)
def test_pruned_channels_stay_dead_while_the_rest_is_trained(name: str) -> None:
    built = network(name)
    channels = Channels.last(built, IMAGES)
    dead = torch.zeros(channels.convolution.out_channels, dtype=torch.bool)
    dead[::2] = True
    weights = [*channels.convolution.parameters(), *(channels.norm.parameters() if channels.norm else ())]
    before = [weight.detach().clone() for weight in weights]
    channels.prune(dead)
    trained(built)
    for weight, was in zip(weights, before, strict=True):
        assert not weight[dead].any()
        assert bool((weight.grad[dead] == 0).all())
        assert not torch.equal(weight[~dead], was[~dead])
    elsewhere = network(name).eval()  # as the store gives the weights to others, without any hook
    elsewhere.load_state_dict(built.state_dict())
    assert torch.equal(logits(elsewhere, IMAGES), logits(built, IMAGES))
    said: list[Tensor] = []
    (Channels.last(elsewhere, IMAGES)._end).register_forward_hook(lambda *given: said.append(given[2]))
    elsewhere(IMAGES / 255)
    assert not said[0][:, dead].any()
    assert said[0][:, ~dead].any()


def test_silence_is_what_pruning_will_do_and_then_it_is_over() -> None:
    built = network("dtn").eval()
    channels, before = Channels.last(built, IMAGES), logits(built, IMAGES)
    dead = torch.arange(channels.convolution.out_channels) % 3 == 0
    with channels.silenced(dead):
        silent = logits(built, IMAGES)
    assert torch.equal(logits(built, IMAGES), before)
    assert not torch.allclose(silent, before, atol=1e-3)
    other = copy.deepcopy(built)
    Channels.last(other, IMAGES).prune(dead)
    assert torch.allclose(logits(other, IMAGES), silent, atol=1e-6)


def test_a_question_leaves_every_mode_as_it_was() -> None:
    built = network("dtn").train()
    built.features[0].eval()
    before = {name: value.clone() for name, value in built.state_dict().items()}
    Channels.last(built, IMAGES).activations(IMAGES)
    assert built.training
    assert not built.features[0].training
    assert built.features[1].training
    assert all(torch.equal(value, before[name]) for name, value in built.state_dict().items())
    assert pixels(built.double(), IMAGES).dtype == torch.float64


def test_without_a_convolution_there_is_nothing_to_prune() -> None:
    with pytest.raises(ConfigError, match="has no convolution whose channels could be pruned"):
        Channels.last(nn.Sequential(nn.Flatten(), nn.Linear(256, 10)), IMAGES)
