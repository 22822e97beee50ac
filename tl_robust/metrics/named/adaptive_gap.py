"""What a plain attack says too much of a defense."""

from torch import Tensor

from tl_robust.metrics.base import Rates, statistic


@statistic(unit="share", higher_is_better=False, beside=("plain",))
def adaptive_gap(rates: Rates) -> Tensor:
    """Accuracy under the plain attack minus that in the worst case over it and the attacks that know the defense.

    0: knowing the defense helps nobody. A plain attack that leaves 97 of 100 images right where 2 are left in the worst
    case gives 0.95. Only defended cells have it. After Tramer, Carlini, Brendel, Madry, "On adaptive attacks to
    adversarial example defenses", NeurIPS 2020.
    """
    return rates.beside["plain"] - rates.adv_b
