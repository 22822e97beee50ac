"""B forgets a part of what it starts from.

Axes: N images, O channels or features that a layer gives, I that it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import DEFENSES, Defense, Task
from tl_robust.errors import ConfigError
from tl_robust.models.base import blocks, classifier_names, fresh
from tl_robust.models.features import logits
from tl_robust.registry import Scalar
from tl_robust.types import ImageSet


@DEFENSES.register
@dataclass(frozen=True)
class Reset(Defense):
    """Model isolation: before B is trained, a part of the weights that it has from its parent becomes random.

    One of three ways: fresh weights for the last blocks, noise on all weights, or fresh weights where the target needs
    those of the parent least. The last is after Zhang et al., "ReMoS: Reducing Defect Inheritance in Transfer Learning
    via Relevant Model Slicing", ICSE 2022: of each layer those weights go that are large and covered little, by the
    difference of both ranks. Here a weight's coverage is the mean over held-out images of the product of the mean
    absolute activations at its two ends; the paper counts the images that activate both.

    Attributes:
        blocks: So many of the last blocks, and the last layer, get fresh weights, BatchNorm statistics included.
        noise: Gaussian noise of this many standard deviations of each weight tensor is added to it; 0: none.
        relevance: Share of the weights of each convolution and linear layer that gets fresh ones; 0: none.
    """

    INHERITS: ClassVar[bool] = True

    blocks: int = 1
    noise: float = 0.0
    relevance: float = 0.0

    def __post_init__(self) -> None:
        if self.blocks < 1 or not 0 <= self.noise <= 100 or not 0 <= self.relevance <= 1:
            raise ConfigError(f"reset needs blocks from 1, noise from 0 to 100 and relevance from 0 to 1, got {self}.")
        if (self.blocks != 1) + (self.noise > 0) + (self.relevance > 0) > 1:
            raise ConfigError(f"reset needs one of blocks, noise and relevance, got {self}: leave the others out.")

    @override
    @torch.no_grad()
    def initialize(self, task: Task, parent: Mapping[str, Tensor] | None, validation: ImageSet | None) -> None:
        if self.noise:
            for weight in task.network.parameters():
                weight.add_(torch.randn_like(weight), alpha=self.noise * float(weight.std(correction=0)))
        elif self.relevance:
            self._forget_the_irrelevant(task.network, validation)
        else:
            self._forget_the_last(task)

    @override
    def check(self, task: Task, samples: int, options: Mapping[str, Scalar]) -> None:
        if not self.noise and not self.relevance:
            self._last(task)

    def _last(self, task: Task) -> set[nn.Module]:
        """The modules of the last blocks, which must be trained."""
        known = blocks(task.network)
        if self.blocks > len(known):
            raise ConfigError(f"reset has blocks={self.blocks}, and this network has {len(known)}: choose fewer.")
        last = {module for block in known[-self.blocks :] for module in block.modules()}
        check_trained(self, task, last & set(task.network.modules()))
        return last

    def _forget_the_last(self, task: Task) -> None:
        network, last = task.network, self._last(task)
        names = classifier_names(network)
        for name, module in network.named_modules():
            if module in last:
                names |= {f"{name}.{key}" for key in module.state_dict()}
        state = fresh(network).state_dict()
        network.load_state_dict({name: state[name] for name in names}, strict=False)

    def _forget_the_irrelevant(self, network: nn.Module, validation: ImageSet | None) -> None:
        if validation is None:
            raise ConfigError("reset by relevance needs images: task.start_from(parent, validation=ImageSet(...)).")
        coverage, state = covered(network, validation.images), fresh(network).state_dict()
        for name, cover in coverage.items():
            weight = network.get_parameter(f"{name}.weight")
            by_cover = cover.view(*cover.shape, *[1] * (weight.ndim - 2)).expand_as(weight)
            needless = _ranks(weight.abs()) - _ranks(by_cover)
            chosen = needless.argsort(descending=True, stable=True)[: round(self.relevance * weight.numel())]
            weight.view(-1)[chosen] = state[f"{name}.weight"].to(weight).view(-1)[chosen]

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        return (
            Adaptive("Nothing stands around the network, so that its own gradient is right."),
            Adaptive("Black box: the attacker resets and trains a B of his own, from A.", view="shadow"),
            Adaptive("A trigger with the features of class t is learned below what is reset.", backdoor="latent"),
        )


def check_trained(defense: Defense, task: Task, modules: Set[nn.Module]) -> None:
    """Check that what a defense makes random is trained after that.

    Raises:
        ConfigError: The strategy trains none of these modules in any epoch.
    """
    if all(modules <= set(task.frozen(epoch)) for epoch in range(task.recipe.epochs)):
        raise ConfigError(f"{defense} makes blocks random that this strategy never trains: leave one of them out.")


def covered(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """How much both ends of each weight are active on images, by the name of its layer.

    Args:
        network: Its convolutions and linear layers are asked, in eval mode.
        images: uint8 ``[N,C,H,W]``.

    Returns:
        ``[O,I]``: means over images of the product of mean absolute activations; a grouped layer has the I of a group.
    """
    sums: dict[str, Tensor] = {}

    def count(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        before, after = (_activity(tensor) for tensor in (inputs[0], output))
        groups = getattr(layer, "groups", 1)
        pairs = zip(after.chunk(groups, 1), before.chunk(groups, 1), strict=True)
        both = torch.cat([one.T @ other for one, other in pairs]) / len(images)
        sums[name] = sums.get(name, torch.zeros_like(both)) + both

    with ExitStack() as stack:
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                stack.callback(layer.register_forward_hook(partial(count, name)).remove)
        logits(network, images)
    return sums


def _activity(tensor: Tensor) -> Tensor:
    """Mean absolute activation of each channel ``[N,C,H,W]`` or feature ``[N,F]``."""
    return tensor.abs().flatten(2).mean(2) if tensor.ndim > 2 else tensor.abs()


def _ranks(values: Tensor) -> Tensor:
    """The rank of each value from 0, flat; of equal ones the first comes first."""
    order = values.flatten().argsort(stable=True)
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
