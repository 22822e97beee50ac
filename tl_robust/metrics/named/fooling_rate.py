"""Success rate over the samples that B got right."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Outcome


@rate(higher_is_better=False)
def fooling_rate(outcome: Outcome) -> tuple[Tensor, Tensor]:
    """Share of the samples that B gets right on the clean image and wrong on the adversarial one.

    Source: ours. Moosavi-Dezfooli et al. (2017) call by this name the share of all images whose class changes.
    """
    return outcome.adv_b != outcome.label, outcome.clean_b == outcome.label
