"""What a filter's score finds at a fixed cost."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.metrics.stamped import sifted
from tl_robust.types import Stamped
from tl_robust.types.terms import ATLAS

COST = 0.05  # share of clean images that may be removed


@rate(of=Stamped, higher_is_better=True, summary=True, when=sifted, terms={ATLAS: "AML.M0007"})
def filter_tpr(record: Stamped) -> tuple[Tensor, Tensor]:
    """Share of the poisoned images above the lowest score that has at most 5 % of the clean images above it.

    The interval takes this threshold as given. Only where the filter was offered poison.

    Source: ours.
    """
    score, mask = record.sifted_score, record.sifted_poisoned
    clean = score[~mask].sort(descending=True).values
    if not len(clean):  # then nothing costs anything
        return mask, mask
    return score > clean[int(COST * len(clean) + 1e-9)], mask
