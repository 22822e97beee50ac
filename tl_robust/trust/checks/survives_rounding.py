"""An image that is stored or shown has 8 bits: what fools as a float alone fools nobody."""

import torch
from torch import Tensor

from tl_robust.trust.base import check, measured, worst
from tl_robust.trust.exact import paired
from tl_robust.trust.subject import Subject
from tl_robust.types import Evidence, Verdict

DIFFERENCE = 0.005  # half a point of accuracy
LEVEL = 0.001  # over all eps


def measure(subject: Subject) -> dict[str, Tensor]:
    """``pgd [E,S]`` and ``rounded [E,S]``, bool: right on the clean image and fooled by PGD; by its 8-bit images.

    The same images are asked about twice, so that this costs no attack of its own.
    """
    return {"pgd": subject.pgd, "rounded": subject.rounded}


@check(measure, attacks=True)
def survives_rounding(evidence: Evidence) -> Verdict:
    """Amber where rounding images to 8 bits changes accuracy under attack by over half a point, beyond noise.

    Two looks, neither of which costs judging a pass. Of the result itself: an adversarial image that rounds to the
    clean one (its size is 0) gets the clean prediction back; the victim's accuracy is compared. Of the surrogate's
    examination: PGD's images before and after rounding, for all reasons there may be. Noise is that of the exact
    McNemar test over all eps, at 0.1 %. Public implementations count successes of floats; an attacker who must hand
    over a picture has integers (Carlini and Wagner, S&P 2017, section VII; Carlini et al., "On evaluating adversarial
    robustness", 2019).
    """
    outcome, verdicts = evidence.outcome, []
    back = torch.where(outcome.size == 0, outcome.clean_b, outcome.adv_b)
    verdicts.append(_verdict(
        "the victim", outcome.adv_b != outcome.label, back != outcome.label, outcome.eps,
        ": the images round to the clean ones",
    ))  # fmt: skip
    for model in measured(evidence, "survives_rounding"):
        verdicts.append(_verdict("the surrogate under PGD", model["pgd"], model["rounded"], model.eps, ""))
    return worst(verdicts)


def _verdict(who: str, fooled: Tensor, rounded: Tensor, eps: Tensor, why: str) -> Verdict:
    """Compare two bool ``[K,N]`` at ``eps [K]``, and tell the largest of the differences."""
    lost, won = (fooled & ~rounded).sum(1), (rounded & ~fooled).sum(1)
    share = (lost - won).double().abs() / fooled.shape[1]
    noise = torch.tensor([paired(*pair) for pair in zip(lost.tolist(), won.tolist(), strict=True)])
    share = torch.where(noise * len(eps) < LEVEL, share, 0.0)
    if not len(eps) or float(share.max()) <= DIFFERENCE:
        return Verdict()
    index = int(share.argmax())
    before, after = (float(1 - which[index].double().mean()) for which in (fooled, rounded))
    return Verdict("amber", (
        f"Rounded to 8 bits, adversarial images at eps {float(eps[index]):.4g} leave {who} an accuracy of {after:.1%} "
        f"instead of {before:.1%}{why}.",
    ))  # fmt: skip
