"""What an attack is, and the checks that every attack shares.

Axes: K eps, N samples, C channels, H height, W width.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tl_robust.attacks.norms import Norm, check_eps, get_norm
from tl_robust.attacks.objective import Loss, Model, get_objective
from tl_robust.errors import ConfigError
from tl_robust.registry import Registry


@contextmanager
def attackable(*models: Model) -> Iterator[None]:
    """Put modules in eval mode and freeze them, allow input gradients whatever the caller's mode, restore all after."""
    modules = [model for model in models if isinstance(model, nn.Module)]
    modes = [(module, module.training) for model in modules for module in model.modules()]
    frozen = [parameter for model in modules for parameter in model.parameters() if parameter.requires_grad]
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        try:
            for model in modules:
                model.eval()
            for parameter in frozen:
                parameter.requires_grad_(False)
            yield
        finally:
            for module, training in modes:
                module.training = training
            for parameter in frozen:
                parameter.requires_grad_(True)


class Gradient:
    """The gradient of a loss with respect to the images, and what was seen on the way.

    Args:
        loss: Images in [0,1] to the sum of the samples' losses.
        images: Clean images ``[N,C,H,W]``.
        sample_id: int64 ``[N]``, keys of the random draws.
        seed: Seed of the random draws.
        norm: Geometry.

    Attributes:
        zero: bool ``[N]``, the first gradient was zero in every pixel; None before the first call.
    """

    def __init__(self, loss: Loss, images: Tensor, sample_id: Tensor, seed: int, norm: Norm) -> None:
        self.images = images
        self.norm = norm
        self.zero: Tensor | None = None
        self._loss = loss
        self._seed, self._sample_id = seed, sample_id

    def __call__(self, images: Tensor) -> Tensor:
        """Gradient at ``images``, ``[N,C,H,W]``; the sum keeps a sample's gradient free of its batch."""
        images = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self._loss(images), images)
        if self.zero is None:
            self.zero = ~gradient.flatten(1).any(dim=1)
        return gradient

    def random(self) -> Tensor:
        """A draw from the unit ball of the norm for each sample, the same at every call."""
        return self.norm.random(self._seed, self._sample_id, self.images)


@dataclass(frozen=True)
class Crafted:
    """Adversarial images and what was seen on the way.

    Attributes:
        images: ``[K,N,C,H,W]`` in [0,1].
        zero_gradient: bool ``[N]``, the first gradient was zero in every pixel.
    """

    images: Tensor
    zero_gradient: Tensor


@dataclass(frozen=True)
class Attack(ABC):
    """Base of all attacks: a frozen dataclass whose fields are its settings. A subclass writes :meth:`perturb`.

    Attributes:
        norm: ``linf`` or ``l2``.
        objective: What is maximized: ``label`` the cross entropy of the true class, ``prediction`` that of the class A
            predicts on the clean image, ``feature`` the distance of A's features from those of the clean image.
    """

    VERSION: ClassVar[int] = 1
    norm: str = "linf"
    objective: str = "label"

    def __post_init__(self) -> None:
        get_norm(self.norm)
        get_objective(self.objective)

    @abstractmethod
    def perturb(self, gradient: Gradient, eps: list[float]) -> Tensor:
        """Adversarial images ``[K,N,C,H,W]`` for each positive eps; the caller clips them to [0,1].

        Args:
            gradient: Call it with images for the gradient; it carries the clean images, the norm and the random draws.
            eps: K sizes above 0, in [0,1] pixel units.
        """

    def __call__(
        self,
        model: Model,
        images: Tensor,
        labels: Tensor | None,
        eps: Sequence[float],
        *,
        sample_id: Tensor | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Adversarial images ``[K,N,C,H,W]``; see :meth:`craft`."""
        return self.craft(model, images, labels, eps, sample_id=sample_id, seed=seed).images

    def craft(
        self,
        model: Model,
        images: Tensor,
        labels: Tensor | None,
        eps: Sequence[float],
        *,
        sample_id: Tensor | None = None,
        seed: int = 0,
    ) -> Crafted:
        """Craft adversarial images for all eps.

        The model is put in eval mode and frozen meanwhile; nothing is written to it, to the inputs or to the attack.

        Args:
            model: Any callable from images in [0,1] to logits ``[N, classes]``, on the images' device.
            images: Clean images, floating point ``[N,C,H,W]`` in [0,1].
            labels: True classes, int64 ``[N]``; None where the model has other labels than the images: its own
                predictions on the clean images stand for them.
            eps: K sizes in [0,1] pixel units; at 0 the result is the clean image.
            sample_id: int64 ``[N]``, keys of the random draws; the places 0 to N-1 where None. With the ids of a test
                split the draws do not depend on batches or their order.
            seed: Seed of the random draws.

        Raises:
            ConfigError: Images, labels or eps are not of that form.
        """
        sizes = check_eps([float(value) for value in eps], self.norm)
        _check_inputs(images, labels)
        if sample_id is not None and (sample_id.shape != images.shape[:1] or sample_id.dtype != torch.int64):
            raise ConfigError(
                f"sample_id must be int64 [{len(images)}], got {sample_id.dtype} {list(sample_id.shape)}."
            )
        with attackable(model):
            clean = images.detach().clone()
            ids = torch.arange(len(clean), device=clean.device) if sample_id is None else sample_id.clone()
            loss = get_objective(self.objective)(model, clean, None if labels is None else labels.clone())
            gradient = Gradient(loss, clean, ids, seed, get_norm(self.norm))
            adversarial = clean.expand(len(sizes), *clean.shape).clone()
            positive = [place for place, size in enumerate(sizes) if size > 0]
            if positive:
                found = self.perturb(gradient, [sizes[place] for place in positive]).detach()
                adversarial[positive] = found.clamp(0, 1)
        zero = gradient.zero if gradient.zero is not None else torch.zeros_like(ids, dtype=torch.bool)
        return Crafted(adversarial, zero)


def _check_inputs(images: Tensor, labels: Tensor | None) -> None:
    if images.ndim != 4 or not images.is_floating_point():
        raise ConfigError(f"images must be floating point [N,C,H,W], got {images.dtype} {list(images.shape)}.")
    if labels is not None and (labels.shape != images.shape[:1] or labels.dtype != torch.int64):
        raise ConfigError(f"labels must be int64 [{len(images)}], got {labels.dtype} {list(labels.shape)}.")
    if labels is not None and len(labels) and int(labels.min()) < 0:
        raise ConfigError(f"labels must be 0 or more, got {int(labels.min())}.")
    if len(images):
        low, high = (float(end) for end in images.detach().aminmax())
        if not (low >= 0 and high <= 1 and math.isfinite(high)):
            raise ConfigError(
                f"images must be in [0, 1], got {low:g} to {high:g}; put normalization into the model's first layer."
            )


ATTACKS: Registry[type[Attack]] = Registry("attack", "tl_robust.attacks")
