"""What an attacker leaves right who does not know the defense."""

from torch import Tensor

from tl_robust.metrics.base import Rates, statistic


@statistic(unit="share", higher_is_better=True, beside=("plain",))
def plain_accuracy(rates: Rates) -> Tensor:
    """Accuracy of a defended B under the plain attack alone, which does not know the defense.

    It stands beside ``robust_accuracy``, the worst case over that attack and those that know the defense, and has a
    trust level of its own. Only defended cells have it.

    Source: ours.
    """
    return rates.beside["plain"]
