"""Less contrast around gray."""

from dataclasses import dataclass

from tl_robust.defenses import DEFENSES, Adaptive, Defense
from tl_robust.models.guard import Guard, Link


@DEFENSES.register
@dataclass(frozen=True)
class Dim(Defense):
    """Every image is moved toward gray; ``keep`` is what is left of its contrast. Fields are settings."""

    NEUTRAL = {"keep": 1.0}  # here the guard changes nothing, so that its attacks can be tested against the optimum

    keep: float = 0.5

    def wrap(self, network, fitted):  # the guard stands around the trained network
        return Guard(network, [Link(self.dimmed)])

    def adaptive(self):  # who has read this file
        known = Adaptive("The guard is linear, so that its own gradient is right.")
        return known, Adaptive("Contrast is all that it takes, so more poison is enough.", backdoor="rate=0.2")

    def dimmed(self, images):
        return 0.5 + self.keep * (images - 0.5)
