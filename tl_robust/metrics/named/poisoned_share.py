"""The rate of poison, over all."""

from torch import Tensor

from tl_robust.metrics.readings import number
from tl_robust.metrics.stamped import poisoned
from tl_robust.types import Stamped


@number(of=Stamped, unit="share", when=poisoned)
def poisoned_share(record: Stamped) -> tuple[Tensor, Tensor]:
    """Poisoned share of the training images that were learned from, held-out ones not counted.

    What "poison rate" means differs: of all images, of each class, of a batch. ``poisoned_of_target`` is another.

    Source: ours.
    """
    return record.poison[1], record.poison[2]
