"""What a claim is: a list of effects that must all be above 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect, Family
from tl_robust.registry import Registry

AtPlace = Callable[[Comparisons, Place], list[Effect]]
OverBench = Callable[[Comparisons, tuple[Place, ...]], list[Effect]]


@dataclass(frozen=True)
class Claim:
    """A registered claim: all its effects must be above 0.

    Attributes:
        id: As tables name it, such as ``H1``.
        says: One sentence.
        source: Where it was made.
        place: Effects at one place; None for a claim about a whole bench.
        bench: Effects over all places of one attack; None for a claim that is made of every place.
        every: Each effect must be above 0 at every eps (or whatever stands on the threat's axis), not only on the mean.
        primary: It is of the first family.
        across_labels: It compares numbers of labels, so it is decided over all of them only.
        of: The threat whose cells it speaks of.
    """

    id: str
    says: str
    source: str
    place: AtPlace | None
    bench: OverBench | None
    every: bool = False
    primary: bool = False
    across_labels: bool = False
    of: str = "evasion"

    @property
    def family(self) -> Family:
        """Which claims it is corrected with."""
        return "primary" if self.primary else "secondary"


CLAIMS: Registry[Claim] = Registry("claim", "tl_robust.claims.named")


def claim(
    says: str,
    source: str,
    *,
    id: str = "",
    name: str = "",
    every: bool = False,
    primary: bool = False,
    across_labels: bool = False,
    of: str = "evasion",
) -> Callable[[AtPlace], Claim]:
    """Register a claim about every place, a pair with a network and an attack; a decorator.

    The function raises :class:`MissingError` where the claim cannot be decided. Without an ``id``, tables name the
    claim by its file in capitals, or by ``name``, which a file with several claims needs. See :class:`Claim`.
    """

    def register(function: AtPlace) -> Claim:
        title = id or _title(function, name)
        return CLAIMS.register(
            Claim(title, says, source, function, None, every, primary, across_labels, of), function.__module__, name
        )

    return register


def bench_claim(
    says: str, source: str, *, id: str = "", name: str = "", of: str = "evasion"
) -> Callable[[OverBench], Claim]:
    """Register a claim about all places of an attack together; a decorator."""

    def register(function: OverBench) -> Claim:
        registered = Claim(id or _title(function, name), says, source, None, function, of=of)
        return CLAIMS.register(registered, function.__module__, name)

    return register


def _title(function: Callable[..., object], name: str) -> str:
    return (name or function.__module__.rpartition(".")[2]).upper()
