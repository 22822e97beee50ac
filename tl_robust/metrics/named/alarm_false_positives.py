"""False alarms."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.metrics.stamped import refusing
from tl_robust.types import Stamped
from tl_robust.types.terms import ATLAS


@rate(of=Stamped, higher_is_better=False, when=refusing, terms={ATLAS: "AML.M0015"})
def alarm_false_positives(record: Stamped) -> tuple[Tensor, Tensor]:
    """Share of all clean test images that B refuses. Only where images are refused.

    Source: the false rejection rate of STRIP (Gao et al., 2019).
    """
    return record.clean == -1, record.label == record.label
