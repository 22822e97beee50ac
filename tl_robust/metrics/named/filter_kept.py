"""What a filter leaves."""

import torch
from torch import Tensor

from tl_robust.metrics.readings import number
from tl_robust.metrics.stamped import filtered
from tl_robust.types import Stamped
from tl_robust.types.terms import ATLAS


@number(of=Stamped, unit="images", when=filtered, terms={ATLAS: "AML.M0007"})
def filter_kept(record: Stamped) -> tuple[Tensor, Tensor]:
    """Number of training images that the filter keeps.

    Source: ours.
    """
    return record.sifted_kept.sum(), torch.tensor(len(record.sifted_kept))
