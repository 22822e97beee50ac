"""The victim beside the average shadow."""

from dataclasses import dataclass

from torch import Tensor
from typing_extensions import override

from tl_robust.errors import ConfigError
from tl_robust.inference.base import INFERENCES, Seen, ShadowInference
from tl_robust.inference.sides import mean_inside, mean_outside


@INFERENCES.register
@dataclass(frozen=True)
class Calibrated(ShadowInference):
    """Watson, Guo, Cormode, Sablayrolles, "Difficulty calibration", ICLR 2022: how hard a sample is, is subtracted.

    Their signal is the loss and their shadows have not learned from the sample (``signal: loss, over: out``). The mean
    of the logit margin over both kinds is ruled less by a single bad shadow, and gains with every further one.

    Attributes:
        signal: ``margin`` or ``loss``.
        over: ``both``: shadows that learned from the sample and those that did not weigh the same; ``out``: the latter.
    """

    signal: str = "margin"
    over: str = "both"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value, known in (("signal", self.signal, ("margin", "loss")), ("over", self.over, ("both", "out"))):
            if value not in known:
                raise ConfigError(f"setting {name!r} of calibrated must be {' or '.join(known)}, got {value!r}.")

    @override
    def score(self, seen: Seen) -> Tensor:
        own, shadows = seen.victim.margin, seen.shadows.margin
        if self.signal == "loss":
            own, shadows = -seen.victim.loss, -seen.shadows.loss
        usual = mean_outside(shadows, seen.inside)
        if self.over == "both":
            usual = (usual + mean_inside(shadows, seen.inside)) / 2
        return own - usual
