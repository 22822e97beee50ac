"""How an attacker who knows the guard gets past it: by the gradient of something else with nearly the same logits.

Axes: N samples, C channels, H height, W width, L logits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tl_robust.attacks.oracle import Model, Oracle
from tl_robust.attacks.reach import Guarded, guard_in
from tl_robust.errors import ConfigError
from tl_robust.registry import Registry


@dataclass(frozen=True)
class Through(ABC):
    """Base of all ways; the fields of a subclass are its settings.

    Only gradients, and the loss that is climbed, are those of the way. Whether an image fools the model, when an attack
    may stop and which image it keeps is asked of the guarded model itself: see :class:`Problem`.
    """

    @abstractmethod
    def logits(self, guard: Guarded, images: Tensor) -> Tensor:
        """Logits ``[N,L]`` of images ``[N,C,H,W]`` whose gradient reaches the images.

        Args:
            guard: It asks each of its links, in their order, by the function that it is given.
            images: In [0,1].
        """

    def of(self, model: Model) -> Model:
        """The function that gradients are taken of.

        Raises:
            ConfigError: The model has no guard, so that there is nothing to go around.
        """
        guard = guard_in(model)
        if guard is None:
            raise ConfigError(
                f"through {self.title!r} goes around the guard of a defense, which {type(model).__name__} does not "
                "have: give the guarded model, or leave through at 'exact'."
            )
        return _Way(guard, self)

    @property
    def title(self) -> str:
        """Its registered name, which is its file's."""
        return type(self).__module__.rpartition(".")[2]


THROUGH: Registry[type[Through]] = Registry("way through a guard", "tl_robust.attacks.through")


def gradients_of(model: Oracle, through: str) -> Oracle:
    """What an attack takes gradients of: the model itself for ``exact``, which is then asked once for both.

    Args:
        model: The model that is to be fooled.
        through: A name of this folder, with settings.
    """
    function = THROUGH.parse(through).of(model.model)
    return model if function is model.model else Oracle(function, model.name)


class _Way(nn.Module):
    """A guarded model as a way sees it, with the guard inside, so that features and frozen weights are found."""

    def __init__(self, guard: Any, way: Through) -> None:
        super().__init__()
        self.network, self.way = guard, way
        self.training = guard.training  # an attack finds it in eval mode, as it finds the guard

    @property
    def classifier(self) -> nn.Module:
        """The last layer of the network inside."""
        last: nn.Module = self.network.classifier
        return last

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N,L]``."""
        return self.way.logits(self.network, images)
