"""How many images were poisoned."""

from torch import Tensor

from tl_robust.metrics.readings import number
from tl_robust.metrics.stamped import poisoned
from tl_robust.types import Stamped


@number(of=Stamped, unit="images", when=poisoned)
def poisoned_images(record: Stamped) -> tuple[Tensor, Tensor]:
    """Number of training images that were poisoned.

    Source: ours.
    """
    return record.poison[1], record.poison[2]
