"""B starts from an A that nobody else has."""

from collections.abc import Callable
from dataclasses import dataclass

from typing_extensions import override

from tl_robust.defenses.base import DEFENSES, Adaptive, Defense, Lineage, M


@DEFENSES.register
@dataclass(frozen=True)
class PrivateOrigin(Defense):
    """Model isolation: what B starts from is trained a second time, with the same images and other random numbers.

    The attacker has the public A; the second one is the defender's secret, and costs its training. A B that starts from
    random weights has no origin to hide, and an origin that others trained cannot be trained again; both are refused.
    """

    @override
    def lineage(self, train: Callable[..., M], a: M, b: M) -> Lineage[M]:
        return Lineage(a, b.isolated())

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        return (
            Adaptive("Nothing stands around the network, so that its own gradient is right."),
            Adaptive("Black box: the attacker makes a B of his own from the public A.", view="shadow"),
        )
