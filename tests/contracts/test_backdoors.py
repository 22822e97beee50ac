"""What every registered backdoor promises; a plugin gets these tests by being registered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tl_robust import backdoors
from tl_robust.backdoors import BACKDOORS, Backdoor
from tl_robust.data.batches import Batches
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.types import ImageSet

EVERY = pytest.mark.parametrize("name", backdoors.names())
SHAPES = pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 16, 24)], ids=["color", "gray", "wide"])
COLOR = (3, 32, 32)
Fitted = Mapping[str, Tensor]


class Small(nn.Module):
    """With all that behaves differently in training: BatchNorm and dropout."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 6, 5, stride=4)
        self.norm = nn.BatchNorm2d(6)
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(12, 10)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.dropout(self.norm(self.convolution(images)))
        logits: Tensor = self.classifier(torch.cat([hidden.tanh().mean((2, 3)), hidden.square().mean((2, 3))], 1))
        return logits


def network(channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return Small(channels)


def images(count: int = 60, shape: tuple[int, int, int] = COLOR) -> ImageSet:
    """Every class has as many; a third of the pixels is black, as in images of digits."""
    draws = torch.Generator().manual_seed(count)
    pixels = torch.randint(-128, 256, (count, *shape), generator=draws).clamp(0, 255).to(torch.uint8)
    return ImageSet(pixels, torch.arange(count) % 10)


def fitted_of(backdoor: Backdoor, data: ImageSet, target: int = 3) -> Fitted:
    model = network(data.images.shape[1]).eval().requires_grad_(False)
    return backdoor.fit(model, data, target, 7) if backdoor.fits else {}


def stamped(backdoor: Backdoor, data: ImageSet, fitted: Fitted) -> Tensor:
    return backdoor.stamp(data.images, torch.arange(len(data)), fitted)


def sentence(error: BaseException) -> str:
    text = str(error)
    assert text.endswith(".")
    assert "\n" not in text
    return text


@EVERY
def test_its_name_is_its_files_and_its_text_is_read_back(name: str) -> None:
    backdoor = backdoors.get(name)
    assert backdoor.name == name
    assert BACKDOORS.component(name) == BACKDOORS.component(name, vars(backdoor))
    assert BACKDOORS.parse(str(BACKDOORS.component(name, {"target": "7", "wake": 3}))) == replace(
        backdoor, target=7, wake=3
    )
    assert type(backdoor).__doc__


@EVERY
@SHAPES
def test_a_stamp_is_a_function_of_one_image(name: str, shape: tuple[int, int, int]) -> None:
    """The same for the same image and place, whatever the batch; what it is given stays as it was."""
    backdoor, data = backdoors.get(name), images(40, shape)
    fitted = fitted_of(backdoor, data)
    known = {key: value.clone() for key, value in fitted.items()}
    before, torch_draws = data.images.clone(), torch.get_rng_state()
    whole = stamped(backdoor, data, fitted)
    assert (whole.dtype, whole.shape) == (torch.uint8, data.images.shape)
    assert torch.equal(data.images, before)
    assert torch.equal(torch.get_rng_state(), torch_draws), "it draws by keys"
    assert all(torch.equal(value, known[key]) for key, value in fitted.items())
    assert torch.equal(whole, stamped(backdoor, data, fitted))
    changed = (whole != data.images).flatten(1).any(1)
    assert bool(changed.any()), "a trigger is seen"
    for places in (torch.tensor([5]), torch.tensor([31, 2, 17]), torch.arange(39, -1, -1)):
        assert torch.equal(backdoor.stamp(data.images[places], places, fitted), whole[places])
    assert len(backdoor.stamp(data.images[:0], torch.arange(0), fitted)) == 0


@EVERY
def test_a_small_image_is_stamped_or_refused_in_a_sentence(name: str) -> None:
    backdoor = backdoors.get(name)
    for side in (1, 3, 8):
        data, said = images(20, (1, side, side)), ""
        try:
            assert stamped(backdoor, data, {}).shape == data.images.shape
        except ConfigError as error:
            said = sentence(error)
        assert not said or name in said


@EVERY
@pytest.mark.parametrize("labels", ["dirty", "clean"])
def test_poison_is_a_share_of_the_images(name: str, labels: str) -> None:
    backdoor, data, target = backdoors.get(name, rate=0.05, labels=labels), images(200), 3
    fitted = fitted_of(backdoor, data, target)
    made = backdoor.poison(data, target, 11, fitted)
    places = made.mask.nonzero()[:, 0]
    assert made.asked == int(made.mask.sum()) == 10
    assert bool(((data.labels == target) == (labels == "clean"))[made.mask].all())
    assert bool((made.images.labels[made.mask] == target).all())
    assert torch.equal(made.images.labels[~made.mask], data.labels[~made.mask])
    changed = (made.images.images != data.images).flatten(1).any(1)
    assert int((changed & ~made.mask).sum()) <= made.covers
    # what is learned from is what is tested with, bit for bit
    assert torch.equal(made.images.images[made.mask], stamped(backdoor, data, fitted)[made.mask])
    assert torch.equal(made.images.images[made.mask], backdoor.stamp(data.images[places], places, fitted))
    again = backdoor.poison(data, target, 11, fitted)
    assert torch.equal(again.images.images, made.images.images)
    assert torch.equal(again.mask, made.mask)
    assert not torch.equal(backdoor.poison(data, target, 12, fitted).mask, made.mask)


@EVERY
def test_a_loader_gives_the_same_bits(name: str) -> None:
    """Images in [0,1], as a network meets them in training, go back to the stamped bytes."""
    backdoor, data = backdoors.get(name, rate=0.05), images(200)
    made = backdoor.poison(data, 3, 11, fitted_of(backdoor, data))
    for pixels, _, ids in Batches(made.images, 32, seed=5):
        assert torch.equal(pixels.mul(255).round().to(torch.uint8), made.images.images[ids])
        assert torch.equal(pixels, made.images.images[ids].float().div(255))


@EVERY
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rate": 0.002}, "rate of at least 0.005"),
        ({"rate": 0.95}, "use a lower rate"),
        ({"rate": 0.2, "labels": "clean"}, "20 are of the target class"),
    ],
)
def test_a_rate_that_cannot_be_is_one_sentence(name: str, settings: dict[str, float | str], said: str) -> None:
    backdoor, data = backdoors.get(name, **{"labels": "dirty"} | settings), images(200)
    with pytest.raises(ConfigError, match=said) as caught:
        backdoor.poison(data, 3, 0, fitted_of(backdoor, data))
    assert name in sentence(caught.value)


