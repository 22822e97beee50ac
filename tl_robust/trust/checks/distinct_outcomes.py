"""Cells of different settings must not end in the very same outcome.

Axes: K eps, N samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor

from tl_robust.trust.base import check
from tl_robust.types import Evidence, Outcome, Record, Verdict

FLOATS = 10  # samples that must agree to the last bit
CLASSES = 30  # samples that must agree in what few models share: two attacks or models differ in a third of them
NAMED = 3  # cells that a reason names


@dataclass(frozen=True)
class Placed:
    """An outcome, where it stands in a grid and what it was made of.

    Attributes:
        at: Coordinates by name, as a reason shows them.
        key: Outcomes of one key are one outcome, which cells may share.
        surrogate: Which model the images were crafted on.
        attack: What they were crafted with but for the seed: attack, settings, test set.
        victim: Which model was judged.
        early: Crafting ended for a sample where the surrogate was fooled.
        outcome: The outcome.
    """

    at: Mapping[str, object]
    key: str
    surrogate: str
    attack: Hashable
    victim: str
    early: bool
    outcome: Record


@check()
def distinct_outcomes(evidence: Evidence) -> Verdict:
    """Amber where the outcome is bit for bit that of a cell of other settings; both are named.

    A setting then changes nothing, or results were copied. It is a check of all cells of a bench, see :func:`twins`,
    and silent where coincidence or sound design may do the same. Options that are read and not used are among the
    commonest faults of research code: Pineau et al., "Improving reproducibility in machine learning research", JMLR
    2021 (why a report must show that what it varies was varied).
    """
    if not (twins := evidence.twins):
        return Verdict()
    more = f" and {len(twins) - NAMED} more" if len(twins) > NAMED else ""
    return Verdict("amber", (
        f"Outcomes are equal bit for bit: {'; '.join(twins[:NAMED])}{more}: what differs there changes nothing, or "
        "results were copied.",
    ))  # fmt: skip


@dataclass(frozen=True)
class Shared:
    """An outcome that several cells have, and how much coincidence it would take."""

    outcome: Outcome

    @cached_property
    def of_a(self) -> int:
        """Samples that do not fare on the surrogate as most of their class do."""
        return _own(self._a, self.outcome.label)

    @cached_property
    def of_b(self) -> int:
        """The same of the victim."""
        return _own(self._b, self.outcome.label)

    @cached_property
    def moved(self) -> int:
        """The same of both models, among samples that the attack moves to other classes of the surrogate."""
        moved = (self._a != self._a[:, :1]).any(1)
        return _own(torch.cat([self._a, self._b], 1)[moved], self.outcome.label[moved])

    @cached_property
    def floats(self) -> int:
        """Samples with sizes or a gain in loss that no other sample has: they agree to the last bit."""
        return self._floats(torch.ones_like(self.outcome.valid[0]))

    @cached_property
    def standing_floats(self) -> int:
        """The same of those that no eps fools: the attack took all its steps for them."""
        return self._floats((self.outcome.adv_a == self.outcome.label_a).all(0))

    def _floats(self, mask: Tensor) -> int:
        values = torch.cat([self.outcome.size, self.outcome.loss_rise[None]])[:, mask]
        return int((values.unique(dim=1, return_counts=True)[1] == 1).sum())

    @property
    def _a(self) -> Tensor:
        return torch.cat([self.outcome.clean_a[None], self.outcome.adv_a]).T

    @property
    def _b(self) -> Tensor:
        return torch.cat([self.outcome.clean_b[None], self.outcome.adv_b]).T

    def tells(self, first: Placed, second: Placed) -> bool:
        """Whether two cells cannot have this outcome by coincidence or design.

        Samples count that could have come out differently: of another model those that do not fare as most of their
        class do; of another attack on the same model those that it moves or whose loss it changes. One seed's draws may
        be another's, since some attacks draw nothing. And an attack that ends where it succeeds may take the same few
        steps as a longer one.
        """
        if first.surrogate != second.surrogate:
            return self.of_a >= CLASSES
        if first.attack == second.attack:
            return first.victim != second.victim and self.of_b >= CLASSES
        if first.early and second.early:
            return self.standing_floats >= FLOATS
        return self.floats >= FLOATS or self.moved >= CLASSES


def twins(cells: Sequence[Placed]) -> list[tuple[str, ...]]:
    """For each cell, in words, the cells of other settings whose outcome is bit for bit the same.

    Cells whose outcome is no :class:`Outcome` have none: only of evasion is known what coincidence can do.
    """
    digests: dict[str, str] = {}
    groups: dict[str, list[int]] = {}
    for index, cell in enumerate(cells):
        if not isinstance(cell.outcome, Outcome):
            continue
        digest = digests.get(cell.key) or digests.setdefault(cell.key, _digest(cell.outcome))
        groups.setdefault(digest, []).append(index)
    words: list[tuple[str, ...]] = [()] * len(cells)
    for indices in groups.values():
        members = [cells[index] for index in indices]
        shared = Shared(cast(Outcome, members[0].outcome))
        for index, cell in zip(indices, members, strict=True):
            others = (other for other in members if other.key != cell.key and shared.tells(cell, other))
            words[index] = tuple(dict.fromkeys(_words(cell, other) for other in others))
    return words


def _digest(outcome: Record) -> str:
    content = hashlib.sha256()
    for name, tensor in outcome.tensors().items():
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        content.update(tensor.contiguous().numpy().data)
    return content.hexdigest()


def _own(classes: Tensor, label: Tensor) -> int:
    """How many samples have other ``classes [N,K]`` than most of their label ``[N]`` have."""
    usual = 0
    for name in label.unique():
        usual += int(classes[label == name].unique(dim=0, return_counts=True)[1].max())
    return len(label) - usual


def _words(cell: Placed, other: Placed) -> str:
    """Both cells by the coordinates in which they differ."""
    differing = [name for name, value in cell.at.items() if other.at[name] != value]
    return " and ".join(", ".join(f"{name} {place.at[name]}" for name in differing) for place in (cell, other))
