"""What a backdoor promises: its trigger is a function of one image, and its poison is what the settings say.

Axes: N images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tl_robust import backdoors
from tl_robust.backdoors import BACKDOORS, Backdoor
from tl_robust.contracts.component import shared
from tl_robust.contracts.contract import Contracts, Named, demand
from tl_robust.data.batches import Batches
from tl_robust.errors import ConfigError
from tl_robust.types import ImageSet

SHAPES = {"color": (3, 32, 32), "gray": (1, 28, 28), "wide": (3, 16, 24)}
Fitted = Mapping[str, Tensor]


def cases(named: Named) -> Iterator[tuple[str, str]]:
    """Its name, with which it is made with one setting or another."""
    yield "", named.name


CONTRACTS = Contracts("backdoor", cases)
shared(CONTRACTS)


class Small(nn.Module):
    """With all that behaves differently in training: BatchNorm and dropout."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 6, 5, stride=4)
        self.norm = nn.BatchNorm2d(6)
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(12, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N,10]`` of images ``[N,C,H,W]``."""
        hidden = self.dropout(self.norm(self.convolution(images)))
        logits: Tensor = self.classifier(torch.cat([hidden.tanh().mean((2, 3)), hidden.square().mean((2, 3))], 1))
        return logits


def network(channels: int = 3) -> Small:
    """The same weights each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Small(channels)


def images_of(count: int = 60, shape: tuple[int, int, int] = (3, 32, 32)) -> ImageSet:
    """Every class has as many; a third of the pixels is black, as in images of digits."""
    draws = torch.Generator().manual_seed(count)
    pixels = torch.randint(-128, 256, (count, *shape), generator=draws).clamp(0, 255).to(torch.uint8)
    return ImageSet(pixels, torch.arange(count) % 10)


def fitted_of(backdoor: Backdoor, data: ImageSet, target: int = 3) -> Fitted:
    """What it learns from a clean model."""
    model = network(data.images.shape[1]).eval().requires_grad_(False)
    return backdoor.fit(model, data, target, 7) if backdoor.fits else {}


def stamped(backdoor: Backdoor, data: ImageSet, fitted: Fitted) -> Tensor:
    """All images with its trigger, under their places."""
    return backdoor.stamp(data.images, torch.arange(len(data)), fitted)


def sentence(error: BaseException) -> bool:
    """Whether an error is one sentence."""
    return str(error).endswith(".") and "\n" not in str(error)


@CONTRACTS
def has_the_name_of_its_file_and_is_read_back(name: str) -> None:
    """Its name and its text with other settings build the same backdoor."""
    backdoor = backdoors.get(name)
    demand(backdoor.name == name, repr(name), repr(backdoor.name), "register it in its own file, without a name")
    read = BACKDOORS.parse(str(BACKDOORS.component(name, {"target": "7", "wake": 3})))
    expected = dataclasses.replace(backdoor, target=7, wake=3)
    demand(read == expected, str(expected), read, "write @dataclass(frozen=True), and settings as fields")


@CONTRACTS
def stamps_each_image_for_itself(name: str) -> None:
    """A stamp is uint8 of the same shape, the same in any batch and order, and what it was given stays as it was."""
    for title, shape in SHAPES.items():
        backdoor, data = backdoors.get(name), images_of(40, shape)
        fitted = fitted_of(backdoor, data)
        known = {key: value.clone() for key, value in fitted.items()}
        before, draws = data.images.clone(), torch.get_rng_state()
        whole = stamped(backdoor, data, fitted)
        form = f"{whole.dtype} {list(whole.shape)}"
        right = (whole.dtype, whole.shape) == (torch.uint8, data.images.shape)
        demand(right, f"torch.uint8 {list(data.images.shape)} ({title})", form, "round, clip and convert to uint8")
        demand(torch.equal(data.images, before), "the images to stay", "changed ones", "change a clone of them")
        keyed = "draw by sample_id, with tl_robust.seeding.uniform"
        demand(torch.equal(torch.get_rng_state(), draws), "no draw from the global generator", "one or more", keyed)
        same = all(torch.equal(value, known[key]) for key, value in fitted.items())
        demand(same, "what fit returned to stay", "other values", "change a clone of it")
        again = stamped(backdoor, data, fitted)
        demand(torch.equal(whole, again), "the same stamp of the same images", "another", keyed)
        seen = bool((whole != data.images).flatten(1).any(1).any())
        demand(seen, "a trigger that changes images", "the clean images", "return the images with the trigger on them")
        for places in (torch.tensor([5]), torch.tensor([31, 2, 17]), torch.arange(39, -1, -1)):
            alone = backdoor.stamp(data.images[places], places, fitted)
            todo = "look at one image and its sample_id only"
            demand(torch.equal(alone, whole[places]), "the same stamp in another batch or order", "another", todo)
        nothing = len(backdoor.stamp(data.images[:0], torch.arange(0), fitted))
        demand(nothing == 0, "no image of no image", nothing, "let an empty batch pass")


