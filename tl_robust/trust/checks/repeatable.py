"""The same image twice must give the same logits."""

from torch import Tensor

from tl_robust.trust.base import check, measured, worst
from tl_robust.trust.subject import REPEATED, Subject
from tl_robust.types import Evidence, Record, Verdict


def measure(subject: Subject) -> dict[str, Tensor]:
    """``change [S]``, float64: see :attr:`Subject.repeated`; in units of the spread of the sample's logits."""
    return {"change": subject.repeated}


@check(measure, of=Record)
def repeatable(evidence: Evidence) -> Verdict:
    """Red where a model's logits change by over a thousandth of their spread when it is asked again.

    Looks at surrogate and victim. A randomized model needs gradients averaged over its noise and several answers for
    each image (expectation over transformations: Athalye et al., "Synthesizing robust adversarial examples", ICML 2018;
    the flag of AutoAttack, Croce and Hein, ICML 2020, public code).
    """
    return worst([
        Verdict("red", (
            f"{model.who} answers otherwise when asked again: make it deterministic in eval mode, or attack its "
            "expectation over its noise.",
        ))
        for model in measured(evidence, "repeatable", judging=True)
        if float(model["change"].max()) > REPEATED
    ])  # fmt: skip
