"""Every sample must have a score."""

from tl_robust.trust.base import check
from tl_robust.types import Evidence, Exposure, Verdict


@check(of=Exposure)
def scored(evidence: Evidence[Exposure]) -> Verdict:
    """Red where a score is NaN: sorted last, such scores would give an area under the ROC curve of 100 %.

    One shadow that learned a sample and one that did not have no variance, for example.
    """
    record = evidence.outcome
    missing = int(record.score.isnan().sum() + record.null_score.isnan().sum())
    if not missing:
        return Verdict()
    total = record.score.numel() + record.null_score.numel()
    return Verdict("red", (f"{missing} of {total} scores are not numbers: use more pairs or another inference.",))
