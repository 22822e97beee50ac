"""What gradients are taken of where a guard stands before a network, one file each; ``through: averaged(draws=20)``."""

from tl_robust.attacks.through.base import THROUGH, Through, gradients_of

__all__ = ["THROUGH", "Through", "gradients_of"]
