"""What an attacker gains by the public model."""

from torch import Tensor

from tl_robust.metrics.pairs import areas, over_pairs
from tl_robust.types import Exposure


def _either(value: Tensor) -> tuple[Tensor, Tensor]:
    """A sample that one attacker tells apart and of which the other knows nothing."""
    return 1 + 2 * value, 1 - 2 * value


@over_pairs(room=_either, higher_is_better=False, beside=("lineage",), signed=True)
def parent_value(record: Exposure, lineage: Exposure) -> Tensor:
    """``auc`` with shadows that descend from the public model, minus that of this attacker, who has no such shadows.

    Both judge the same models and samples, so the interval is that of the paired difference.

    Source: ours.
    """
    _, other = record.beside(lineage)
    return areas(other.score, other.member) - areas(record.score, record.member)
