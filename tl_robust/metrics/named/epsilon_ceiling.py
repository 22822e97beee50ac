"""What the audit could prove at most."""

import torch
from torch import Tensor

from tl_robust.metrics.one_run import Audit, audited, lower_bound
from tl_robust.types import Exposure
from tl_robust.types.terms import NIST


@audited(terms={NIST: "differential privacy"})
def epsilon_ceiling(record: Exposure) -> Tensor:
    """The bound of epsilon if every guess were right: more cannot be proved with so few guesses.

    At delta 0 it is ``ln(q / (1 - q))`` with ``q = 0.05^(1/r)`` for r guesses.

    Source: ours, from the bound of Steinke, Nasr and Jagielski (2023).
    """
    audit = Audit.of(record)
    most = lower_bound(audit.coins, audit.guesses, audit.guesses, audit.delta)
    return torch.full(audit.known.shape, most, dtype=torch.float64)
