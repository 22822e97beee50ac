"""What a model says of an image must not depend on the images beside it."""

from torch import Tensor

from tl_robust.trust.base import check, measured, worst
from tl_robust.trust.subject import REBATCHED, Subject
from tl_robust.types import Evidence, Record, Verdict


def measure(subject: Subject) -> dict[str, Tensor]:
    """``change [S]`` and ``again [S]``, float64: see :attr:`Subject.rebatched` and :attr:`Subject.repeated`."""
    return {"change": subject.rebatched, "again": subject.repeated}


@check(measure, of=Record)
def batch_free(evidence: Evidence) -> Verdict:
    """Red where a model's logits change by over a hundredth of their spread with the other images of the batch.

    Looks at surrogate and victim. The usual reason is BatchNorm in train mode, whose attack and accuracy hold for one
    batch alone. Smaller changes come from the order of sums. Pintor et al., "Indicators of attack failure", NeurIPS
    2022, ask for the same of a model under attack as of the model in use.
    """
    return worst([
        Verdict("red", (
            f"{model.who}'s answers depend on the other images of the batch: BatchNorm is probably in train mode.",
        ))
        for model in measured(evidence, "batch_free", judging=True)
        if float(model["change"].max()) > max(REBATCHED, 3 * float(model["again"].max()))
    ])  # fmt: skip