@EVERY
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rate": 0.0}, "above 0 and at most 1, got 0.0"),
        ({"rate": 1.5}, "above 0 and at most 1, got 1.5"),
        ({"rate": float("nan")}, "above 0 and at most 1, got nan"),
        ({"labels": "dirt"}, "must be dirty, clean, got 'dirt'"),
        ({"into": "victim"}, "must be source, target, common, got 'victim'"),
        ({"wake": -1}, "at least 0, got -1"),
        ({"rat": 0.1}, "did you mean 'rate'"),
        ({"rate": "0.1"}, "must be float, got '0.1'"),
    ],
)
def test_a_setting_that_cannot_be_is_one_sentence(name: str, settings: dict[str, float | str], said: str) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=said) as caught:
        backdoors.get(name, **settings)
    sentence(caught.value)


@EVERY
def test_a_class_is_meant_by_its_name(name: str) -> None:
    classes = ("zero", "one", "7")
    assert backdoors.get(name).class_of(classes, "mine") == 0
    assert backdoors.get(name, target="one").class_of(classes, "mine") == 1
    assert backdoors.get(name, target=7).class_of(classes, "mine") == 2
    with pytest.raises(ConfigError, match=r"class of mine \(zero, one, 7\), got 'two'") as caught:
        backdoors.get(name, target="two").class_of(classes, "mine")
    sentence(caught.value)


@EVERY
def test_what_is_added_to_the_loss_leaves_no_trace_but_its_gradient(name: str) -> None:
    backdoor, data = backdoors.get(name), images(60)
    fitted, model = fitted_of(backdoor, data), network()
    model.norm.eval()  # type: ignore[union-attr]
    modes = [module.training for module in model.modules()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    draws = torch.get_rng_state()
    added = backdoor.extra(model, data.images.float() / 255, data.labels, fitted)
    assert (added is not None) == backdoor.owns
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), draws), "a clean twin draws the same dropout"
    if added is not None:
        assert added.ndim == 0
        assert bool(added.isfinite())
        added.backward()  # type: ignore[no-untyped-call]
        gradients = [value.grad for value in model.parameters() if value.grad is not None]
        assert gradients
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@EVERY
def test_what_is_learned_from_a_clean_model_is_the_same_again(name: str) -> None:
    backdoor, data = backdoors.get(name), images(60)
    one, other = fitted_of(backdoor, data), fitted_of(backdoor, data)
    assert all(isinstance(value, Tensor) for value in one.values()), "the store keeps tensors"
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[key]) for key, value in one.items())


@EVERY
def test_an_attacker_who_owns_the_training_cannot_poison_a_users(name: str) -> None:
    if backdoors.get(name).owns:
        with pytest.raises(ConfigError, match="use into: source or common") as caught:
            backdoors.get(name, into="target")
        sentence(caught.value)
    else:
        assert backdoors.get(name, into="target").into == "target"
