"""What the metrics of backdoors share: when they mean something, and lift beside that of what the backdoor came with.

Axes: K epochs, N samples, P kinds of samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar, Self

import torch
from torch import Tensor

from tl_robust.types import Curve, Record, Stamped

LEAST_CARRIED = 0.1  # lift of the poisoned public model below which nothing is said of what is left of it
ROUNDED = 1e-9  # what differences of shares that are equal may differ by
SAFE = 0.05  # upper limit of lift below which a user is safe


@dataclass(frozen=True)
class Lifts:
    """Lift along a training, and where it came from; any leading axes.

    Attributes:
        epochs: ``[K]``, rising.
        lift: Lift of the victim over its clean twin, ``[..., K]``.
        carrier: Lift of the poisoned public model over its clean twin, each with its own classifier, on the same
            stamped target images, ``[..., 1]``; NaN where it is below 0.1.
    """

    OF: ClassVar[type[Record]] = Stamped

    epochs: Tensor
    lift: Tensor
    carrier: Tensor

    @classmethod
    def columns(cls, record: Stamped, beside: Mapping[str, Stamped]) -> Tensor:
        """Sent to class t: by B and its twin after each epoch, by A and its twin; and the denominator."""
        (twin,) = beside.values()
        others = record.others
        hits = [record.hit, twin.hit, record.carrier_hit[None], twin.carrier_hit[None]]
        return torch.cat([*(hit & others for hit in hits), others[None]]).to(torch.float64)

    @classmethod
    def kinds(cls, k: int, beside: int) -> Tensor:
        """All four may go either way."""
        rows = [[b] * k + [b0] * k + [a, a0, 1.0] for b, b0, a, a0 in product((0.0, 1.0), repeat=4)]
        return torch.tensor(rows, dtype=torch.float64)

    @classmethod
    def of(cls, means: Tensor, x: Tensor, order: Tensor, beside: Sequence[str]) -> Self:
        """From means of the columns."""
        hit, twin, carried, carried_twin, others = means.split([len(x), len(x), 1, 1, 1], dim=-1)
        carrier = (carried - carried_twin) / others
        known = carrier >= LEAST_CARRIED - ROUNDED
        return cls(x[order], ((hit - twin) / others)[..., order], torch.where(known, carrier, torch.nan))


def others(record: Stamped) -> Tensor:
    """Bool ``[N]``, the images that are not of class t."""
    return record.others


def carried(record: Stamped) -> bool:
    """Whether a public model is poisoned."""
    return len(record.origin_label) > 0


def poisoned(record: Stamped) -> bool:
    """Whether a poison was asked for."""
    return len(record.poison) > 0 and int(record.poison[0]) > 0


def filtered(record: Stamped) -> bool:
    """Whether a filter has scored training images."""
    return len(record.sifted_score) > 0


def sifted(record: Stamped) -> bool:
    """Whether there was poison among the training images that a filter has scored."""
    return bool(record.sifted_poisoned.any())


def alarmed(record: Stamped) -> bool:
    """Whether an alarm has scored test images."""
    return bool(record.suspicion_clean.any() or record.suspicion_stamped.any())


def judged_apart(record: Stamped) -> bool:
    """Whether an alarm has scored test images one by one: one that has a number for the whole model ranks none."""
    scores = torch.cat([record.suspicion_clean, record.suspicion_stamped], 1)
    return bool((scores != scores[:, :1]).any())


def refusing(record: Stamped) -> bool:
    """Whether test images are refused; of an alarm that refuses none, 0 % of false alarms would mislead."""
    return bool((record.clean == -1).any() or (record.stamped == -1).any())


def safe_from(lift: Curve) -> int | None:
    """Place of the first epoch from which on the upper limit of lift stays below 0.05; None where the last is not."""
    unsafe = (~(lift.high < SAFE)).nonzero()[:, 0].tolist()  # NaN is not safe
    first = unsafe[-1] + 1 if unsafe else 0
    return first if first < len(lift.high) else None


def at(curve: Curve, place: int | None) -> Curve:
    """One point of a curve; undefined (NaN) where there is no place."""
    parts = {name: getattr(curve, name)[[-1 if place is None else place]] for name in ("value", "low", "high", "n")}
    if place is None:
        parts |= {name: torch.full_like(parts[name], torch.nan) for name in ("value", "low", "high")}
    return replace(curve, eps=curve.eps[:0], **parts)
