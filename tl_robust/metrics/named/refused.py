"""How often B refuses to answer."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Outcome


def _refusing(outcome: Outcome) -> bool:
    return bool((outcome.adv_b == -1).any())


@rate(when=_refusing)
def refused(outcome: Outcome) -> tuple[Tensor, Tensor]:
    """Share of all samples that B refuses under attack; at eps 0 the share of clean images that it refuses.

    Only cells where B refuses an image have it.
    """
    return outcome.adv_b == -1, outcome.clean_b == outcome.clean_b
