"""Several models as one surrogate.

Axes: N samples, L classes, S models.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.errors import ConfigError
from tl_robust.models.guard import Ask, Guard


class Ensemble(nn.Module):
    """Images to the fused logits ``[N,L]`` of several models, so that any attack can use them as one surrogate.

    It has no ``classifier``, so an objective that looks at features refuses it.

    Args:
        models: At least one model, all with the same classes in the same order.
        weights: One number of 0 or more for each model; they are divided by their sum. None weighs all the same.
        fuse: ``logits``: their weighted mean (Dong et al., "Boosting adversarial attacks with momentum", CVPR 2018).
            ``probabilities``: the logarithm of the weighted mean of the probabilities, whose cross entropy is that of
            the mean prediction (Liu et al., "Delving into transferable adversarial examples and black-box attacks",
            ICLR 2017).

    Raises:
        ConfigError: There is no model, the weights do not fit, or ``fuse`` is unknown.
    """

    weights: Tensor

    def __init__(
        self, models: Sequence[nn.Module], weights: Sequence[float] | None = None, fuse: str = "logits"
    ) -> None:
        super().__init__()
        numbers = [1.0] * len(models) if weights is None else [float(weight) for weight in weights]
        if not models:
            raise ConfigError("an ensemble needs at least one model, got none.")
        if len(numbers) != len(models) or min(numbers) < 0 or not 0 < sum(numbers) < math.inf:
            raise ConfigError(
                f"an ensemble of {len(models)} models needs as many weights of 0 or more, not all 0, got {numbers}."
            )
        if fuse not in ("logits", "probabilities"):
            raise ConfigError(f"fuse of an ensemble must be 'logits' or 'probabilities', got {fuse!r}.")
        self.models = nn.ModuleList(models)
        self.fuse = fuse
        share = torch.tensor(numbers, dtype=torch.float64) / sum(numbers)
        self.register_buffer("weights", share, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Fused logits ``[N,L]`` of images ``[N,C,H,W]`` in [0,1].

        Raises:
            ConfigError: The models differ in their number of classes.
        """
        logits_of_models = [model(images) for model in self.models]
        classes = [logits.shape[1] for logits in logits_of_models]
        if len(set(classes)) > 1:
            raise ConfigError(f"the models of an ensemble must have the same classes, got {classes} of them.")
        logits_SNL = torch.stack(logits_of_models)
        weights = self.weights.to(logits_SNL)[:, None, None]
        if self.fuse == "logits":
            return (weights * logits_SNL).sum(0)
        return torch.logsumexp(logits_SNL.log_softmax(2) + weights.log(), dim=0)


class Voting(Guard):
    """Several networks that answer together, so that an attacker who knows them may ask each alone.

    Args:
        models: At least one.
        fuse: What the mean is taken of; see :class:`Ensemble`.
    """

    def __init__(self, models: Sequence[nn.Module], fuse: str = "logits") -> None:
        super().__init__(Ensemble(models, fuse=fuse))
        self.members = nn.ModuleList(models)
        self._asked: nn.Module | None = None

    @override
    def inside(self, images: Tensor, ask: Ask) -> Tensor:
        return super().inside(images, ask) if self._asked is None else self._asked(images)

    @contextmanager
    def alone(self, number: int) -> Iterator[None]:
        """Let one network answer, by its number from 1; 0: the mean probabilities of all.

        Raises:
            ConfigError: There is no such network.
        """
        if number > len(self.members):
            raise ConfigError(f"there is no member {number} of an ensemble of {len(self.members)}.")
        every = Ensemble(list(self.members), fuse="probabilities").train(self.training)
        # not by an attribute of its own, since that would make it a part of this module
        vars(self)["_asked"] = self.members[number - 1] if number else every
        try:
            yield
        finally:
            vars(self)["_asked"] = None
