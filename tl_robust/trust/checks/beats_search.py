"""Gradients must do what a short search without them does."""

from torch import Tensor

from tl_robust import attacks
from tl_robust.trust.base import check, graded, measured, worst
from tl_robust.trust.subject import Subject
from tl_robust.types import Evidence, Verdict

QUERIES = 100


def measure(subject: Subject) -> dict[str, Tensor]:
    """``right [S]`` and ``found [S]``, bool: right on the clean image; and fooled by random search but not by PGD.

    At the largest examined eps, with 100 queries (Square attack: Andriushchenko et al., ECCV 2020; none in L1).
    """
    if not subject.eps or subject.norm == "l1":
        return {}
    square = attacks.get("square", norm=subject.norm, queries=QUERIES)
    return {"right": subject.right, "found": subject.fooled(square, subject.eps[-1:], ~subject.pgd[-1])[0]}


@check(measure, attacks=True)
def beats_search(evidence: Evidence) -> Verdict:
    """Amber where random search fools over 5 % of the surrogate's right samples that PGD does not, red over 20 %.

    Three samples at least. Athalye, Carlini, Wagner, ICML 2018, section 3.1 (black-box attacks are better than
    white-box attacks); Croce and Hein, ICML 2020, who add such a search to gradient attacks for this reason.
    """
    verdicts = []
    for model in measured(evidence, "beats_search"):
        right, extra = int(model["right"].sum()), int(model["found"].sum())
        if extra >= 3:
            reason = (
                f"Random search of {QUERIES} queries fools the surrogate on {extra} of {right} samples that PGD leaves "
                f"right at eps {float(model.eps[-1]):.4g}: its gradients are masked."
            )
            verdicts.append(graded(extra / right, 0.05, 0.2, reason))
    return worst(verdicts)
