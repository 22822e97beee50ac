"""B starts from an A that nobody else has."""

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.adversarial import GRADIENT
from tl_robust.defenses.base import DEFENSES, Defense, Lineage, M, Trainings
from tl_robust.types.terms import ATLAS, NIST, Terms


@DEFENSES.register
@dataclass(frozen=True)
class PrivateOrigin(Defense):
    """Model isolation: what B starts from is trained a second time, with the same images and other random numbers.

    Source: ours.

    The attacker has the public A; the second one is the defender's secret, and costs its training. Its images are no
    secret: the defender gets them where everybody does. Who poisons them (``into: source``) poisons both origins; who
    owns the training of the public A, and changes its loss, reaches that one alone.

    It is refused where there is nothing to hide: B starts from random weights, or from a model that others trained.
    """

    TERMS: ClassVar[Terms] = {NIST: "mitigation", ATLAS: "AML.M0001"}

    @override
    def lineage(self, train: Trainings[M], a: M, b: M) -> Lineage[M]:
        return Lineage(a, train.isolated(b))

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        return (
            GRADIENT,
            Adaptive("Black box: the attacker makes a B of his own from the public A.", view="shadow"),
            Adaptive("Whoever trains on the images learns their poison, of which there is more.", backdoor="rate=0.2"),
        )
