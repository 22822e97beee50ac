"""Poisoned images that a filter removes."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.metrics.stamped import sifted
from tl_robust.types import Stamped
from tl_robust.types.terms import ATLAS


@rate(of=Stamped, higher_is_better=True, summary=True, when=sifted, terms={ATLAS: "AML.M0007"})
def filter_true_positives(record: Stamped) -> tuple[Tensor, Tensor]:
    """Share of the poisoned training images that the filter removes, as it is shipped.

    Only where it was offered any.

    Source: ours.
    """
    return ~record.sifted_kept, record.sifted_poisoned