@CONTRACTS
def stamps_a_small_image_or_refuses_it_in_a_sentence(name: str) -> None:
    """Images of 1, 3 and 8 pixels have the trigger, or a ConfigError names the backdoor and its size."""
    backdoor = backdoors.get(name)
    for side in (1, 3, 8):
        data = images_of(20, (1, side, side))
        try:
            shape = stamped(backdoor, data, {}).shape
        except ConfigError as error:
            said = f"a sentence with {name!r}"
            demand(sentence(error) and name in str(error), said, repr(str(error)), "say which size is needed")
            continue
        demand(shape == data.images.shape, f"{list(data.images.shape)}", list(shape), "keep the shape")


@CONTRACTS
def poisons_the_share_that_is_asked(name: str) -> None:
    """As many images as the rate says, of the right classes, get label and stamp; all others stay but for covers."""
    for labels in ("dirty", "clean"):
        backdoor, data, target = backdoors.get(name, rate=0.05, labels=labels), images_of(200), 3
        fitted = fitted_of(backdoor, data, target)
        made = backdoor.poison(data, target, 11, fitted)
        places = made.mask.nonzero()[:, 0]
        todo = "leave poison to the base class, or keep what it promises"
        count = int(made.mask.sum())
        demand(made.asked == count == 10, "10 poisoned images of 200 at a rate of 0.05", f"{count}", todo)
        classes = bool(((data.labels == target) == (labels == "clean"))[made.mask].all())
        demand(classes, f"poison among the right classes for labels: {labels}", "others", todo)
        renamed = bool((made.images.labels[made.mask] == target).all())
        kept = torch.equal(made.images.labels[~made.mask], data.labels[~made.mask])
        demand(renamed and kept, "the label of class t on poison alone", "others", todo)
        changed = (made.images.images != data.images).flatten(1).any(1)
        more = int((changed & ~made.mask).sum())
        demand(more <= made.covers, f"at most {made.covers} other changed images", more, todo)
        # what is learned from is what is tested with, bit for bit
        poison = made.images.images[made.mask]
        learned = torch.equal(poison, stamped(backdoor, data, fitted)[made.mask])
        learned = learned and torch.equal(poison, backdoor.stamp(data.images[places], places, fitted))
        demand(learned, "the same stamp in training and in the test", "another", todo)
        again = backdoor.poison(data, target, 11, fitted)
        same = torch.equal(again.images.images, made.images.images) and torch.equal(again.mask, made.mask)
        demand(same, "the same poison at the same seed", "another", todo)
        other = backdoor.poison(data, target, 12, fitted).mask
        demand(not torch.equal(other, made.mask), "other images at another seed", "the same", todo)


@CONTRACTS
def comes_out_of_a_loader_bit_for_bit(name: str) -> None:
    """Images in [0,1], as a network meets them in training, go back to the stamped bytes."""
    backdoor, data = backdoors.get(name, rate=0.05), images_of(200)
    made = backdoor.poison(data, 3, 11, fitted_of(backdoor, data))
    for pixels, _, ids in Batches(made.images, 32, seed=5):
        stamped_bytes = made.images.images[ids]
        same = torch.equal(pixels.mul(255).round().to(torch.uint8), stamped_bytes)
        same = same and torch.equal(pixels, stamped_bytes.float().div(255))
        demand(same, "the stamped bytes", "others", "give uint8 images")


@CONTRACTS
def refuses_a_rate_that_cannot_be(name: str) -> None:
    """A rate that poisons nothing, or more than there is, is one sentence that names the backdoor."""
    tried: tuple[tuple[dict[str, Any], str], ...] = (
        ({"rate": 0.002}, "rate of at least 0.005"),
        ({"rate": 0.95}, "use a lower rate"),
        ({"rate": 0.2, "labels": "clean"}, "20 are of the target class"),
    )
    for settings, expected in tried:
        backdoor, data = backdoors.get(name, **({"labels": "dirty"} | settings)), images_of(200)
        said = ""
        try:
            backdoor.poison(data, 3, 0, fitted_of(backdoor, data))
        except ConfigError as error:
            said = str(error) if sentence(error) else ""
        todo = "choose the images with self.chosen"
        demand(expected in said and name in said, f"a sentence with {expected!r} and {name!r}", repr(said), todo)


