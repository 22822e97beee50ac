"""What a defense claims."""

from torch import Tensor

from tl_robust.metrics.one_run import audited
from tl_robust.types import Exposure
from tl_robust.types.terms import NIST


@audited(higher_is_better=False, when=lambda record: float(record.claim[0]) > 0, terms={NIST: "differential privacy"})
def epsilon_claimed(record: Exposure) -> Tensor:
    """Epsilon of differential privacy that a defense claims for its models, at the delta of its settings.

    Source: the definition of Dwork et al. (2006).
    """
    return record.claim[0].expand(record.score.shape[:2])
