"""How well a filter's score finds poison among images of one label."""

import torch
from torch import Tensor

from tl_robust.metrics.ranking import auroc
from tl_robust.metrics.stamped import sifted
from tl_robust.types import Stamped
from tl_robust.types.terms import ATLAS


@auroc(of=Stamped, higher_is_better=True, summary=True, when=sifted, terms={ATLAS: "AML.M0007"})
def filter_auroc_in_target(record: Stamped) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Area under the ROC curve of the filter's score, poisoned against clean training images of its label.

    Scores that are made within each class must tell them apart here. Only where the filter was offered poison.

    Source: the area of Hanley and McNeil (1982).
    """
    score, mask = record.sifted_score, record.sifted_poisoned
    inside = torch.isin(record.sifted_label, record.sifted_label[mask])
    return score, mask, score, ~mask & inside
