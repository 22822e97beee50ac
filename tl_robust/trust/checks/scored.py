"""Every sample must have a score."""

from tl_robust.trust.base import check
from tl_robust.types import Evidence, Exposure, Verdict


@check(of=Exposure)
def scored(evidence: Evidence[Exposure]) -> Verdict:
    """Red where a score is NaN: sorted last, such scores would give an area under the ROC curve of 100 %.

    A single shadow that learned from a sample has no variance, for example, so that the likelihood ratio of Carlini and
    others (IEEE S&P 2022) is undefined.
    """
    record = evidence.outcome
    missing = int(record.score.isnan().sum() + record.null_score.isnan().sum())
    if not missing:
        return Verdict()
    total = record.score.numel() + record.null_score.numel()
    return Verdict("red", (f"{missing} of {total} scores are not numbers: use more pairs or another inference.",))
