"""Clean images that a filter removes."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.metrics.stamped import filtered
from tl_robust.types import Stamped
from tl_robust.types.terms import ATLAS


@rate(of=Stamped, higher_is_better=False, summary=True, when=filtered, terms={ATLAS: "AML.M0007"})
def filter_false_positives(record: Stamped) -> tuple[Tensor, Tensor]:
    """Share of the clean training images that the filter removes, as it is shipped.

    Source: ours.
    """
    return ~record.sifted_kept, ~record.sifted_poisoned
