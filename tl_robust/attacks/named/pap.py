"""Pre-trained adversarial perturbations."""

from dataclasses import dataclass

from tl_robust.attacks.base import ATTACKS
from tl_robust.attacks.named.universal import Universal


@ATTACKS.register
@dataclass(frozen=True)
class PAP(Universal):
    """One perturbation for all images that lifts the activations of A's first block; needs no label.

    Ban and Dong, "Pre-trained adversarial perturbations", NeurIPS 2022 (L4A). They take one pass over ImageNet with
    steps of eps / 250; here the pool is small, so there are more passes and longer steps.
    """

    objective: str = "lifting"
