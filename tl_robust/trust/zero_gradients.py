"""An attack without gradients does not measure robustness."""

from tl_robust.trust.base import CHECKS
from tl_robust.types import Outcome, Verdict


@CHECKS.register
def zero_gradients(outcome: Outcome) -> Verdict:
    """Amber where the surrogate's first gradient is zero for over 1 % of the samples, red for over 10 %.

    Saturated or quantized surrogates look robust because the attack is blind (Carlini and Wagner 2017; Athalye,
    Carlini, Wagner, ICML 2018).
    """
    share = float(outcome.zero_gradient.double().mean())
    if share <= 0.01:
        return Verdict()
    return Verdict(
        "red" if share > 0.1 else "amber", (f"The surrogate's gradient is zero for {share:.1%} of samples.",)
    )
