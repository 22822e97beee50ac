"""Away from the features of the clean image; and where features of any layer are read."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.attacks.objectives.base import OBJECTIVES, Model, Objective, capture, classifier, model_name, whole
from tl_robust.attacks.problem import Problem
from tl_robust.errors import ConfigError


def features(model: Model, images: Tensor, block: int, objective: str) -> tuple[Tensor, Tensor]:
    """Logits ``[N,L]`` and what a layer gives in the same forward pass, ``[N,D]``.

    Args:
        model: The surrogate.
        images: ``[N,C,H,W]`` in [0,1].
        block: 0 for the input of the last layer; from 1 on the output of a block of the surrogate.
        objective: Name for messages.

    Raises:
        ConfigError: The surrogate has no such layer, or its forward pass never runs it.
    """
    if block == 0:
        return capture(model, images, classifier(model, objective), objective)
    return _block_output(model, images, _block(model, block, objective), f"block {block} of objective {objective!r}")


def check_block(block: int, least: int, objective: str) -> None:
    """Refuse a number that no surrogate has.

    Raises:
        ConfigError: It is below ``least``.
    """
    if block < least:
        meaning = "0 for the input of the last layer or 1 and more" if least == 0 else "1 and more"
        raise ConfigError(f"block of objective {objective!r} must be {meaning} for a block's output, got {block}.")


def _block(model: Model, number: int, objective: str) -> nn.Module:
    owner = next((holder for holder in (model, getattr(model, "network", None)) if hasattr(holder, "blocks")), None)
    if owner is None:
        raise ConfigError(
            f"objective {objective!r} needs a surrogate with 'blocks', its modules in forward order without the "
            f"classifier; {model_name(model)} has none: use objective 'label' or 'prediction'."
        )
    blocks: list[nn.Module] = list(owner.blocks)
    if number > len(blocks):
        raise ConfigError(
            f"objective {objective!r} asks for block {number}, but {model_name(model)} has {len(blocks)}: "
            f"choose one from 1 to {len(blocks)}."
        )
    return blocks[number - 1]


def _block_output(model: Model, images: Tensor, block: nn.Module, what: str) -> tuple[Tensor, Tensor]:
    """Logits and the block's output ``[N,D]``.

    A block may be a mere list of the network's modules, which the network never calls: then the output is that of the
    module in it which ran last.
    """
    seen: dict[bool, Tensor] = {}  # True: what the block itself gave, False: the module inside it that ran last

    def keep(module: nn.Module, given: object, result: object) -> None:
        if isinstance(result, Tensor):
            seen[module is block] = result

    with ExitStack() as stack:
        for module in block.modules():
            stack.callback(module.register_forward_hook(keep).remove)
        logits = model(images)
    if not seen:
        raise ConfigError(f"{what}: {model_name(model)} runs none of its modules in a forward pass, choose another.")
    return logits, whole((seen[True] if True in seen else seen[False]).flatten(1))


@OBJECTIVES.register
@dataclass(frozen=True)
class Feature(Objective):
    """Squared distance of A's features from those of the clean image.

    Attributes:
        block: 0 for the input of A's last layer; from 1 on the output of that block.
    """

    INSIDE: ClassVar[bool] = True
    FLAT: ClassVar[bool] = True
    block: int = 0

    def __post_init__(self) -> None:
        check_block(self.block, 0, "feature")

    def observe(self, model: Model, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and features ``[N,D]``; see :meth:`Objective.observe`."""
        return features(model, images, self.block, "feature")

    def reference(self, problem: Problem) -> Tensor:
        """Features of the clean image; see :meth:`Objective.reference`."""
        with torch.no_grad():
            return self.observe(problem.model, problem.clean)[1]

    @override
    def loss(self, observed: Tensor, reference: Tensor) -> Tensor:
        return (observed - reference).square().sum(1)