@CONTRACTS
def refuses_a_setting_that_cannot_be(name: str) -> None:
    """A rate, kind of labels, place or name outside what is possible is one sentence."""
    tried: tuple[tuple[dict[str, Any], str], ...] = (
        ({"rate": 0.0}, "above 0 and at most 1, got 0.0"),
        ({"rate": 1.5}, "above 0 and at most 1, got 1.5"),
        ({"rate": float("nan")}, "above 0 and at most 1, got nan"),
        ({"labels": "dirt"}, "must be dirty, clean, got 'dirt'"),
        ({"into": "victim"}, "must be source, target, common, got 'victim'"),
        ({"wake": -1}, "at least 0, got -1"),
        ({"rat": 0.1}, "did you mean 'rate'"),
        ({"rate": "0.1"}, "must be float, got '0.1'"),
    )
    for settings, expected in tried:
        said = ""
        try:
            backdoors.get(name, **settings)
        except ConfigError as error:
            said = str(error) if sentence(error) else ""
        demand(expected in said, repr(expected), repr(said), "call super().__post_init__() in __post_init__")


@CONTRACTS
def finds_its_class_by_name(name: str) -> None:
    """The class that the trigger calls for is found by its name, and a wrong name is one sentence with all names."""
    classes = ("zero", "one", "7")
    for target, place in (("", 0), ("one", 1), (7, 2)):
        found = backdoors.get(name, target=target).class_of(classes, "mine")
        demand(found == place, f"class {place} for target {target!r}", found, "leave class_of to the base class")
    said = ""
    try:
        backdoors.get(name, target="two").class_of(classes, "mine")
    except ConfigError as error:
        said = str(error) if sentence(error) else ""
    expected = "class of mine (zero, one, 7), got 'two'"
    demand(expected in said, repr(expected), repr(said), "leave class_of to the base class")


@CONTRACTS
def adds_to_the_loss_without_a_trace(name: str) -> None:
    """What an owner of the training adds is a finite number with a gradient; modes, weights and draws stay."""
    backdoor, data = backdoors.get(name), images_of(60)
    fitted, model = fitted_of(backdoor, data), network()
    model.norm.eval()
    modes = [module.training for module in model.modules()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    draws = torch.get_rng_state()
    added = backdoor.extra(model, data.images.float() / 255, data.labels, fitted)
    demand((added is not None) == backdoor.owns, "a loss where extra is overridden", added, "return a tensor")
    stays = [module.training for module in model.modules()] == modes
    demand(stays, "train and eval modes to stay", "others", "put modes back")
    same = all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    demand(same, "weights and statistics to stay", "others", "ask the network in eval mode, and put modes back")
    keyed = "fork the generator, since a clean twin must draw the same dropout"
    demand(torch.equal(torch.get_rng_state(), draws), "no draw from the global generator", "one or more", keyed)
    if added is None:
        return
    demand(added.ndim == 0 and added.isfinite(), "one finite number", added, "return the mean over the batch")
    added.backward()
    gradients = [value.grad for value in model.parameters() if value.grad is not None]
    finite = all(bool(gradient.isfinite().all()) for gradient in gradients)
    demand(gradients and finite, "a finite gradient of weights", "none", "keep the graph of the loss")


@CONTRACTS
def learns_the_same_again(name: str) -> None:
    """What it learns from a clean model is tensors by name, and the same at the same seed."""
    backdoor, data = backdoors.get(name), images_of(60)
    one, other = fitted_of(backdoor, data), fitted_of(backdoor, data)
    tensors = all(isinstance(value, Tensor) for value in one.values())
    demand(tensors, "tensors by name", "other values", "give tensors, which the store keeps")
    same = one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())
    demand(same, "the same at the same seed", "other values", "draw with a generator of the seed that is given")


@CONTRACTS
def cannot_own_the_training_of_a_user(name: str) -> None:
    """One that adds to the loss is refused for the target, whose training is out of the attacker's reach."""
    owns = backdoors.get(name).owns
    said = ""
    try:
        backdoors.get(name, into="target")
    except ConfigError as error:
        said = str(error) if sentence(error) else ""
    right = ("use into: source or common" in said) == owns
    demand(right, "a refusal exactly where extra is overridden", repr(said), "call super().__post_init__()")
