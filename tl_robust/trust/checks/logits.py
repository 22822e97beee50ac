"""Attacks take logits; probabilities saturate."""

from torch import Tensor

from tl_robust.trust.base import check, measured, worst
from tl_robust.trust.subject import Subject
from tl_robust.types import Evidence, Verdict


def measure(subject: Subject) -> dict[str, Tensor]:
    """``lowest [S]`` and ``sum [S]``, float64: smallest output of the model for a clean image, and sum of all."""
    outputs = subject.logits.double()
    return {"lowest": outputs.amin(1), "sum": outputs.sum(1)}


@check(measure)
def logits(evidence: Evidence) -> Verdict:
    """Red where the surrogate's outputs are not negative and sum to 1 for every sample: they are probabilities.

    A loss that takes the softmax of a softmax has small gradients. The flag of AutoAttack (Croce and Hein, ICML 2020,
    public code); Carlini et al., "On evaluating adversarial robustness", 2019.
    """
    return worst([
        Verdict("red", (f"{model.who} gives probabilities, not logits: take the softmax off its end.",))
        for model in measured(evidence, "logits")
        if bool((model["lowest"] >= 0).all()) and bool(((model["sum"] - 1).abs() < 1e-3).all())
    ])  # fmt: skip
