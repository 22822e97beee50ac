"""What an attack is, and the checks that every attack shares.

Axes: K eps, N samples, M samples of the pool, C channels, H height, W width.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from tl_robust.attacks.logits import finite_rows, predicted
from tl_robust.attacks.norms import check_eps, get_norm
from tl_robust.attacks.objectives.base import OBJECTIVES, Objective
from tl_robust.attacks.oracle import HALF, Oracle
from tl_robust.attacks.problem import Model, Notes, Problem, attackable
from tl_robust.attacks.through import gradients_of
from tl_robust.errors import ConfigError
from tl_robust.registry import Registry
from tl_robust.types.terms import ATLAS, NIST, Terms


@dataclass(frozen=True)
class Crafted:
    """Adversarial images and what was seen on the way.

    Attributes:
        images: ``[K,N,C,H,W]`` in [0,1]; of the clean images' type, but float32 for those of half precision.
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
        TERMS: What others call it, by who does.
    """

    VERSION: ClassVar[int] = 1
    TERMS: ClassVar[Terms] = {NIST: "evasion", ATLAS: "AML.T0043"}
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
        return self._goal

    @cached_property
    def _goal(self) -> Objective:
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
        strict: bool = True,
        through: str = "exact",
    ) -> Tensor:
        """Adversarial images ``[K,N,C,H,W]``; see :meth:`craft`."""
        return self.craft(
            model, images, labels, eps, sample_id=sample_id, seed=seed, early=early, fitted=fitted, strict=strict,
            through=through,
        ).images  # fmt: skip

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
        strict: bool = True,
        through: str = "exact",
    ) -> Crafted:
        """Craft adversarial images for all eps; all are held in memory (:class:`Judge` goes one eps at a time).

        The model is put in eval mode and frozen meanwhile; nothing is written to it, to the inputs or to the attack.

        Args:
            model: Any callable from images in [0,1] to logits ``[N, classes]``, on the images' device.
            images: Clean images, floating point ``[N,C,H,W]`` in [0,1]. Those of half precision, which has too few
                digits for eps, are worked on in float32.
            labels: True classes, int64 ``[N]``; None where the model has other labels than the images: its own
                predictions on the clean images stand for them.
            eps: K sizes in [0,1] pixel units; at 0 the result is the clean image.
            sample_id: int64 ``[N]``, keys of the random draws; the places 0 to N-1 where None. With the ids of a test
                split the draws do not depend on batches or their order.
            seed: Seed of the random draws.
            early: The model is the only victim (white-box): iterative attacks may stop at the first images that fool
                it. For transfer leave it out.
            fitted: Result of :meth:`fitted`; where it is needed and None, the images themselves are the pool.
            strict: Refuse a model whose logits are not finite where the attack begins. If not, such an image gets no
                gradient, and the attack has reached its end there: the model gives no prediction.
            through: What gradients are taken of where the model is guarded by a defense, a name of ``attacks/through``.
                Whether an image fools the model is always asked of the model itself.

        Raises:
            ConfigError: Images, labels, eps or what the model returns are not of that form, or the attack needs
                gradients and the model gives none.
        """
        sizes = check_eps(eps, self.norm)
        with attackable(model):
            oracle = Oracle.of(model, "the surrogate")
            if fitted is None and self.needs_pool:
                fitted = self.fitted(oracle, images, labels, eps, seed=seed, through=through)
            problem = self.problem(oracle, images, labels, sample_id, seed, early, fitted, strict, through)
            if len(sizes) == 1:
                ((_, images),) = self.stream(problem, sizes)
                return Crafted(images[None], problem.notes)
            adversarial = problem.clean.new_empty(len(sizes), *problem.clean.shape)
            for place, of_this_eps in self.stream(problem, sizes):
                adversarial[place] = of_this_eps
        return Crafted(adversarial, problem.notes)

    def fitted(
        self,
        model: Model,
        pool: Tensor,
        labels: Tensor | None,
        eps: Sequence[float],
        *,
        seed: int = 0,
        through: str = "exact",
    ) -> Any:
        """What the attack learns from a pool, to be given to :meth:`craft`; None for attacks that learn nothing.

        Args:
            model: The surrogate.
            pool: Images ``[M,C,H,W]`` that the attacker has, in [0,1].
            labels: Their classes, int64 ``[M]``, or None.
            eps: K sizes in [0,1] pixel units.
            seed: Seed of the random draws.
            through: As for :meth:`craft`.
        """
        sizes = check_eps(eps, self.norm)
        with attackable(model):
            problem = self.problem(model, pool, labels, None, seed, False, None, through=through)
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
        strict: bool = False,
        through: str = "exact",
    ) -> Problem:
        """The checked arguments of :meth:`craft` as one problem; the model must be :func:`attackable`.

        Args:
            model: Images to logits.
            images: Clean images, float32 ``[N,C,H,W]`` in [0,1].
            labels: Classes, int64 ``[N]``; None where the model has other classes.
            sample_id: Ids that key random draws, int64 ``[N]``; None counts from 0.
            seed: Seed of random draws.
            early: Whether a sample is done at its first success.
            fitted: What :meth:`fit` gave.
            strict: Whether a success must survive the judgment in full precision.
            through: The way through a guard.

        Raises:
            ConfigError: Arguments of another type or shape.
        """
        clean = _checked(images, labels)
        if sample_id is not None and (sample_id.shape != images.shape[:1] or sample_id.dtype != torch.int64):
            raise ConfigError(
                f"sample_id must be int64 [{len(images)}], got {sample_id.dtype} {list(sample_id.shape)}."
            )
        ids = torch.arange(len(clean), device=clean.device) if sample_id is None else sample_id.clone()
        goal, oracle = self.goal, Oracle.of(model, "the surrogate")
        if labels is None or goal.OWN:
            oracle.least = 2
            with torch.no_grad():
                logits = oracle(clean)
            if strict:
                oracle.refuse_unless(finite_rows(logits))
            opinion = predicted(
                logits[:, : logits.shape[1] - oracle.rejects]
            )  # what it would say of an image that it refuses
            label = opinion.clamp(min=0)  # where there is no prediction there is no gradient either
        else:
            label = labels.clone()
        return Problem(
            gradients_of(oracle, through), goal, clean, label, ids, seed, get_norm(self.norm), early, fitted, strict,
            guard=oracle,
        )  # fmt: skip

    def stream(self, problem: Problem, eps: list[float]) -> Iterator[tuple[int, Tensor]]:
        """Place in ``eps`` and adversarial images ``[N,C,H,W]`` in [0,1], one eps after the other, ascending."""
        order = sorted(range(len(eps)), key=lambda place: eps[place])
        positive = [place for place in order if eps[place] > 0]
        for place in order[: len(order) - len(positive)]:
            yield place, problem.clean
        if positive:
            batches = self.perturb(problem, [eps[place] for place in positive])
            for place, images in zip(positive, batches, strict=True):
                yield place, images.detach().clamp(0, 1)


def check_tensor(name: str, value: object) -> None:
    """Refuse an argument ``name`` that is no tensor.

    Raises:
        ConfigError: It is none.
    """
    if not isinstance(value, Tensor):
        raise ConfigError(f"{name} must be a tensor, got {type(value).__name__}: write torch.as_tensor({name}).")


def check_labels(labels: Tensor, count: int) -> None:
    """Refuse labels that are not int64 ``[count]`` of 0 or more.

    Raises:
        ConfigError: They are not.
    """
    check_tensor("labels", labels)
    if labels.shape != (count,) or labels.dtype != torch.int64:
        raise ConfigError(f"labels must be int64 [{count}], got {labels.dtype} {list(labels.shape)}.")
    if count and int(labels.min()) < 0:
        raise ConfigError(f"labels must be 0 or more, got {int(labels.min())}.")


def _checked(images: Tensor, labels: Tensor | None) -> Tensor:
    """A copy of the images to work on, in float32 or more and in [0,1].

    Raises:
        ConfigError: Images or labels are of another form.
    """
    check_tensor("images", images)
    if images.ndim != 4 or not images.is_floating_point():
        raise ConfigError(f"images must be floating point [N,C,H,W], got {images.dtype} {list(images.shape)}.")
    if labels is not None:
        check_labels(labels, len(images))
    clean = images.detach().to(torch.float32 if images.dtype in HALF else images.dtype, copy=True)
    if len(clean):
        low, high = (float(end) for end in clean.aminmax())
        slack = max(1e-6, torch.finfo(images.dtype).eps)  # rounding in a resize may lead so far beyond 1
        if not (low >= -slack and high <= 1 + slack and math.isfinite(high)):
            raise ConfigError(
                f"images must be in [0, 1], got {low:.7g} to {high:.7g}; put normalization into the model's first "
                "layer, or write images.clamp(0, 1) where only rounding led out."
            )
        if low < 0 or high > 1:
            clean.clamp_(0, 1)
    return clean


ATTACKS: Registry[type[Attack]] = Registry("attack", "tl_robust.attacks.named")
