"""Attack success."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Stamped


@rate(of=Stamped, higher_is_better=False)
def attack_success(record: Stamped) -> tuple[Tensor, Tensor]:
    """Share of the images that are not of the attacker's class t which B gives class t when they are stamped.

    It means nothing without ``false_trigger``, the same of a model without a backdoor, and ``attack_success_right``,
    which a model that calls everything t does not have. Images of class t are left out, as in BackdoorBench (Wu et al.,
    NeurIPS 2022); over all test images a clean model has as much as there are images of class t.
    """
    return record.hit, record.others
