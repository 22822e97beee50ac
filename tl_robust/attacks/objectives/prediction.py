"""Cross entropy of the class that A itself predicts on the clean image."""

from dataclasses import dataclass
from typing import ClassVar

from tl_robust.attacks.objectives.base import OBJECTIVES
from tl_robust.attacks.objectives.label import Label


@OBJECTIVES.register
@dataclass(frozen=True)
class Prediction(Label):
    """Cross entropy of the class that A itself predicts on the clean image: needs no label."""

    OWN: ClassVar[bool] = True
