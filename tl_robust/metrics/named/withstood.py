"""Accuracy under attack, where a refusal counts for the defender."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Outcome


def _refusing(outcome: Outcome) -> bool:
    return bool((outcome.adv_b == -1).any())


@rate(higher_is_better=True, when=_refusing)
def withstood(outcome: Outcome) -> tuple[Tensor, Tensor]:
    """Share of all samples that B gets right before the attack, and gets right or refuses after it.

    It is ``robust_accuracy`` where B refuses nothing, and only cells where B refuses an image have it. After Tramer,
    "Detecting adversarial examples is (nearly) as hard as classifying them", ICML 2022: an attacker has won where an
    image is misclassified and not refused, and a clean image that is refused counts as wrong.
    """
    right_N = outcome.clean_b == outcome.label
    kept = (outcome.adv_b == outcome.label) | (outcome.adv_b == -1)
    return kept & right_N, right_N | True
