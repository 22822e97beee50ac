"""Dormant or gone."""

from torch import Tensor

from tl_robust.metrics.base import difference
from tl_robust.types import Stamped


@difference(of=Stamped, higher_is_better=False, beside=("woken", "woken_twin"), summary=True)
def reactivation(record: Stamped, woken: Stamped, woken_twin: Stamped) -> tuple[Tensor, Tensor, Tensor]:
    """Attack success of B after three more epochs with ``wake`` stamped images, minus that of its twin after the same.

    Above 0 the backdoor was dormant: the same few images would not have implanted it. After the retuning attack in Min
    et al., "Towards stable backdoor purification through feature shift tuning", NeurIPS 2023.
    """
    return woken.hit[-1], woken_twin.hit[-1], record.others
