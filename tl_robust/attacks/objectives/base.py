"""What an attack maximizes: a loss of the surrogate for each sample, so that a sample is free of its batch.

Axes: N samples, C channels, H height, W width, L classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tl_robust.attacks.oracle import HALF, Oracle
from tl_robust.attacks.oracle import Model as Model
from tl_robust.attacks.problem import Problem
from tl_robust.errors import ConfigError
from tl_robust.registry import Registry


@dataclass(frozen=True)
class Objective(ABC):
    """Base of all objectives; a subclass writes :meth:`loss`, and the rest where it looks at more than logits.

    Attributes:
        FLAT: At the clean image the loss has no gradient: an attack must start elsewhere.
        INSIDE: It looks at more of the surrogate than its logits.
        OWN: The surrogate's own prediction stands for the label.
        POOL: It needs other images than the batch: :attr:`Problem.fitted` then holds some, ``[M,C,H,W]``.
        VARIES: Each restart has another target.
    """

    FLAT: ClassVar[bool] = False
    INSIDE: ClassVar[bool] = False
    OWN: ClassVar[bool] = False
    POOL: ClassVar[bool] = False
    VARIES: ClassVar[bool] = False

    @abstractmethod
    def loss(self, observed: Tensor, reference: Tensor) -> Tensor:
        """What is maximized, ``[N]``.

        Args:
            observed: What :meth:`observe` saw at the images, ``[N, ...]``.
            reference: What :meth:`reference` found, ``[N, ...]``.
        """

    def observe(self, model: Model, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``[N,L]``, and what the loss looks at, ``[N, ...]``: here the logits too.

        Args:
            model: The surrogate as it is asked: its logits are checked.
            images: ``[N,C,H,W]``.
        """
        logits = model(images)
        return logits, logits

    def reference(self, problem: Problem) -> Tensor:
        """What the loss compares with, ``[N, ...]``: here the label.

        Args:
            problem: It has the surrogate, the clean images, the labels, the restart and the keyed random draws.
        """
        return problem.label


OBJECTIVES: Registry[type[Objective]] = Registry("objective", "tl_robust.attacks.objectives")


def capture(model: Model, images: Tensor, module: nn.Module, objective: str) -> tuple[Tensor, Tensor]:
    """Logits, and what ``module`` is given in the same forward pass, ``[N,D]``.

    Raises:
        ConfigError: The forward pass never calls the module.
    """
    seen: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda layer, inputs: seen.extend(inputs[:1]))
    try:
        logits = model(images)
    finally:
        handle.remove()
    if not seen:
        raise ConfigError(
            f"objective {objective!r} saw no features: {model_name(model)} never calls its module 'classifier' with "
            "them in a forward pass; use objective 'label' or 'prediction'."
        )
    return logits, whole(seen[-1].flatten(1))


def whole(features: Tensor) -> Tensor:
    """Features in float32 or more: a sum of squares of thousands has no place in half precision."""
    return features.float() if features.dtype in HALF else features


def classifier(model: Model, objective: str) -> nn.Module:
    """The last layer of a surrogate, whose input is the features.

    Raises:
        ConfigError: The surrogate does not say what it is.
    """
    last = getattr(model, "classifier", None)
    if not isinstance(last, nn.Module):
        raise ConfigError(
            f"objective {objective!r} needs a surrogate with a module 'classifier', its last layer, whose input is the "
            f"features; {model_name(model)} has none: use objective 'label' or 'prediction'."
        )
    return last


def model_name(model: Model) -> str:
    """As the user knows it: the bench wraps a network for the Trainer."""
    model = model.model if isinstance(model, Oracle) else model
    return type(getattr(model, "network", model)).__name__


@torch.no_grad()
def ranked_classes(model: Model, clean: Tensor, label: Tensor) -> Tensor:
    """Classes other than the label, int64 ``[N,L-1]``, the most probable on the clean image first; no refusal."""
    logits = model(clean)
    order = logits[:, : logits.shape[1] - Oracle.of(model).rejects].argsort(dim=1, descending=True, stable=True)
    return order[order != label[:, None]].view(len(clean), -1)
