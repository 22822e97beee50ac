"""A corruption of strength 0 is none, so that a victim answers there as it does of the clean images."""

from tl_robust.trust.base import check
from tl_robust.types import Corrupted, Evidence, Verdict


@check(of=Corrupted)
def unchanged_at_zero(evidence: Evidence[Corrupted]) -> Verdict:
    """Amber where the victim answers differently at strength 0 than of the images as they are; ours.

    A loss of accuracy is what a corruption does where it begins at none, as that of the clean images stands beside the
    corrupted ones in Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", ICLR 2019. Silent where strength 0 is not among the strengths.
    """
    record = evidence.outcome
    at_zero = record.corrupted[record.strength == 0]
    moved, count = int((at_zero != record.clean).any(0).sum()), len(record.clean)
    if not moved:
        return Verdict()
    return Verdict("amber", (
        f"The victim answers differently on {moved} of {count} images at strength 0 than on the images as they are: "
        "let the corruption change nothing there, for every accuracy under it is measured from that.",
    ))  # fmt: skip
