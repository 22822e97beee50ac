"""A defense must be attacked by someone who knows it."""

from torch import Tensor

from tl_robust.trust.base import check
from tl_robust.types import Evidence, Outcome, Verdict

MARGIN = 0.05


@check()
def adapted(evidence: Evidence) -> Verdict:
    """Red where a plain attack on a defended model leaves over 5 points more right than the worst case at some eps.

    The worst case, beside it as ``worst``, is over that attack and those that know the defense, sample by sample. Red,
    too, where no attack knows the defense. Tramer, Carlini, Brendel, Madry, "On adaptive attacks to adversarial
    example defenses", NeurIPS 2020.
    """
    if evidence.untried:
        return Verdict("red", (f"No attack here knows the defense, which proves nothing for it: {evidence.untried}",))
    worst = evidence.beside.get("worst")
    if worst is None:
        return Verdict()
    plain = evidence.outcome
    gap = _right(plain) - _right(worst)
    place = int(gap.argmax()) if len(gap) else 0
    if not len(gap) or float(gap[place]) <= MARGIN:
        return Verdict()
    return Verdict("red", (
        f"At eps {float(plain.eps[place]):.4g} the plain attack leaves {float(_right(plain)[place]):.1%} "
        f"right and the worst case over attacks that know the defense {float(_right(worst)[place]):.1%}: "
        "the plain number says nothing of the defense.",
    ))  # fmt: skip


def _right(outcome: Outcome) -> Tensor:
    """Share of samples that B gets right before and after, float64 ``[K]``."""
    return ((outcome.adv_b == outcome.label) & (outcome.clean_b == outcome.label)).double().mean(1)
