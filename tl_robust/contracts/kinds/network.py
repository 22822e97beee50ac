"""What a network promises: logits of images in [0,1], a last layer that it names, and a state that is all of it.

Axes: N images, C channels, H height, W width, L classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tl_robust.contracts.component import shared
from tl_robust.contracts.contract import Contracts, Named, NotAskedError, demand
from tl_robust.errors import ConfigError, TLRobustError
from tl_robust.models import NETWORKS, build, copy_fitting
from tl_robust.models.base import blocks, classifier_names
from tl_robust.registry import Scalar
from tl_robust.seeding import generator

SHAPE = (3, 32, 32)
OTHER_SHAPES = ((1, 28, 28), (3, 48, 48), (3, 64, 64))


@dataclass(frozen=True)
class Maker:
    """A network by name, with settings.

    Attributes:
        name: Registered name.
        settings: Those that differ from the defaults.
    """

    name: str
    settings: Mapping[str, Scalar] = field(default_factory=dict)

    def __call__(self, classes: int = 10, shape: tuple[int, int, int] = SHAPE) -> nn.Module:
        """One with fresh weights."""
        return build(NETWORKS.component(self.name, self.settings), shape, classes)


def cases(named: Named) -> Iterator[tuple[str, Maker]]:
    """The network with its own settings."""
    maker = Maker(named.name)
    try:
        with torch.device("meta"):
            maker()
    except ConfigError as error:
        raise NotAskedError(f"It cannot be made without more settings ({str(error).rstrip('.')}).") from error
    yield "", maker


CONTRACTS = Contracts("network", cases)
shared(CONTRACTS)


def images_of(count: int = 4, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    """Images in [0,1]."""
    return torch.rand(count, *shape, generator=generator("images"))


def moved(network: nn.Module) -> nn.Module:
    """BatchNorm has scales, shifts and statistics of its own, so that a mix-up shows."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            for place, value in enumerate((part.weight, part.bias, part.running_mean, part.running_var)):
                if value is not None:
                    value.data.copy_(torch.rand(value.shape, generator=generator(place)) + 0.5)
    return network


@CONTRACTS
def takes_images_in_both_modes(make: Maker) -> None:
    """A fresh network trains; in either mode it gives finite float32 logits ``[N,L]`` and leaves the images alone."""
    network, x = make(7), images_of()
    before = x.clone()
    demand(network.training, "a fresh network in training mode", "eval mode", "leave the mode to its user")
    for mode in (True, False):
        logits = network.train(mode)(x)
        form = f"{logits.dtype} {list(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        right = isinstance(logits, Tensor) and (logits.shape, logits.dtype) == ((4, 7), torch.float32)
        demand(right, "logits, torch.float32 [4, 7]", form, "return the output of the last layer alone")
        demand(logits.isfinite().all(), "finite logits", "others", "guard each division and logarithm")
    demand(torch.equal(x, before), "the images to stay", "changed ones", "use no in-place operation on them")


@CONTRACTS
def takes_other_shapes_or_says_which(make: Maker) -> None:
    """Gray images and other sides give logits too, or a ConfigError says which shapes the network takes."""
    for shape in OTHER_SHAPES:
        try:
            logits = make(7, shape).eval()(images_of(2, shape))
        except TLRobustError:
            continue
        except Exception as error:  # noqa: BLE001  (torch raises many kinds, where layers do not fit)
            got = f"{type(error).__name__} ({(str(error).splitlines() or [''])[0]:.60})"
            todo = "compute sizes from image_shape, or raise ConfigError in __init__"
            demand(False, f"logits of images {list(shape)}, or a sentence", got, todo)
        demand(logits.shape == (2, 7), f"logits [2, 7] of images {list(shape)}", list(logits.shape), "pool over space")


@CONTRACTS
def is_deterministic_in_eval_mode(make: Maker) -> None:
    """In eval mode the same images give the same logits, alone and in a batch, and nothing in the network moves."""
    network, x = make().eval(), images_of()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    logits = network(x)
    todo = "use dropout and statistics of the batch in training mode alone"
    demand(torch.equal(network(x), logits), "the same logits again", "others", todo)
    alone = torch.allclose(network(x[:1]), logits[:1], rtol=1e-4, atol=1e-5)
    demand(alone, "the same logits of an image alone", "others", todo)
    kept = all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    demand(kept, "its state to stay", "another", todo)


