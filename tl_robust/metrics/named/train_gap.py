"""How much better models are on what they learned from."""

from torch import Tensor

from tl_robust.metrics.pairs import by_role, of_gap, over_pairs
from tl_robust.types import Exposure


@over_pairs(room=of_gap, higher_is_better=False, signed=True)
def train_gap(record: Exposure) -> Tensor:
    """Accuracy on members minus accuracy on non-members of the same training split: how far the models overfit.

    The advantage of whoever calls a member what is classified right (Yeom and others, CSF 2018).
    """
    inside, outside = by_role(record.right, record.member)
    return inside.double() - outside.double()
