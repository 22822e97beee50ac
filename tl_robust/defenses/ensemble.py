"""Several victims answer together, or are averaged into one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.adversarial import INHERITED
from tl_robust.defenses.base import DEFENSES, Defense, Lineage, M, Trainings
from tl_robust.errors import ConfigError
from tl_robust.types.terms import ATLAS, NIST, Terms

WHO = ("seeds", "kinds")
FUSES = ("logits", "probabilities")


@DEFENSES.register
@dataclass(frozen=True)
class Ensemble(Defense):
    """The mean answer of several B, or the mean of their weights.

    The mean of weights is a soup: Wortsman et al., "Model soups", ICML 2022. It is of one origin alone, since weights
    that started apart have no mean that answers anything; BatchNorm statistics are taken again.

    Attributes:
        of: ``seeds``: further draws of B. ``kinds``: B, the same training from random weights, and a student of B that
            starts from random weights, as ``distill`` makes it.
        members: How many, from 2 to 20; of ``kinds`` there are 3.
        soup: Whether weights are averaged, and not answers.
        fuse: What the mean of answers is taken of, ``logits`` or ``probabilities``.
    """

    TERMS: ClassVar[Terms] = {NIST: "mitigation", ATLAS: "AML.M0006"}

    of: str = "seeds"
    members: int = 3
    soup: bool = False
    fuse: str = "logits"

    def __post_init__(self) -> None:
        if self.of not in WHO or self.fuse not in FUSES or not 2 <= self.members <= 20:
            raise ConfigError(
                f"ensemble needs of {' or '.join(WHO)}, members from 2 to 20 and fuse {' or '.join(FUSES)}, got {self}."
            )
        if self.of == "kinds" and (self.soup or self.members != 3):
            raise ConfigError(f"an ensemble of kinds has 3 members, which make no soup, got {self}.")
        if self.soup and self.fuse != "logits":
            raise ConfigError(f"a soup gives one answer, of which nothing is fused, got {self}: leave fuse out.")

    @override
    def lineage(self, train: Trainings[M], a: M, b: M) -> Lineage[M]:
        if b.parent is None and (self.soup or self.of == "kinds"):
            what = "a soup needs models of one origin" if self.soup else "an ensemble of kinds needs one with an origin"
            raise ConfigError(f"{what}, and {b} starts from random weights: take a strategy such as finetune.")
        if self.of == "kinds":
            members = [b, b.anew(), b.taught(DEFENSES.component("distill", {}))]
        else:
            members = [b, *(b.again(f"member {number}") for number in range(2, self.members + 1))]
        return Lineage(a, train.soup(members) if self.soup else train.together(members, self.fuse), tuple(members))

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        alike = Adaptive("What is averaged is smooth, so that its own gradient is right.")
        shadow = Adaptive("Black box: the attacker makes as many B of his own, from A.", view="shadow")
        known = (alike, shadow, INHERITED)  # by all members alike, since they start from the same A
        if self.soup:
            return known
        why = "A member alone has gradients that the mean may hide."
        each = (Adaptive(why, f"member(number={place})", "white") for place in range(1, self.members + 1))
        other = Adaptive("A mean of probabilities has other gradients than one of logits.", "member(number=0)", "white")
        return (*known, *each, *([other] if self.fuse == "logits" else []))
