"""An attack must do far more than noise of the same size."""

import torch
from torch import Tensor

from tl_robust.trust.base import check, measured, worst
from tl_robust.trust.paired import excess
from tl_robust.trust.subject import Subject
from tl_robust.types import Evidence, Verdict

DRAWS = 4


def measure(subject: Subject) -> dict[str, Tensor]:
    """``noise [E,S]`` and ``pgd [E,S]``, bool: right on the clean image and fooled by one of four draws; by PGD.

    ``right [S]``, bool.
    """
    noise = torch.zeros_like(subject.pgd)
    for place, size in enumerate(subject.eps):
        for draw in range(DRAWS):
            images = subject.noise(subject.norm, size, draw)
            noise[place] |= subject.right & subject.wrong(images[None], slice(None))[0]
    return {"noise": noise, "pgd": subject.pgd, "right": subject.right}


@check(measure, attacks=True)
def beats_noise(evidence: Evidence) -> Verdict:
    """Amber where noise fools the surrogate on a tenth of the right samples and on half as many as PGD, PGD not on all.

    Red where noise fools more than PGD by the measure of :class:`Excess`. Where PGD leaves less than a tenth right,
    noise may do the same: the eps is large. Athalye, Carlini, Wagner, ICML 2018, section 3.1; Carlini et al., "On
    evaluating adversarial robustness", 2019.
    """
    verdicts = []
    for one in measured(evidence, "beats_noise"):
        right = max(int(one["right"].sum()), 1)
        noise, pgd = one["noise"].sum(1), one["pgd"].sum(1)
        close = (noise > 0.1 * right) & (noise > 3) & (2 * noise > pgd) & (pgd < 0.9 * right)
        if not bool(close.any()):
            continue
        place = int(torch.argmax(torch.where(close, noise - pgd, -right)))
        reason = (
            f"Random noise fools the surrogate on {int(noise[place])} of {right} samples and PGD on {int(pgd[place])} "
            f"at eps {float(one.eps[place]):.4g}: the attack does little more than noise."
        )
        weaker = excess(one["noise"], one["pgd"]).level != "green"
        verdicts.append(Verdict("red" if weaker else "amber", (reason,)))
    return worst(verdicts)
