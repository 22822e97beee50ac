"""What a claim is, what it rests on, and what is found about it.

Axes: K eps, S seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tl_robust.metrics.estimate import Draws, Estimate, estimate, pooled
from tl_robust.registry import Registry

if TYPE_CHECKING:
    from tl_robust.claims.record import Place, Record

Decision = Literal["supported", "refuted", "undecided", "not judged"]
Family = Literal["primary", "secondary"]


@dataclass(frozen=True)
class Finding:
    """What the numbers say about one claim, at one place of the grid or over all of them.

    Attributes:
        claim: ``H1`` to ``H11``, or the name of a plugin's file in capitals.
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
        p: Two-sided p-value, after Holm's correction over the claims at the same place.
        seeds: Seeds it rests on.
        n: Test samples it rests on, of one seed.
        reason: One sentence: what the decision rests on, or what was missing.
        family: ``primary`` (H1 and H2, the paper's two sides) or ``secondary``: each is corrected for itself.
        labels: Numbers of labeled target images it speaks of (``50 labels``, ``all labels``); empty for the finding
            over all of them, and where a bench has one.
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


class MissingError(Exception):
    """A claim cannot be judged here; the message says what it needs."""


class ElsewhereError(MissingError):
    """The claim is judged at another place of the same bench, so that nothing is missing here."""


@dataclass(frozen=True)
class Effect:
    """One thing that must be above 0 for a claim to hold.

    Attributes:
        name: What it is, in words.
        mean: Its mean over eps, ``[1]``.
        each: The same at each eps, ``[K]``; None where it has no such parts.
        eps: The K eps.
        unit: ``share`` or ``ratio``.
        draws: What it was estimated from, ``[S,K]``; None of a mean over places.
    """

    name: str
    mean: Estimate
    each: Estimate | None
    eps: tuple[float, ...]
    unit: str
    draws: Draws | None = None

    @classmethod
    def of(cls, name: str, draws: Draws, eps: Sequence[float], unit: str) -> Effect:
        """The effect whose draws ``[S,K]`` these are."""
        return cls(name, estimate(draws.mean()), estimate(draws), tuple(eps), unit, draws)

    @classmethod
    def over(cls, effects: Sequence[Effect]) -> Effect:
        """The mean of the same effect at several places, with the eps that all have."""
        shared = [size for size in effects[0].eps if all(size in one.eps for one in effects)]
        each = [one.each.at([one.eps.index(size) for size in shared]) for one in effects if one.each and shared]
        return cls(
            effects[0].name, pooled([one.mean for one in effects]),
            pooled(each) if len(each) == len(effects) else None, tuple(shared), effects[0].unit,
        )  # fmt: skip

    def reversed(self) -> Effect:
        """The effect of the opposite claim."""
        return Effect(self.name, -self.mean, -self.each if self.each else None, self.eps, self.unit)


AtPlace = Callable[["Record", "Place"], list[Effect]]
OverBench = Callable[["Record", "tuple[Place, ...]"], list[Effect]]


@dataclass(frozen=True)
class Claim:
    """A registered claim: all its effects must be above 0.

    Attributes:
        says: One sentence.
        source: Where it was made.
        place: Effects at one place; None for a claim about a whole bench.
        bench: Effects over all places of one attack; None for a claim that is made of every place.
        every: Each effect must be above 0 at every eps, not only on the mean over eps.
    """

    says: str
    source: str
    place: AtPlace | None
    bench: OverBench | None
    every: bool


CLAIMS: Registry[Claim] = Registry("claim", "tl_robust.claims")


def claim(says: str, source: str, *, every: bool = False) -> Callable[[AtPlace], Claim]:
    """Register a claim about every place, a pair with a network and an attack; a decorator.

    The function raises :class:`MissingError` where the claim cannot be judged.
    """
    return lambda function: CLAIMS.register(Claim(says, source, function, None, every), function.__module__)


def bench_claim(says: str, source: str) -> Callable[[OverBench], Claim]:
    """Register a claim about all places of an attack together; a decorator."""
    return lambda function: CLAIMS.register(Claim(says, source, None, function, False), function.__module__)
