"""A model is surer of what it learned."""

from dataclasses import dataclass

from tl_robust.inference import INFERENCES, ShadowInference
from tl_robust.inference.sides import mean_outside


@INFERENCES.register
@dataclass(frozen=True)
class Sure(ShadowInference):
    """The largest logit. Fields are settings; side, pairs, canaries, knowledge and shadows are there already."""

    beside: float = 1.0

    def score(self, seen):  # logits [N,L] of the victim, [S,N,L] of shadows, of which seen.inside [S,N] learned
        usual = mean_outside(seen.shadows.logits.amax(-1).double(), seen.inside)
        return seen.victim.logits.amax(-1).double() - self.beside * usual
