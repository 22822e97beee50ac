"""What the guesses of an attacker prove about the privacy of a model."""

from torch import Tensor

from tl_robust.metrics.one_run import Audit, audited
from tl_robust.types import Exposure
from tl_robust.types.terms import NIST


@audited(higher_is_better=False, terms={NIST: "differential privacy"})
def epsilon_bound(record: Exposure) -> Tensor:
    """Epsilon of differential privacy that a model has at least, mean over models; each bound holds with 95 %.

    5 % of the coins are guessed to be members and 5 % to be none, of canaries 20 % each (Steinke, Nasr, Jagielski,
    NeurIPS 2023); delta is the one that a defense claims, else 0. The bound cannot exceed ``epsilon_ceiling``, however
    much a model gives away.
    """
    return Audit.of(record).bounds()
