"""Many small steps must do what one large step does."""

from torch import Tensor

from tl_robust import attacks
from tl_robust.trust.base import check, measured, worst
from tl_robust.trust.paired import excess
from tl_robust.trust.subject import Subject
from tl_robust.types import Evidence, Verdict


def measure(subject: Subject) -> dict[str, Tensor]:
    """``fgsm [E,S]`` and ``pgd [E,S]``, bool: right on the clean image and fooled by one step, by ten."""
    return {"fgsm": subject.fooled(attacks.get("fgsm", norm=subject.norm), subject.eps), "pgd": subject.pgd}


@check(measure, attacks=True)
def beats_one_step(evidence: Evidence) -> Verdict:
    """Amber or red (see :class:`Excess`) where FGSM fools the surrogate more often than ten steps of PGD.

    The gradients then lead astray. The other way round is as it should be, also for a result of FGSM. Athalye, Carlini,
    Wagner, "Obfuscated gradients give a false sense of security", ICML 2018, section 3.1.
    """
    verdicts = []
    for model in measured(evidence, "beats_one_step"):
        if len(model.eps):
            gap = excess(model["fgsm"], model["pgd"])
            verdicts.append(gap.verdict(
                f"FGSM fools the surrogate on {gap.first:.0%} of samples but PGD on {gap.second:.0%} at eps "
                f"{float(model.eps[gap.index]):.4g}: its gradients lead astray."
            ))  # fmt: skip
    return worst(verdicts)
