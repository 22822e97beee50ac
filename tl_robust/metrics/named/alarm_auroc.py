"""How well an alarm tells stamped images from clean ones."""

from torch import Tensor

from tl_robust.metrics.ranking import auroc
from tl_robust.metrics.stamped import judged_apart
from tl_robust.types import Stamped
from tl_robust.types.terms import ATLAS


@auroc(of=Stamped, higher_is_better=True, when=judged_apart, terms={ATLAS: "AML.M0015"})
def alarm_auroc(record: Stamped) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Area under the ROC curve of the alarm's score, stamped images that are not of class t against all clean ones.

    All of them count, not only those on which B is right and the attack works, as in TrojanZoo: a detector that is
    scored on these flatters itself. Only where there is an alarm that judges images and not the whole model.

    Source: the area of Hanley and McNeil (1982).
    """
    others = record.others
    return record.suspicion_stamped, others, record.suspicion_clean, others | ~others
