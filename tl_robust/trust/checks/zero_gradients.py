"""An attack without gradients does not measure robustness."""

from torch import Tensor

from tl_robust import attacks
from tl_robust.trust.base import check, graded, measured, worst
from tl_robust.trust.subject import Subject
from tl_robust.types import Evidence, Verdict

LOSSES = {"label": "cross entropy", "margin": "margin"}


def measure(subject: Subject) -> dict[str, Tensor]:
    """``label [S]`` and ``margin [S]``, bool: the gradient of this loss is zero in every pixel of the clean image."""
    everything = subject.right.new_ones(len(subject.images))
    return {
        objective: subject.craft(attacks.get("fgsm", norm=subject.norm, objective=objective), [0.5], everything)
        .notes.zero for objective in LOSSES
    }  # fmt: skip


def _verdict(zero: Tensor, allowed: float, what: str) -> Verdict:
    share = float(zero.double().mean())
    return graded(share, allowed, 0.1, f"{what} is zero for {share:.1%} of samples.")


@check(measure, attacks=True)
def zero_gradients(evidence: Evidence) -> Verdict:
    """Amber where the surrogate's gradient is zero for over 1 % of the samples (3 % of those examined), red over 10 %.

    It looks at the attack's own first gradient and, where the surrogate was examined, at those of cross entropy and of
    the margin. Saturated or quantized surrogates look robust because the attack is blind (Carlini and Wagner, S&P 2017;
    Athalye, Carlini, Wagner, ICML 2018; Pintor et al., "Indicators of attack failure", NeurIPS 2022).
    """
    own = _verdict(evidence.outcome.zero_gradient, 0.01, "The surrogate's gradient")
    return worst([own] + [
        _verdict(model[objective], 0.03, f"The surrogate's gradient of the {name} at clean images")
        for model in measured(evidence, "zero_gradients") for objective, name in LOSSES.items()
    ])  # fmt: skip
