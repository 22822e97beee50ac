"""Images that a defended B gives no class."""

import torch
from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Outcome
from tl_robust.types.terms import ATLAS


def refusing(record: Outcome) -> bool:
    """Whether images are refused; of a guard that refuses none, 0 % would only repeat that it cannot."""
    return bool((record.clean_b == -1).any() or (record.adv_b == -1).any())


@rate(beside=("plain",), when=refusing, terms={ATLAS: "AML.M0015"})
def refused(outcome: Outcome, plain: Outcome) -> tuple[Tensor, Tensor]:
    """Share of all images that B refuses to classify: of clean ones at eps 0, of attacked ones above it.

    A refused clean image is a false alarm, a refused attacked one is no success of the attack, and both count as not
    right. Under attack it is the worst case for B: an image that one attack brings past B is not refused, whatever B
    does of the others, so that a detector is judged by the attacker who knows it. Only defended cells have it, and of
    those only the ones whose guard refuses.

    Source: ours.
    """
    return outcome.adv_b == -1, torch.ones_like(outcome.label, dtype=torch.bool)
