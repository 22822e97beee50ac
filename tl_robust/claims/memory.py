"""What claims about membership ask a bench: which of its places they speak of, and which victims are compared.

Their units are pairs of models that learned complementary halves: the same halves, pair by pair, in every strategy. A
claim speaks of one side of B, and says what to add to a bench that does not have it. Where only another of the bench's
inferences has what it needs, nothing is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import ElsewhereError, MissingError

TARGET, SOURCE = "target", "source"  # what B learned from; what its parent did


def needs(comparisons: Comparisons, place: Place, has: Callable[[Place], bool], what: str) -> None:
    """Check that a place has what a claim needs.

    Raises:
        ElsewhereError: Another place of the bench has it, or it was said of the first inference that none has.
        MissingError: No place has it; the message says ``what`` is needed.
    """
    if not has(place):
        if any(map(has, comparisons.places)) or place.method != comparisons.places[0].method:
            raise ElsewhereError("it is decided with another inference.")
        raise MissingError(f"it needs {what}.")


def needs_epochs(comparisons: Comparisons, place: Place, strategies: Iterable[str], *epochs: int) -> None:
    """Check that a bench asked for some epochs of fine-tuning on the side source.

    Raises:
        MissingError: It did not.
    """
    results = [result for strategy in strategies for result in comparisons.results(place, strategy, SOURCE)]
    if any(epoch not in result.outcome.x.tolist() for result in results for epoch in epochs):
        what = " and ".join(map(str, epochs))
        raise MissingError(f"it needs epoch{'s' * (len(epochs) > 1)} {what} on the side source (epochs=[0,1,12]).")


def has_sides(comparisons: Comparisons, view: str, *strategies: str) -> Callable[[Place], bool]:
    """Whether undefended victims of some strategies stand at a place, a function of the place."""
    return lambda place: all(comparisons.results(place, strategy, view) for strategy in strategies)
