"""What happened to every sample of evasion, and what was seen beside it.

Axes: K eps, N samples, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, Literal

import torch
from torch import Tensor
from typing_extensions import TypeVar

from tl_robust.types.record import Record, column

Level = Literal["green", "amber", "red"]


@dataclass(frozen=True)
class Outcome(Record):
    """The record of evasion: what happened when one victim met one surrogate's adversarial examples.

    Attributes:
        sample_id: int64 ``[N]``, place of the sample in the test split.
        label: int64 ``[N]``, true class.
        clean_a: int64 ``[N]``, class that the surrogate A predicts on the clean image.
        clean_b: int64 ``[N]``, the same for the victim B.
        adv_a: int64 ``[K,N]``, class that A predicts on the adversarial image.
        adv_b: int64 ``[K,N]``, the same for B.
        size: float32 ``[K,N]``, norm of the perturbation, measured after rounding to 8 bits, in [0,1] pixel units.
        eps: float64 ``[K]``, allowed norm in [0,1] pixel units.
        zero_gradient: bool ``[N]``, the surrogate's first gradient was zero in every pixel.
        valid: bool ``[K,N]``, the adversarial image is finite, in [0,1] and within eps.
        same_labels: bool ``[N]``, A names classes as B does; where not, A's own prediction on the clean image stood for
            the label in crafting, and A is fooled when it changes.
        loss_rise: float32 ``[N]``, what the objective gained from the first evaluation to the last, over all eps; 0
            where it was not seen.
    """

    AXIS = "eps"

    label: Tensor = column("N", torch.int64)
    clean_a: Tensor = column("N", torch.int64)
    clean_b: Tensor = column("N", torch.int64)
    adv_a: Tensor = column("K N", torch.int64)
    adv_b: Tensor = column("K N", torch.int64)
    size: Tensor = column("K N", torch.float32)
    eps: Tensor = column("K", torch.float64)
    zero_gradient: Tensor = column("N", torch.bool)
    valid: Tensor = column("K N", torch.bool)
    same_labels: Tensor = column("N", torch.bool)
    loss_rise: Tensor = column("N", torch.float32, optional=True)

    @property
    def label_a(self) -> Tensor:
        """int64 ``[N]``, the class that A is right to give: the label, or its own prediction where labels differ.

        -2, which no model gives, where A's own prediction would stand for the label and A made none (-1).
        """
        own = torch.where(self.clean_a < 0, -2, self.clean_a)
        return torch.where(self.same_labels, self.label, own)

    def worst(self, *others: Outcome) -> Outcome:
        """The worst case for B over several attacks, for each sample and eps alone: never more right than under any.

        It is the first of them under which B is fooled (another class than the label), else the first under which B
        gives no prediction (-1: it refused), else this one. Of clean images, where all should agree, the same. A
        gradient is zero where it was in every attack, and the loss rose as it did where it rose most.
        """
        outcomes = self.beside(*others)

        def first(name: str) -> Tensor:
            classes = torch.stack([getattr(outcome, name) for outcome in outcomes])
            return ((classes != self.label).long() * (1 + (classes >= 0).long())).argmax(0)

        zero = torch.stack([outcome.zero_gradient for outcome in outcomes]).all(0)
        rise = torch.stack([outcome.loss_rise for outcome in outcomes]).amax(0)
        chosen = self.chosen(outcomes, {"N": first("clean_b"), "K N": first("adv_b")})
        return replace(chosen, zero_gradient=zero, loss_rise=rise)


R = TypeVar("R", bound=Record, default=Outcome, covariant=True)


@dataclass(frozen=True)
class Examination:
    """What the trust checks measured of one model on a sample of a test set; the same for all attacks on it.

    Attributes:
        sample_id: int64 ``[S]``, places of the examined samples in the test split, ascending.
        eps: float64 ``[E]``, the examined part of the eps grid, ascending and above 0, in [0,1] pixel units.
        seen: Measurements by name; each check says which it makes and what they mean.
    """

    sample_id: Tensor
    eps: Tensor
    seen: Mapping[str, Tensor]


@dataclass(frozen=True)
class Pictures:
    """A few samples as they were attacked, rounded to 8 bits; the same for all victims of these examples.

    Attributes:
        sample_id: int64 ``[M]``, places of the samples in the test split.
        eps: float64 ``[E]``, a part of the eps grid, ascending and above 0, in [0,1] pixel units; of images with a
            trigger, which has no size to choose, a single 0.
        clean: uint8 ``[M,C,H,W]``.
        adversarial: uint8 ``[E,M,C,H,W]``.
        classes: Names of the test set's classes, in label order.
    """

    sample_id: Tensor
    eps: Tensor
    clean: Tensor
    adversarial: Tensor
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Evidence(Generic[R]):
    """All that a trust check may look at; without a parameter, of evasion.

    Attributes:
        outcome: What happened to every sample.
        beside: Other records of the same samples by name, as :attr:`Result.beside`.
        surrogate: The examination of A; None where none was made.
        victim: The same of B.
        iterates: The attack refines its images in many steps or queries.
        twins: Cells of other settings whose outcome is bit for bit the same, in words that name both.
        untried: Why no attack knows the defense of B; empty where one does, and where there is no defense.
    """

    outcome: R
    beside: Mapping[str, R] = field(default_factory=dict)
    surrogate: Examination | None = None
    victim: Examination | None = None
    iterates: bool = True
    twins: tuple[str, ...] = ()
    untried: str = ""

    @property
    def white(self) -> R | None:
        """B attacked directly with the same attack; None where it was not run."""
        return self.beside.get("white")


@dataclass(frozen=True)
class Verdict:
    """Whether a number is to be believed.

    Attributes:
        level: ``green``, ``amber`` or ``red``.
        reasons: One clear sentence for each check that is not green.
    """

    level: Level = "green"
    reasons: tuple[str, ...] = ()
