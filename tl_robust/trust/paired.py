"""Which of two attacks fools more samples, on the same samples.

Axes: K eps, N samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_robust.types import Level, Verdict


@dataclass(frozen=True)
class Excess:
    """Where one attack most exceeds another.

    Attributes:
        level: ``amber`` where the difference is at least 2.5 standard errors and over a share of the samples (2 %
            unless the check says otherwise), ``red`` where it is at least 4 and over a larger share (10 %).
        index: Which eps, from 0; the first of equals.
        first: Share of samples that the first attack fools there.
        second: The same of the second.
    """

    level: Level
    index: int
    first: float
    second: float

    def verdict(self, reason: str) -> Verdict:
        """The level, with the reason where it is not green."""
        return Verdict(self.level, () if self.level == "green" else (reason,))


def excess(first: Tensor, second: Tensor, amber: float = 0.02, red: float = 0.1) -> Excess:
    """Where ``first`` fools most over ``second``, both bool ``[K,N]``; the shares are those of :class:`Excess`.

    The standard error is that of McNemar's test (Psychometrika 1947): of samples that one attack alone fools, each is
    as likely to be the first's as the second's where both are equally strong.
    """
    if not first.numel():
        return Excess("green", 0, 0.0, 0.0)
    first_alone, second_alone = (first & ~second).sum(1).double(), (second & ~first).sum(1).double()
    more = first_alone - second_alone
    errors = more / (first_alone + second_alone).clamp(min=1).sqrt()
    share = more / first.shape[1]
    grade = ((errors >= 2.5) & (share > amber)).long() + ((errors >= 4) & (share > red)).long()
    index = int(torch.argmax(2 * grade + share))
    levels: tuple[Level, ...] = ("green", "amber", "red")
    return Excess(
        levels[int(grade[index])], index, float(first[index].double().mean()), float(second[index].double().mean())
    )


def match(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Places in ``first`` and in ``second`` of the values that both hold, in ascending order of the values.

    Both are one-dimensional, without repeats: sample ids, or eps of the same grid.
    """
    common = [torch.isin(own, other).nonzero().squeeze(1) for own, other in ((first, second), (second, first))]
    here, there = (indices[own[indices].argsort()] for indices, own in zip(common, (first, second), strict=True))
    return here, there
