"""The transferability metric of the KDD 2020 paper, as we read it."""

import torch
from torch import Tensor

from tl_robust.metrics.base import Rates, statistic


@statistic(views=("black", "shadow"), higher_is_better=False, beside=("white",))
def transfer_ratio(rates: Rates) -> Tensor:
    """(acc_B - acc_B(A)) / (acc_B - acc_B(B)): harm done by A's examples over harm done by B's own.

    0: nothing transfers; 1: as harmful as B's own attack; above 1 hints at gradient masking; undefined (NaN) where
    B's own attack does no harm. Zhang et al., KDD 2020 (arXiv 2008.11089); the paper's formula could not be read, so
    this reading of it is unconfirmed.
    """
    own = rates.clean_b - rates.white_b
    return torch.where(own == 0, torch.nan, (rates.clean_b - rates.adv_b) / own)
