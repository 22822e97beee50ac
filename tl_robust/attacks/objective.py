"""What an attack maximizes: a loss of the surrogate, per sample and summed, so that a sample is free of its batch.

Axes: N samples, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tl_robust.errors import ConfigError, UnknownNameError

Model = Callable[[Tensor], Tensor]
Loss = Callable[[Tensor], Tensor]


def by_label(model: Model, images: Tensor, labels: Tensor | None) -> Loss:
    """Cross entropy of the true class, or of A's own prediction where A has other labels."""
    return by_prediction(model, images, labels) if labels is None else lambda x: _cross_entropy(model(x), labels)


def by_prediction(model: Model, images: Tensor, labels: Tensor | None) -> Loss:
    """Cross entropy of the class that A itself predicts on the clean image: needs no label."""
    with torch.no_grad():
        predicted = model(images).argmax(1)
    return lambda x: _cross_entropy(model(x), predicted)


def by_feature(model: Model, images: Tensor, labels: Tensor | None) -> Loss:
    """Squared distance of A's features, the input of its last layer, from those of the clean image."""
    last = getattr(model, "classifier", None)
    if not isinstance(last, nn.Module):
        raise ConfigError(
            "objective 'feature' needs a surrogate with a module 'classifier', its last layer, whose input is the "
            f"features; {_name(model)} has none: use objective 'label' or 'prediction'."
        )

    def features(x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        handle = last.register_forward_pre_hook(lambda module, inputs: seen.extend(inputs[:1]))
        try:
            model(x)
        finally:
            handle.remove()
        if not seen:
            raise ConfigError(
                f"objective 'feature' saw no features: {_name(model)} never calls its module 'classifier' with them "
                "in a forward pass; use objective 'label' or 'prediction'."
            )
        return seen[-1].flatten(1)

    with torch.no_grad():
        clean = features(images)
    return lambda x: (features(x) - clean).square().sum()


def _name(model: Model) -> str:
    return type(getattr(model, "network", model)).__name__  # the bench wraps a network for the Trainer


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(logits, labels, reduction="sum")


OBJECTIVES = {"label": by_label, "prediction": by_prediction, "feature": by_feature}


def get_objective(name: str) -> Callable[[Model, Tensor, Tensor | None], Loss]:
    """The objective of a name.

    Raises:
        UnknownNameError: No such objective.
    """
    if name not in OBJECTIVES:
        raise UnknownNameError("objective", name, OBJECTIVES)
    return OBJECTIVES[name]
