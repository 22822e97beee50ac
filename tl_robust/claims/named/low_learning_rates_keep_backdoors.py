"""Fine-tuning at a lower learning rate."""

from __future__ import annotations

from itertools import pairwise

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect, MissingError
from tl_robust.claims.survival import fine_tuned, learning_rate, survives


@claim(
    "At a lower learning rate more of the backdoor survives.",
    "Kurita, Michel, Neubig, ACL 2020 (RIPPLe)",
    primary=True,
    id="B3",
    of="backdoor",
)
def low_learning_rates_keep_backdoors(comparisons: Comparisons, place: Place) -> list[Effect]:
    """Each victim over the one with the next higher rate that differs in nothing else, the mean over epochs.

    At equal epochs the one with the lower rate has also learned less: its accuracy stands beside it in every table.
    """
    victims = fine_tuned(comparisons, place)
    rates = {text: learning_rate(comparisons, place, text) for text in victims}
    alike: dict[tuple[object, ...], list[str]] = {}
    for text in sorted(victims, key=rates.__getitem__):
        rest = tuple(sorted(item for item in victims[text].items() if item[0] != "lr"))
        alike.setdefault(rest, []).append(text)
    pairs = [pair for texts in alike.values() for pair in pairwise(texts) if rates[pair[0]] < rates[pair[1]]]
    if not pairs:
        raise MissingError("it needs two learning rates (axes.strategy=[finetune,{name: finetune, lr: 0.001}]).")
    return [survives(comparisons, place, lower, higher) for lower, higher in pairs]
