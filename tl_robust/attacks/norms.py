"""Norms own their geometry: size, steepest step, projection, random start.

All functions work on perturbations ``[N, ...]``, one sample a row, in [0,1] pixel units.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.seeding import normal, uniform


def per_sample(value: Tensor, like: Tensor) -> Tensor:
    """View ``value [N]`` so that it multiplies ``like [N, ...]``."""
    return value.view(-1, *([1] * (like.ndim - 1)))


class Norm(ABC):
    """Geometry of one norm ball."""

    @abstractmethod
    def size(self, delta: Tensor) -> Tensor:
        """Norm of each perturbation, ``[N]``."""

    @abstractmethod
    def step(self, images: Tensor, gradient: Tensor, size: float | Tensor) -> Tensor:
        """The change of ``images`` of norm ``size`` with the largest inner product with ``gradient``.

        Zero where the gradient is zero. ``size`` is one number or ``[N]``.
        """

    @abstractmethod
    def project(self, delta: Tensor, eps: float) -> Tensor:
        """The nearest perturbation whose norm is at most ``eps``."""

    @abstractmethod
    def random(self, seed: int, sample_id: Tensor, like: Tensor) -> Tensor:
        """A uniform draw from the ball of norm 1, the shape of ``like``, keyed by sample."""


class Linf(Norm):
    """The largest change of one value."""

    @override
    def size(self, delta: Tensor) -> Tensor:
        return delta.abs().flatten(1).amax(1)

    def step(self, images: Tensor, gradient: Tensor, size: float | Tensor) -> Tensor:
        """The sign; see :meth:`Norm.step`."""
        return _times(size, gradient.sign())

    def project(self, delta: Tensor, eps: float) -> Tensor:
        """Clamp; see :meth:`Norm.project`."""
        return delta.clamp(-eps, eps)

    @override
    def random(self, seed: int, sample_id: Tensor, like: Tensor) -> Tensor:
        return uniform(seed, sample_id, like.shape[1:]).mul_(2).sub_(1).to(like)


class L2(Norm):
    """The Euclidean length over all values of an image."""

    @override
    def size(self, delta: Tensor) -> Tensor:
        return delta.flatten(1).norm(dim=1)

    def step(self, images: Tensor, gradient: Tensor, size: float | Tensor) -> Tensor:
        """The gradient over its length; see :meth:`Norm.step`."""
        largest = gradient.flatten(1).abs().amax(1).clamp(min=torch.finfo(gradient.dtype).tiny)
        scaled = gradient / per_sample(largest, gradient)  # squares of tiny gradients would underflow
        return _times(size, scaled / per_sample(self.size(scaled).clamp(min=1), scaled))

    def project(self, delta: Tensor, eps: float) -> Tensor:
        """Scale down what is too long; see :meth:`Norm.project`."""
        size = self.size(delta)
        return delta * per_sample(torch.where(size > eps, eps / size, 1.0), delta)

    def random(self, seed: int, sample_id: Tensor, like: Tensor) -> Tensor:
        """A normal direction with a radius of density r^(D-1); see :meth:`Norm.random`."""
        direction = normal(seed, sample_id, like.shape[1:], stream=0)
        radius = uniform(seed, sample_id, (1,), stream=2).squeeze(1) ** (1 / math.prod(like.shape[1:]))
        return (direction * per_sample(radius / self.size(direction), direction)).to(like)


class L1(Norm):
    """The sum of all changes."""

    @override
    def size(self, delta: Tensor) -> Tensor:
        return delta.abs().flatten(1).sum(1)

    def step(self, images: Tensor, gradient: Tensor, size: float | Tensor) -> Tensor:
        """The values with the largest gradients, each moved as far as [0,1] allows, until ``size`` is used up.

        The exact optimum of a linear function over the ball and the range; without the range it would be one value.
        See :meth:`Norm.step`.
        """
        flat, values = gradient.flatten(1), images.flatten(1)
        order = flat.abs().argsort(dim=1, descending=True, stable=True)
        room = torch.where(flat > 0, 1 - values, values).clamp(min=0) * (flat != 0)
        sorted_room = room.gather(1, order)
        budget = torch.as_tensor(size, dtype=flat.dtype, device=flat.device).expand(len(flat))[:, None]
        used_before = sorted_room.cumsum(1) - sorted_room
        taken = torch.minimum((budget - used_before).clamp(min=0), sorted_room)
        return (torch.zeros_like(flat).scatter(1, order, taken) * flat.sign()).view_as(gradient)

    def project(self, delta: Tensor, eps: float) -> Tensor:
        """Shrink every value by what brings the sum to ``eps`` (Duchi et al., ICML 2008); see :meth:`Norm.project`."""
        flat = delta.flatten(1).abs()
        ordered = flat.sort(dim=1, descending=True).values
        place = torch.arange(1, flat.shape[1] + 1, device=flat.device, dtype=flat.dtype)
        shrink = (ordered.cumsum(1) - eps) / place
        last = (ordered > shrink).sum(1, keepdim=True).clamp(min=1) - 1
        inside = flat.sum(1, keepdim=True) <= eps
        by = shrink.gather(1, last).clamp(min=0).masked_fill(inside, 0)
        return ((flat - by).clamp(min=0) * delta.flatten(1).sign()).view_as(delta)

    def random(self, seed: int, sample_id: Tensor, like: Tensor) -> Tensor:
        """Shares of a sum of exponential numbers, with random signs; see :meth:`Norm.random`."""
        count = math.prod(like.shape[1:])
        parts = -torch.log1p(-uniform(seed, sample_id, (count + 1,), stream=0))
        signs = torch.where(uniform(seed, sample_id, (count,), stream=1) < 0.5, -1.0, 1.0)
        return (parts[:, :-1] / parts.sum(1, keepdim=True) * signs).view_as(like).to(like)


def _times(size: float | Tensor, direction: Tensor) -> Tensor:
    return per_sample(size, direction) * direction if isinstance(size, Tensor) else direction.mul_(size)


NORMS: dict[str, Norm] = {"linf": Linf(), "l2": L2(), "l1": L1()}


def get_norm(name: str) -> Norm:
    """The norm of a name.

    Raises:
        UnknownNameError: Not ``linf``, ``l2`` or ``l1``.
    """
    if name not in NORMS:
        raise UnknownNameError("norm", name, NORMS)
    return NORMS[name]


def pixel_eps(eps: float, low: float, high: float) -> float:
    """An eps given for inputs scaled to ``[low, high]``, in [0,1] pixel units.

    The KDD 2020 code scales inputs to [-1, 1]: its 4/255 is 2/255 in pixels.

    >>> pixel_eps(4 / 255, -1, 1) == 2 / 255
    True
    """
    return eps / (high - low)


def check_eps(eps: Sequence[float] | Tensor, norm: str) -> list[float]:
    """Check an eps grid: numbers, finite, not negative, at most 1 for ``linf``, without repeats.

    Raises:
        ConfigError: Says which value is wrong.
    """
    sizes = _numbers(eps)
    if sizes is None:
        raise ConfigError(f"eps must be a list of sizes in [0,1] pixel units, such as [8/255], got {eps!r}.")
    if not sizes:
        raise ConfigError("eps is an empty list: expected at least one size in [0,1] pixel units, such as 8/255.")
    for value in sizes:
        if not 0 <= value < float("inf") or (norm == "linf" and value > 1):
            limit = "0 to 1" if norm == "linf" else "0 or more"
            raise ConfigError(
                f"eps must be {limit} in [0,1] pixel units for {norm}, got {value:g}; write 8/255, not 8."
            )
    if len(set(sizes)) < len(sizes):
        raise ConfigError(f"eps has a value twice: {', '.join(f'{value:g}' for value in sizes)}.")
    return sizes


def _numbers(values: Any) -> list[float] | None:
    """A list of numbers; None where it is anything else, such as one number or a text."""
    try:
        return None if isinstance(values, str) else [float(value) for value in values]
    except (TypeError, ValueError):
        return None
