"""Alarms that are right."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.metrics.stamped import refusing
from tl_robust.types import Stamped
from tl_robust.types.terms import ATLAS


@rate(of=Stamped, higher_is_better=True, when=refusing, terms={ATLAS: "AML.M0015"})
def refused_stamped(record: Stamped) -> tuple[Tensor, Tensor]:
    """Share of the images that are not of class t which B refuses when they are stamped.

    Only where images are refused.

    Source: one less the false acceptance rate of STRIP (Gao et al., 2019).
    """
    return record.stamped == -1, record.others
