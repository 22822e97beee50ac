"""Features before the last layer: what they are compared with is computed by the layers one after the other."""

import pytest
import torch
from torch import Tensor, nn

from tl_robust import models
from tl_robust.errors import ConfigError
from tl_robust.models.features import features, penultimate


def pixels(count: int) -> Tensor:
    return torch.randint(0, 256, (count, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def small() -> nn.Module:
    torch.manual_seed(2)
    return models.get("dtn", (1, 8, 8), 4, width=0.1)


@pytest.mark.parametrize("count", [1, 499, 501, 1003])
def test_they_are_what_the_layers_before_the_last_give(count: int) -> None:
    network = small().eval()
    with torch.no_grad():
        expected = network.hidden(network.features(network.normalize(pixels(count).float() / 255)))
    found = features(network, pixels(count))
    assert found.shape == (count, network.classifier.in_features)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert torch.allclose(found, expected, atol=1e-6)
    with torch.no_grad():
        assert torch.allclose(network.classifier(found), network(pixels(count).float() / 255), atol=1e-5)


def test_dropout_is_off_and_every_module_keeps_its_mode_and_its_statistics() -> None:
    network = small().train()
    network.features[1].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert torch.equal(features(network, pixels(9)), features(network, pixels(9)))
    assert network.training
    assert network.hidden.training
    assert not network.features[1].training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not network.classifier._forward_pre_hooks


def test_the_gradient_of_a_batch_reaches_the_images() -> None:
    network = small().eval()
    images = (pixels(3).float() / 255).requires_grad_()
    weights = torch.linspace(-1, 1, network.classifier.in_features)
    (gradient,) = torch.autograd.grad((penultimate(network, images) * weights).sum(), images)
    (expected,) = torch.autograd.grad(
        (network.hidden(network.features(network.normalize(images))) * weights).sum(), images
    )
    assert float(expected.abs().max()) > 0
    assert torch.allclose(gradient, expected, atol=1e-6)


def test_a_network_of_maps_has_them_in_one_row() -> None:
    class Maps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.classifier(images * 2)
            return logits

    assert torch.allclose(features(Maps(), pixels(5)), pixels(5).flatten(1) * (2 / 255))


def test_a_network_without_a_last_layer_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"does not say what its last layer is: give its class an attribute"):
        features(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), pixels(2))

    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classifier = nn.Linear(2, 2)

        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)

    with pytest.raises(ConfigError, match=r"does not call its attribute 'classifier'.*: call it in forward, or"):
        features(Unused(), pixels(2))
