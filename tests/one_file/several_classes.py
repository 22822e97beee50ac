"""A model that gives one class to everything has learned nothing."""

from tl_robust.trust import check
from tl_robust.types import Verdict


@check()
def several_classes(evidence):
    """Amber where the victim gives one class to clean images of several.

    Such a model cannot be fooled. Carlini et al., "On evaluating adversarial robustness", 2019, ask for sanity checks.
    """
    outcome = evidence.outcome
    if len(outcome.label) >= 20 and len(outcome.label.unique()) > 1 == len(outcome.clean_b.unique()):
        return Verdict("amber", ("The victim gives one class to all clean images.",))
    return Verdict()
