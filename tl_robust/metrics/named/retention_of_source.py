"""How much of the memory of the source is left."""

import torch
from torch import Tensor

from tl_robust.metrics.metric import METRICS
from tl_robust.metrics.pairs import areas, over_pairs
from tl_robust.types import Exposure


def _of_memory(value: Tensor) -> tuple[Tensor, Tensor]:
    """A sample of which nothing is left, and one of which all is; at the start the ratio is 1 whatever is drawn."""
    later = (value != 1).double()
    return later * value, later


@over_pairs(room=_of_memory, unit="ratio", views=("source",), higher_is_better=False)
def retention_of_source(record: Exposure) -> Tensor:
    """``auc`` above chance, over that of the models that fine-tuning started from (epoch 0), by the same inference.

    1: all that the public models gave away of what they learned is still there. Undefined (NaN) where epoch 0 was not
    asked, and where the interval of its ``auc`` holds one half, so that nothing is known to be there. It is the ratio
    of means over pairs; what a pair adds to it is linear (the delta method: Cochran, "Sampling Techniques", 1977,
    section 6.3).
    """
    columns = areas(record.score, record.member)
    start = METRICS["auc"].curve(record)
    known = (record.epochs == 0) & ((start.low > 0.5) | (start.high < 0.5))
    if not bool(known.any()):
        return torch.full_like(columns, torch.nan)
    place = int(known.nonzero()[0])
    excess = start.value - 0.5
    ratio = (excess / excess[place])[:, None]
    own, origin = columns - 0.5, columns[:, place : place + 1] - 0.5
    return ratio + (own - ratio * origin) / excess[place]