@CONTRACTS
def lets_the_gradient_reach_images_and_weights(make: Maker) -> None:
    """The loss has a finite gradient with respect to every image, which attacks need, and to every weight."""
    network, x = make(), images_of().requires_grad_()
    cross_entropy(network(x), torch.arange(4)).backward()
    gradient = torch.zeros(4, 1) if x.grad is None else x.grad.flatten(1)
    reached = bool(gradient.isfinite().all()) and float(gradient.abs().amax(1).min()) > 0
    demand(reached, "a finite gradient of every image", "none", "round, detach and index nothing on the way")
    idle = [key for key, value in network.named_parameters() if value.grad is None or not value.grad.isfinite().all()]
    demand(not idle, "a finite gradient of every weight", f"none of {idle[:3]}", "remove weights that are not used")


@CONTRACTS
def has_a_state_dict_that_is_all_of_it(make: Maker) -> None:
    """Another network with this state dict gives the same logits."""
    network, other = moved(make()).eval(), make().eval()
    todo = "register every tensor as a parameter or a buffer"
    demand(not torch.equal(other(images_of()), network(images_of())), "other logits of other weights", "the same", todo)
    other.load_state_dict(network.state_dict())
    demand(torch.equal(other(images_of()), network(images_of())), "the same logits of the same state", "others", todo)


@CONTRACTS
def draws_fresh_weights_from_the_global_generator(make: Maker) -> None:
    """The same seed gives the same weights, another gives others."""
    states = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            states.append({key: value.clone() for key, value in make().state_dict().items()})
    same = all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    demand(same, "the same weights at the same seed", "others", "draw from torch's global generator alone")
    other = any(not torch.equal(value, states[2][key]) for key, value in states[0].items())
    demand(other, "other weights at another seed", "the same", "fix no seed in __init__")


@CONTRACTS
def can_be_built_without_memory(make: Maker) -> None:
    """On the device ``meta`` nothing is drawn and nothing allocated: a bench checks its networks so when planned."""
    before = torch.get_rng_state()
    with torch.device("meta"):
        network = make()
    devices = {value.device.type for value in network.state_dict().values()}
    demand(devices == {"meta"}, "every tensor on the device meta", devices, "give tensors no device of their own")
    demand(torch.equal(torch.get_rng_state(), before), "no draw", "one or more", "draw inside torch.nn.init")
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    same = shapes == {key: value.shape for key, value in make().state_dict().items()}
    demand(same, "the same shapes as elsewhere", "others", "let no shape depend on values")


@CONTRACTS
def keeps_its_normalization_out_of_its_weights(make: Maker) -> None:
    """Mean and spread of the images are no weights, which a checkpoint of another would overwrite."""
    names = [key for key in make().state_dict() if "normalize" in key]
    demand(
        not names, "no normalization in the state dict", names, "use tl_robust.models.Normalize, or persistent=False"
    )


@CONTRACTS
def names_its_last_layer(make: Maker) -> None:
    """Its attribute ``classifier`` is the last layer: with other classes that layer alone is fresh."""
    parent, child = moved(make(10)), make(7)
    todo = "set self.classifier to the last layer, a module with as many outputs as classes"
    last = getattr(child, "classifier", None)
    demand(isinstance(last, nn.Module), "a module classifier", type(last).__name__, todo)
    names = classifier_names(child)
    fresh = copy_fitting(parent.state_dict(), child)
    weights = [key for key, _ in child.named_parameters() if key in names]
    demand(fresh == sorted(weights), f"fresh weights {sorted(weights)} with other classes", fresh, todo)
    left = copy_fitting(parent.state_dict(), make(10))
    demand(not left, "all weights of a parent with the same classes", f"none for {left}", todo)


@CONTRACTS
def names_its_blocks(make: Maker) -> None:
    """Its property ``blocks`` holds modules in forward order, without the classifier, with no weight in two of them."""
    network = make()
    parts = blocks(network)
    todo = "return a list of modules in forward order, without the classifier"
    modules = parts and all(isinstance(part, nn.Module) for part in parts)
    demand(modules, "a list of modules", [type(part).__name__ for part in parts], todo)
    ids = [id(value) for part in parts for value in part.parameters()]
    demand(len(ids) == len(set(ids)), "each weight in one block", "one in two of them", todo)
    own = {key for key, _ in network.named_parameters()}
    last = classifier_names(network)
    inside = {key for key, value in network.named_parameters() if id(value) in ids}
    demand(not inside & last, "blocks without the classifier", sorted(inside & last), todo)
    covered = len(inside | (last & own)) / max(1, len(own))
    demand(covered > 0.8, "blocks and classifier to hold nearly all weights", f"{100 * covered:.0f} % of them", todo)
