"""Without a budget every image can be turned into one of another class."""

import torch
from torch import Tensor

from tl_robust import attacks
from tl_robust.attacks.logits import predicted
from tl_robust.trust.base import check, graded, measured, worst
from tl_robust.trust.subject import Subject
from tl_robust.types import Evidence, Verdict


def measure(subject: Subject) -> dict[str, Tensor]:
    """``right [S]`` and ``fooled [S]``, bool: right on the clean image; and fooled by PGD that may reach any image.

    ``classes [1]``, int64: how many classes the model gives to the clean images and to noise images. All images lie
    within eps 1 in Linf, whatever the norm of the examination.
    """
    attack = attacks.get("pgd", objective=subject.margin, steps=20, restarts=2)
    fooled = subject.fooled(attack, [1.0])[0]
    answers = torch.cat([predicted(subject.logits, subject.rejects), subject.classes(subject.noise("linf", 1.0, 0))])
    classes = answers[answers >= 0].unique()  # an image without a prediction has no class
    return {"right": subject.right, "fooled": fooled, "classes": torch.tensor([len(classes)])}


@check(measure, attacks=True)
def unbounded(evidence: Evidence) -> Verdict:
    """Amber where an attack without a budget leaves over 3 % of the surrogate's right samples right, red over 10 %.

    Amber at most where the surrogate gives all clean and all noise images the same class: no attack may change that,
    and robust accuracy says nothing. Carlini et al., "On evaluating adversarial robustness", 2019; Athalye, Carlini,
    Wagner, ICML 2018, section 3.1.
    """
    verdicts = []
    for model in measured(evidence, "unbounded"):
        right, left = int(model["right"].sum()), int((model["right"] & ~model["fooled"]).sum())
        if left > 1 and int(model["classes"]) == 1:
            reason = "The surrogate gives every examined image the same class: its robust accuracy says nothing."
            verdicts.append(Verdict("amber", (reason,)))
        elif left > 1:
            reason = (
                f"An attack without a budget leaves {left} of {right} samples right: it does not see the surrogate."
            )
            verdicts.append(graded(left / right, 0.03, 0.1, reason))
    return worst(verdicts)
