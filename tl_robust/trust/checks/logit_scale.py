"""Losses of logits that are too small, too large or too close are lost in float32."""

from torch import Tensor

from tl_robust.trust.base import check, graded, measured, worst
from tl_robust.trust.subject import Subject
from tl_robust.types import Evidence, Verdict

SMALLEST = 1e-5  # cross entropy of ten classes is about 2.3, whose steps in float32 are 2.4e-7
LARGEST = 80.0  # exp(-87) is the smallest normal number of float32


def measure(subject: Subject) -> dict[str, Tensor]:
    """``spread [S]``, ``gap [S]`` and ``largest [S]``, float64, of the logits of clean images.

    Highest minus lowest; highest minus second; highest absolute value.
    """
    values = subject.logits.double()
    top = values.topk(min(2, values.shape[1])).values
    return {
        "spread": values.amax(1) - values.amin(1), "gap": top[:, 0] - top[:, -1], "largest": values.abs().amax(1)
    }  # fmt: skip


@check(measure)
def logit_scale(evidence: Evidence) -> Verdict:
    """Amber where float32 loses the cross entropy of over 3 % of the surrogate's samples, red of over 10 %.

    Logits that differ by less than 1e-5, or by less than that share of the largest, change nothing that a loss could
    show; beyond a gap of 80 between the first two the gradient of cross entropy underflows. Croce and Hein, ICML 2020,
    section 4 (why their loss is free of scale); Carlini and Wagner, S&P 2017.
    """
    verdicts = []
    for model in measured(evidence, "logit_scale"):
        small = SMALLEST * model["largest"].clamp(min=1)
        for what, which, amber, red in (
            (f"differ by less than {SMALLEST:g}, which float32 loses", model["spread"] < small, 0.03, 0.1),
            (f"are over {LARGEST:g} apart, where cross entropy has no gradient", model["gap"] > LARGEST, 0.03, 0.1),
        ):
            share = float(which.double().mean())
            verdicts.append(graded(share, amber, red, f"{model.who}'s logits {what}, for {share:.1%} of samples."))
    return worst(verdicts)
