"""The rate of poison, over what detectors look at."""

from torch import Tensor

from tl_robust.metrics.readings import number
from tl_robust.metrics.stamped import poisoned
from tl_robust.types import Stamped


@number(of=Stamped, unit="share", when=poisoned)
def poisoned_of_target(record: Stamped) -> tuple[Tensor, Tensor]:
    """Poisoned share of the training images that are labelled t after poisoning.

    Scores within a class hang on it: near one half, as with 10 % of ten classes, spectral signatures and "the smaller
    cluster" are blind by construction.

    Source: ours.
    """
    return record.poison[1], record.poison[3]
