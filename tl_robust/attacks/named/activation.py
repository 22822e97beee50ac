"""One neuron of the last hidden layer up."""

from dataclasses import dataclass

from tl_robust.attacks.base import ATTACKS
from tl_robust.attacks.named.ascent import Ascent


@ATTACKS.register
@dataclass(frozen=True)
class Activation(Ascent):
    """Steps that drive one neuron of A's last hidden layer up and the others down; each restart draws another neuron.

    Rezaei and Liu, "A target-agnostic attack on deep models", ICLR 2020. They start from any image and descend without
    a bound until B is sure of some class; here eps bounds the change of the clean image.
    """

    steps: int = 40
    step_size: float = 0.1
    objective: str = "activation"
