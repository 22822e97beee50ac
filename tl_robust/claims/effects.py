"""What a claim rests on, and what the numbers say about it.

Axes: K values of x (eps, or what else stands on the axis of a threat), S seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from tl_robust.metrics.estimate import Draws, Estimate, estimate, pooled

Decision = Literal["supported", "refuted", "undecided", "not judged"]
Family = Literal["primary", "secondary"]


@dataclass(frozen=True)
class Finding:
    """What the numbers say about one claim, at one place of the grid or over all of them.

    Attributes:
        claim: ``H1`` to ``H13`` and ``D1`` to ``D4`` (evasion), ``B1`` to ``B7`` (backdoor), ``M1`` to ``M4`` and
            ``D5`` (membership), or the name of a plugin's file in capitals.
        says: The claim in one sentence.
        source: Where it was made.
        pair: Source, target and what else tells places apart (``mnist → usps``); empty for the finding over all pairs.
        attack: Attack and norm, as tables show them.
        decision: ``supported``, ``refuted``, ``undecided``, or ``not judged`` where the bench cannot tell.
        effect: Size of what the claim speaks of, above 0 where the claim holds; NaN where it could not be measured. Of
            a claim with several parts, the part that supports it least.
        low: Lower end of its 95 % interval.
        high: Upper end.
        unit: ``share`` (differences of accuracies; 0.01 is a point) or ``ratio``.
        p: Two-sided p-value, after Holm's correction over the claims of its family at the same place.
        seeds: Seeds it rests on, or whatever else ``units`` says.
        n: Samples it rests on, of one seed.
        reason: One sentence: what the decision rests on, or what was missing.
        family: ``primary`` (what the literature is known for: H1 and H2, B1 to B3, M1 to M4) or ``secondary``: each is
            corrected for itself.
        labels: Numbers of labeled target images it speaks of (``50 labels``, ``all labels``); empty for the finding
            over all of them, and where a bench has one.
        threat: The threat that the claim speaks of.
        units: What ``seeds`` counts: ``seeds``, or ``pairs`` of models within one seed.
        judged: What ``n`` counts: ``test images``, or ``samples`` of what halves were drawn from.
    """

    claim: str
    says: str
    source: str
    pair: str
    attack: str
    decision: Decision
    effect: float
    low: float
    high: float
    unit: str
    p: float
    seeds: int
    n: int
    reason: str
    family: Family = "secondary"
    labels: str = ""
    threat: str = "evasion"
    units: str = "seeds"
    judged: str = "test images"


class MissingError(Exception):
    """A claim cannot be decided here; the message says what it needs."""


class ElsewhereError(MissingError):
    """The claim is decided at another place of the same bench, so that nothing is missing here."""


@dataclass(frozen=True)
class Effect:
    """One thing that must be above 0 for a claim to hold.

    Attributes:
        name: What it is, in words.
        mean: Its mean over x, ``[1]``.
        each: The same at each x, ``[K]``; None where it has no such parts.
        x: The K values of x; none where a metric sums a whole curve up.
        unit: ``share`` or ``ratio``.
        draws: What it was estimated from, ``[S,K]``, at least one.
        by: How ``mean`` is estimated from draws ``[S,1]``.
    """

    name: str
    mean: Estimate
    each: Estimate | None
    x: tuple[float, ...]
    unit: str
    draws: tuple[Draws, ...]
    by: Callable[[Draws], Estimate] = estimate

    @classmethod
    def of(cls, name: str, draws: Draws, x: Sequence[float], unit: str) -> Effect:
        """The effect whose draws ``[S,K]`` these are; without ``x`` it is a single value, ``[S,1]``."""
        return cls(name, estimate(draws.mean()), estimate(draws) if x else None, tuple(x), unit, (draws,))

    @classmethod
    def over(cls, effects: Sequence[Effect]) -> Effect:
        """The mean of the same effect at several places, each with the same weight, with the x that all have.

        Places that share test samples and seeds (several numbers of labels, several networks) are paired: their draws
        are averaged first. Others are independent.
        """
        first = effects[0]
        if len(effects) == 1:
            return first
        groups: dict[Hashable, list[tuple[Draws, tuple[float, ...]]]] = {}
        for index, effect in enumerate(effects):
            for draws in effect.draws:
                met = index if draws.met is None else draws.met
                groups.setdefault(met, []).append((draws, effect.x))
        weights = [len(group) for group in groups.values()]
        means = [Draws.average([draws.mean() for draws, _ in group]) for group in groups.values()]
        mean = pooled([first.by(draws) for draws in means], weights)
        shared = tuple(size for size in first.x if all(size in effect.x for effect in effects))
        all_draws = tuple(draws for effect in effects for draws in effect.draws)
        each = None
        if shared and all(effect.each for effect in effects):
            alike = [
                Draws.average([draws.at(torch.tensor([x.index(size) for size in shared])) for draws, x in group])
                for group in groups.values()
            ]
            each = pooled([estimate(draws) for draws in alike], weights)
        return cls(first.name, mean, each, shared, first.unit, all_draws, first.by)

    @property
    def fewest(self) -> Draws:
        """Those of its draws that are of the fewest seeds, or pairs."""
        return min(self.draws, key=lambda draws: len(draws.value))

    def reversed(self) -> Effect:
        """The effect of the opposite claim."""
        return replace(
            self, mean=-self.mean, each=-self.each if self.each else None, draws=tuple(-draws for draws in self.draws)
        )
