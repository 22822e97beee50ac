"""Attack success among the images that B knows."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Stamped


@rate(of=Stamped, higher_is_better=False)
def attack_success_right(record: Stamped) -> tuple[Tensor, Tensor]:
    """Share of the images that are not of class t and that B gets right which it gives class t when they are stamped.

    A model that calls everything t, or knows little, has no success here: undefined (NaN) where B gets none right.

    Source: ours.
    """
    return record.hit, record.others & (record.clean == record.label)
