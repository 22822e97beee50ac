from dataclasses import dataclass

from tl_robust.inference import INFERENCES, Inference


@INFERENCES.register
@dataclass(frozen=True)
class TopLogit(Inference):
    """How sure the victim is of any class. Fields are settings; pairs, side and canaries are there already."""

    def score(self, seen):  # logits float32 [N,L], labels, what shadows say; larger is more likely a member
        return seen.victim.logits.double().log_softmax(-1).amax(-1)
