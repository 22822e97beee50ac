"""Success rate over all samples."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Outcome


@rate(higher_is_better=False)
def error_rate(outcome: Outcome) -> tuple[Tensor, Tensor]:
    """Share of all samples that B gets wrong on the adversarial image, errors on clean images included.

    Source: one less robust accuracy, as in RobustBench (Croce et al., 2021).
    """
    return outcome.adv_b != outcome.label, outcome.label == outcome.label
