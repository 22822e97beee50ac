"""Forwards through the guard, backwards past it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from typing_extensions import override

from tl_robust.attacks.reach import Guarded
from tl_robust.attacks.through.base import THROUGH, Through
from tl_robust.errors import ConfigError


@THROUGH.register
@dataclass(frozen=True)
class StraightThrough(Through):
    """The forward pass is the guard's, bit for bit; in the backward pass each link is replaced by a smooth stand-in.

    The stand-in is a link's own method ``stand_in(images)`` where it has one, differentiated at the images that this
    very link was given, else the identity. Athalye, Carlini, Wagner, "Obfuscated gradients give a false sense of
    security", ICML 2018, section 4.1 (BPDA).

    Attributes:
        identity: The identity stands for every link, whatever stand-in it has.
    """

    identity: bool = False

    @override
    def logits(self, guard: Guarded, images: Tensor) -> Tensor:
        return guard.chain(images, partial(_ask, self.identity))


def _ask(identity: bool, link: nn.Module, images: Tensor) -> Tensor:
    answer: Tensor = _Link.apply(images, link, None if identity else getattr(link, "stand_in", None))
    return answer


class _Link(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, images: Tensor, link: nn.Module, stand_in: Callable[[Tensor], Tensor] | None) -> Tensor:
        context.stand_in = stand_in
        context.save_for_backward(images)
        answer: Tensor = link(images)
        if answer.shape != images.shape and stand_in is None:
            raise ConfigError(
                f"{type(link).__name__} turns images {list(images.shape)} into {list(answer.shape)}, so the identity "
                "cannot stand for it in a backward pass: give it a differentiable method stand_in(images)."
            )
        return answer.view_as(answer)  # a link that returns its input must not hand the same tensor on

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        if context.stand_in is None:
            return gradient, None, None
        (images,) = context.saved_tensors
        with torch.enable_grad():
            images = images.detach().requires_grad_()
            (own,) = torch.autograd.grad(context.stand_in(images), images, gradient)
        return own, None, None
