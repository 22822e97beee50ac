"""What an attack is, and the checks that every attack shares.

Axes: K eps, N samples, M samples of the pool, C channels, H height, W width.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from tl_robust.attacks.norms import check_eps, get_norm
from tl_robust.attacks.objectives.base import OBJECTIVES, Objective
from tl_robust.attacks.problem import Model, Notes, Problem, attackable
from tl_robust.errors import ConfigError
from tl_robust.registry import Registry


@dataclass(frozen=True)
class Crafted:
    """Adversarial images and what was seen on the way.

    Attributes:
        images: ``[K,N,C,H,W]`` in [0,1].
        notes: First gradients and losses.
    """

    images: Tensor
    notes: Notes


@dataclass(frozen=True)
class Attack(ABC):
    """Base of all attacks: a frozen dataclass whose fields are its settings. A subclass writes :meth:`perturb`.

    Attributes:
        norm: ``linf``, ``l2`` or ``l1``.
        objective: What is maximized, a name of ``attacks/objectives`` with settings: ``label`` the cross entropy of the
            true class, ``prediction`` that of the class A predicts on the clean image, ``margin``, ``feature``, ...
        ITERATES: It refines its images in many steps or queries, so a weak result speaks against the attack.
    """

    VERSION: ClassVar[int] = 1
    ITERATES: ClassVar[bool] = True
    norm: str = "linf"
    objective: str = "label"

    def __post_init__(self) -> None:
        get_norm(self.norm)
        self.goal  # noqa: B018  (shows a wrong name or setting before anything runs)

    @property
    def title(self) -> str:
        """Its registered name, which is its file's."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def goal(self) -> Objective:
        """What is maximized."""
        return OBJECTIVES.parse(self.objective)

    @property
    def needs_pool(self) -> bool:
        """Whether it learns from other images than those it changes; see :meth:`fit`."""
        return self.goal.POOL

    @abstractmethod
    def perturb(self, problem: Problem, eps: list[float]) -> Iterator[Tensor]:
        """Yield adversarial images ``[N,C,H,W]`` for each eps; the caller clips them to [0,1].

        Args:
            problem: Ask it for gradients; it carries the clean images, labels, the norm and the keyed random draws.
            eps: Sizes above 0 in [0,1] pixel units, ascending.
        """

    def fit(self, problem: Problem, eps: list[float]) -> Any:
        """What the attack learns once from a pool of images; :attr:`Problem.fitted` then holds it.

        Args:
            problem: The pool and its labels as a problem.
            eps: As for :meth:`perturb`.
        """
        return problem.clean if self.goal.POOL else None

    def __call__(
        self,
        model: Model,
        images: Tensor,
        labels: Tensor | None,
        eps: Sequence[float],
        *,
        sample_id: Tensor | None = None,
        seed: int = 0,
        early: bool = False,
        fitted: Any = None,
    ) -> Tensor:
        """Adversarial images ``[K,N,C,H,W]``; see :meth:`craft`."""
        return self.craft(model, images, labels, eps, sample_id=sample_id, seed=seed, early=early, fitted=fitted).images

    def craft(
        self,
        model: Model,
        images: Tensor,
        labels: Tensor | None,
        eps: Sequence[float],
        *,
        sample_id: Tensor | None = None,
        seed: int = 0,
        early: bool = False,
        fitted: Any = None,
    ) -> Crafted:
        """Craft adversarial images for all eps; all are held in memory (:class:`Judge` goes one eps at a time).

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
            early: The model is the only victim (white-box): iterative attacks may stop at the first images that fool
                it. For transfer leave it out.
            fitted: Result of :meth:`fitted`; where it is needed and None, the images themselves are the pool.

        Raises:
            ConfigError: Images, labels or eps are not of that form.
        """
        sizes = check_eps([float(value) for value in eps], self.norm)
        with attackable(model):
            if fitted is None and self.needs_pool:
                fitted = self.fitted(model, images, labels, eps, seed=seed)
            problem = self.problem(model, images, labels, sample_id, seed, early, fitted)
            adversarial = torch.empty(len(sizes), *images.shape, dtype=images.dtype, device=images.device)
            for place, found in self.stream(problem, sizes):
                adversarial[place] = found
        return Crafted(adversarial, problem.notes)

    def fitted(self, model: Model, pool: Tensor, labels: Tensor | None, eps: Sequence[float], *, seed: int = 0) -> Any:
        """What the attack learns from a pool, to be given to :meth:`craft`; None for attacks that learn nothing.

        Args:
            model: The surrogate.
            pool: Images ``[M,C,H,W]`` that the attacker has, in [0,1].
            labels: Their classes, int64 ``[M]``, or None.
            eps: K sizes in [0,1] pixel units.
            seed: Seed of the random draws.
        """
        sizes = check_eps([float(value) for value in eps], self.norm)
        with attackable(model):
            problem = self.problem(model, pool, labels, None, seed, False, None)
            return self.fit(problem, sorted(size for size in sizes if size > 0))

    def problem(
        self,
        model: Model,
        images: Tensor,
        labels: Tensor | None,
        sample_id: Tensor | None,
        seed: int,
        early: bool,
        fitted: Any,
    ) -> Problem:
        """The checked arguments of :meth:`craft` as one problem; the model must be :func:`attackable`."""
        _check_inputs(images, labels)
        if sample_id is not None and (sample_id.shape != images.shape[:1] or sample_id.dtype != torch.int64):
            raise ConfigError(
                f"sample_id must be int64 [{len(images)}], got {sample_id.dtype} {list(sample_id.shape)}."
            )
        clean = images.detach().clone()
        ids = torch.arange(len(clean), device=clean.device) if sample_id is None else sample_id.clone()
        goal = self.goal
        if labels is None or goal.OWN:
            with torch.no_grad():
                label = model(clean).argmax(1)
        else:
            label = labels.clone()
        return Problem(model, goal, clean, label, ids, seed, get_norm(self.norm), early, fitted)

    def stream(self, problem: Problem, eps: list[float]) -> Iterator[tuple[int, Tensor]]:
        """Place in ``eps`` and adversarial images ``[N,C,H,W]`` in [0,1], one eps after the other, ascending."""
        order = sorted(range(len(eps)), key=lambda place: eps[place])
        positive = [place for place in order if eps[place] > 0]
        for place in order[: len(order) - len(positive)]:
            yield place, problem.clean
        if positive:
            found = self.perturb(problem, [eps[place] for place in positive])
            for place, images in zip(positive, found, strict=True):
                yield place, images.detach().clamp(0, 1)


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
