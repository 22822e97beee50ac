"""What an alarm is worth: how often it goes off at models that are clean.

A model is suspected by a score. Where the audited model and the clean ones are alike but for a backdoor, each of them
is as likely to have the highest score, so that ``(1 + clean ones at least as suspicious) / (1 + clean ones)`` is an
exact p-value (Vovk, Gammerman, Shafer, "Algorithmic learning in a random world", 2005): an alarm that goes off at this
score or above goes off at so large a share of clean models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tl_robust.auditor.subject import ReadModel, Subject
from tl_robust.metrics.estimate import clopper_pearson
from tl_robust.models.features import pixels
from tl_robust.text import first_few
from tl_robust.types import ImageSet

USUAL = 0.05  # the false-alarm rate that readers expect to be told
ENOUGH = round(1 / USUAL) - 1  # clean models that can tell it
WORK = 1.8e13  # additions and multiplications that an alarm may cost on a CPU: a minute on one core
SHOWN = 4  # clean models that a sentence names


@dataclass(frozen=True)
class Asked:
    """The scores of an alarm.

    Attributes:
        own: Of the audited model.
        clean: Of the models that are taken to be clean, by name.
        of_parent: That of the parent, which is among these; NaN where it was not asked.
        left_out: Names of clean models that were not asked, and why, in words that follow a name.
    """

    own: float
    clean: tuple[tuple[str, float], ...]
    of_parent: float = math.nan
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def as_suspicious(self) -> int:
        """How many clean models are at least as suspicious as the audited one."""
        return sum(score >= self.own for _, score in self.clean)

    @property
    def false_alarms(self) -> tuple[float, float, float]:
        """The p-value, and the exact 95 % interval of the share of clean models that are at least as suspicious.

        The interval speaks of all clean models like these. It holds the p-value, and is 0 to 1 where there are none.
        """
        count, more = len(self.clean), self.as_suspicious
        if not count:
            return 1.0, 0.0, 1.0
        ends = clopper_pearson(*torch.tensor([[more], [count]], dtype=torch.float64))
        low, high = (float(end) for end in ends)
        return (1 + more) / (1 + count), low, high

    def reasons(self, what: str, shown: Callable[[float], str]) -> tuple[str, ...]:
        """What a reader must know of the p-value, in sentences.

        Args:
            what: What the score is, as a noun.
            shown: How it reads.
        """
        count, more = len(self.clean), self.as_suspicious
        told = first_few([f"{name} {shown(score)}" for name, score in self.clean], SHOWN, count=True)
        sentences = [f"{what}: {shown(self.own)} in the model, and in models that are taken to be clean {told}."]
        if 1 / (1 + count) > USUAL:
            sentences.append(
                f"{count} clean model{'s' * (count > 1)} cannot tell a false-alarm rate below {100 / (1 + count):.3g} "
                f"%; {ENOUGH} would tell {100 * USUAL:g} %: give more decoys."
            )
        if self.of_parent >= self.own and more == 1:
            sentences.append(
                f"The parent alone is as suspicious, and none of {count - 1} other models: so it would be if the "
                "parent had a backdoor and handed it on."
            )
        return (*sentences, *self.not_asked)

    @property
    def not_asked(self) -> tuple[str, ...]:
        """Who was not asked, and why, in a sentence; none where all were."""
        if not self.left_out:
            return ()
        (name, why), others = self.left_out[0], len(self.left_out) - 1
        return (f"{name} was not asked, since {why}" + f" (nor were {others} others)" * (others > 0) + ".",)


def operations(network: nn.Module, images: ImageSet) -> int:
    """Additions and multiplications of matrix products and convolutions for one image, without gradients."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(pixels(network, images.images[:1]))
    return int(counter.get_total_flops())


def ask(
    subject: Subject, score: Callable[[ReadModel], float], clean: Sequence[ReadModel], images: int, work: float
) -> Asked | None:
    """The scores of the audited model and of the clean ones; None where even the audited one costs too much.

    Args:
        subject: What is audited.
        score: How suspicious a model is; NaN where that cannot be told.
        clean: Models that are taken to be clean; those that cost too much are left out, the last first.
        images: How many a model is asked about; one with a gradient counts for three.
        work: Additions and multiplications that all models together may cost on a CPU; a GPU has no limit.
    """
    models = [subject.model, *clean]
    count = affordable(subject, models, images, work)
    if not count:
        return None
    scores = [(model.name, score(model)) for model in models[:count]]
    told = tuple((name, value) for name, value in scores[1:] if not math.isnan(value))
    left_out = [(name, "what it says is not finite") for name, value in scores[1:] if math.isnan(value)]
    left_out += [(model.name, "all together would take too long on a CPU") for model in models[count:]]
    asked = zip(models[:count], scores, strict=True)
    of_parent = next((value for model, (_, value) in asked if model is subject.parent), math.nan)
    return Asked(scores[0][1], told, of_parent, tuple(left_out))


def affordable(subject: Subject, models: Sequence[ReadModel], images: int, work: float) -> int:
    """How many of the models, in their order, can be asked about so many images; see :func:`ask`."""
    if subject.device.type != "cpu":
        return len(models)
    costs = [images * operations(model.network, subject.images) for model in models]
    return sum(total <= work for total in accumulate(costs))
