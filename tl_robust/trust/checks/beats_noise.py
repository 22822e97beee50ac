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
    for index, size in enumerate(subject.eps):
        for draw in range(DRAWS):
            images = subject.noise(subject.norm, size, draw)
            noise[index] |= subject.right & subject.wrong(images[None], slice(None))[0]
    return {"noise": noise, "pgd": subject.pgd, "right": subject.right}


@check(measure, attacks=True)
def beats_noise(evidence: Evidence) -> Verdict:
    """Amber where noise fools the surrogate on a tenth of the right samples and on half as many as PGD, PGD not on all.

    Red where noise fools more than PGD by the measure of :class:`Excess`. Where PGD leaves less than a tenth right,
    noise may do the same: the eps is large. Athalye, Carlini, Wagner, ICML 2018, section 3.1; Carlini et al., "On
    evaluating adversarial robustness", 2019.
    """
    verdicts = []
    for model in measured(evidence, "beats_noise"):
        right = max(int(model["right"].sum()), 1)
        noise, pgd = model["noise"].sum(1), model["pgd"].sum(1)
        close = (noise > 0.1 * right) & (noise > 3) & (2 * noise > pgd) & (pgd < 0.9 * right)
        if not bool(close.any()):
            continue
        index = int(torch.argmax(torch.where(close, noise - pgd, -right)))
        reason = (
            f"Random noise fools the surrogate on {int(noise[index])} of {right} samples and PGD on {int(pgd[index])} "
            f"at eps {float(model.eps[index]):.4g}: the attack does little more than noise."
        )
        weaker = excess(model["noise"], model["pgd"]).level != "green"
        verdicts.append(Verdict("red" if weaker else "amber", (reason,)))
    return worst(verdicts)
