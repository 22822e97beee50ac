"""Accuracy on stamped images."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Stamped


@rate(of=Stamped, higher_is_better=True)
def stamped_accuracy(record: Stamped) -> tuple[Tensor, Tensor]:
    """Share of the images that are not of class t which B still gets right when they are stamped.

    Also called robust accuracy of a backdoored model (Wu et al., "BackdoorBench", NeurIPS 2022). Where it is low and
    attack success is too, the trigger hides what the image shows: see ``twin_stamped_accuracy``.
    """
    return record.stamped == record.label, record.others
