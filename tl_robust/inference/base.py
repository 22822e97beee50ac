"""What a membership inference is: from what models say of samples to how likely the victim learned from each.

Axes: S shadows, N samples, Z samples that no model learned from, L classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.errors import ConfigError
from tl_robust.registry import Registry
from tl_robust.types.terms import ATLAS, NIST, Terms

SIDES = ("target", "source")
KNOWLEDGE = ("lineage", "recipe", "other_parent")


@dataclass(frozen=True)
class Told:
    """What one model, or each of several, says of the same samples.

    Attributes:
        logits: float32 ``[N,L]``, of several models ``[S,N,L]``. Where one is not finite, as in a model that diverged,
            loss and margin are NaN, and so is every score that needs them.
        labels: int64 ``[N]``, the labels whose membership is asked.
    """

    logits: Tensor
    labels: Tensor

    @cached_property
    def _parts(self) -> tuple[Tensor, Tensor]:
        """Log-probability of the label, and logarithm of the sum of all others'; float64 ``[...,N]`` each."""
        finite = self.logits.isfinite().all(-1, keepdim=True)
        logs = self.logits.double().where(finite, torch.nan).log_softmax(-1)
        place = self.labels.expand(logs.shape[:-1])[..., None]
        others = logs.scatter(-1, place, -torch.inf).logsumexp(-1)
        return logs.gather(-1, place)[..., 0], others

    @cached_property
    def loss(self) -> Tensor:
        """Cross entropy ``-log p_y``, float64 ``[...,N]``."""
        return -self._parts[0]

    @cached_property
    def margin(self) -> Tensor:
        """Logit of the label's probability, ``log p_y - log (1 - p_y)``, float64 ``[...,N]``.

        The phi of Carlini and others (IEEE S&P 2022). One minus p is the sum of the other probabilities, so that
        a model that is almost sure loses no digits.
        """
        own, others = self._parts
        return own - others

    def at(self, index: Tensor) -> Told:
        """Of several models those at ``index`` (int64 ``[M]``); what was computed is kept."""
        chosen = Told(self.logits[index], self.labels)
        for name in ("_parts", "loss", "margin"):
            if (known := vars(self).get(name)) is not None:
                vars(chosen)[name] = tuple(part[index] for part in known) if name == "_parts" else known[index]
        return chosen


@dataclass(frozen=True)
class Seen:
    """All that an attacker sees of one victim.

    Attributes:
        victim: What B says of the samples.
        parent: What A says of them; None where the inference does not ask for it, or A knows other classes.
        shadows: What shadows say of them, ``[S,N,L]``; none (S = 0) where the inference needs none.
        inside: Bool ``[S,N]``, which shadow learned from which sample.
        population: What B says of samples that neither it nor a shadow learned from.
        shadow_population: What the shadows say of these, ``[S,Z,L]``.
    """

    victim: Told
    parent: Told | None
    shadows: Told
    inside: Tensor
    population: Told
    shadow_population: Told


@dataclass(frozen=True)
class Inference(ABC):
    """Base of all membership inferences. The fields of a subclass are settings; it overrides :meth:`score`.

    Attributes:
        TERMS: What others call it, by who does.
        PARENT: It asks the public model A.
        POPULATION: It asks of samples that no model learned from.
        LEAST: Fewest pairs that it works with.
        pairs: Pairs of models whose halves are complements; each model is a victim once, and the models of all other
            pairs are its shadows.
        side: Whose training data are asked for: the ``target`` set that B learned from, or the ``source`` that its
            parent A learned from, asked of B.
        canaries: Share of the samples that are learned with a wrong label.

    Raises:
        ConfigError: A setting out of its range.
    """

    VERSION: ClassVar[int] = 1
    TERMS: ClassVar[Terms] = {NIST: "membership inference", ATLAS: "AML.T0024.000"}
    PARENT: ClassVar[bool] = False
    POPULATION: ClassVar[bool] = False
    LEAST: ClassVar[int] = 2

    pairs: int = 12
    side: str = "target"
    canaries: float = 0.0

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise ConfigError(f"setting 'side' of {self.name} must be {' or '.join(SIDES)}, got {self.side!r}.")
        if self.pairs < self.LEAST:
            why = "thresholds come from other pairs" if self.LEAST == 2 else "it compares shadows of other pairs"
            raise ConfigError(
                f"setting 'pairs' of {self.name} must be at least {self.LEAST}, since {why}, got {self.pairs}."
            )
        if not 0 <= self.canaries <= 0.5:
            raise ConfigError(f"setting 'canaries' of {self.name} must be in [0, 0.5], got {self.canaries}.")

    @property
    def name(self) -> str:
        """The registered name, which is that of its file."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def enough(self) -> int:
        """Shadows with which its scores are as good as they get; with fewer it is a weaker attack."""
        return 0

    @abstractmethod
    def score(self, seen: Seen) -> Tensor:
        """How likely the victim learned from each sample, float64 ``[N]``; larger is more likely, NaN: no answer."""


@dataclass(frozen=True)
class ShadowInference(Inference):
    """Base of inferences that compare the victim with shadows: models of which the attacker knows what they learned.

    Attributes:
        knowledge: What the attacker's shadows are made of: ``lineage`` (all as the victim, from the same parent),
            ``recipe`` (from random weights), ``other_parent`` (from another model of the source).
        shadows: Shadows for each victim, an even number; 0: all models of other pairs.
    """

    TERMS: ClassVar[Terms] = {NIST: "membership inference", ATLAS: "AML.T0024.000, AML.T0005"}

    knowledge: str = "lineage"
    shadows: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.knowledge not in KNOWLEDGE:
            raise ConfigError(
                f"setting 'knowledge' of {self.name} must be {', '.join(KNOWLEDGE)}, got {self.knowledge!r}."
            )
        most, least = 2 * (self.pairs - 1), 2 * (self.LEAST - 1)
        if self.shadows and (self.shadows % 2 or not least <= self.shadows <= most):
            raise ConfigError(
                f"setting 'shadows' of {self.name} must be an even number from {least} to {most} (both models of "
                f"other pairs), or 0 for all, got {self.shadows}."
            )

    @property
    @override
    def enough(self) -> int:
        return 4


INFERENCES: Registry[type[Inference]] = Registry("inference", "tl_robust.inference.named")
