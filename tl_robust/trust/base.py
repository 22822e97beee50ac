"""Checks and their sum: the worst level wins, every reason is kept.

Axes: E examined eps, S examined samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tl_robust import attacks
from tl_robust.attacks.norms import check_eps
from tl_robust.attacks.problem import Model, attackable
from tl_robust.registry import Registry
from tl_robust.trust.subject import Subject, choose
from tl_robust.types import Evidence, Examination, Level, Outcome, Record, Verdict

Probe = Callable[[Subject], dict[str, Tensor]]


@dataclass(frozen=True)
class Check:
    """A question to the evidence and, where it must be asked to the model itself, the measurement for it.

    Attributes:
        verdict: The answer, green where the evidence lacks what it would look at.
        probe: Measures one model, once for all attacks on it; what it returns is :attr:`Examination.seen` under
            ``<check>/<name>``, one plain tensor a name.
        attacks: The probe attacks the model. It is left out where the model is random or depends on the batch: the
            attack would say nothing, and the checks of that are red.
        of: The class of records whose evidence it reads.
    """

    verdict: Callable[[Evidence[Any]], Verdict]
    probe: Probe | None = None
    attacks: bool = False
    of: type[Record] = Outcome


CHECKS: Registry[Check] = Registry("trust check", "tl_robust.trust.checks")
LEVELS: tuple[Level, ...] = ("green", "amber", "red")


def check(
    probe: Probe | None = None, attacks: bool = False, *, of: type[Record] = Outcome, name: str = ""
) -> Callable[[Callable[[Evidence[Any]], Verdict]], Check]:
    """Make a function :class:`Evidence` to :class:`Verdict` a check; a decorator.

    It is asked about records of the class ``of`` only. Without a ``name`` it has that of its file. See :class:`Check`.
    """

    def register(verdict: Callable[[Evidence[Any]], Verdict]) -> Check:
        return CHECKS.register(Check(verdict, probe, attacks, of), verdict.__module__, name)

    return register


@dataclass(frozen=True)
class Measured:
    """What the probe of one check measured of one model.

    Attributes:
        who: ``The surrogate`` or ``The victim``, as a reason begins.
        values: What the probe returned.
        sample_id: int64 ``[S]``.
        eps: float64 ``[E]``.
    """

    who: str
    values: Mapping[str, Tensor]
    sample_id: Tensor
    eps: Tensor

    def __getitem__(self, name: str) -> Tensor:
        return self.values[name]


def measured(evidence: Evidence[Any], name: str, *, crafting: bool = True, judging: bool = False) -> Iterator[Measured]:
    """What check ``name`` measured of the models, where they were examined by it.

    Args:
        evidence: The evidence.
        name: The check's name.
        crafting: The surrogate, from which the images come.
        judging: The victim, which is asked about them; once where it is the surrogate itself.
    """
    models = [("The surrogate", evidence.surrogate)] * crafting
    if judging and not (crafting and evidence.victim is evidence.surrogate):
        models.append(("The victim", evidence.victim))
    for who, examination in models:
        seen = examination.seen if examination else {}
        values = {key.partition("/")[2]: value for key, value in seen.items() if key.partition("/")[0] == name}
        if examination and values:
            yield Measured(who, values, examination.sample_id, examination.eps)


def white_box(outcome: Outcome) -> bool:
    """Whether surrogate and victim answer alike everywhere, as one model does."""
    return torch.equal(outcome.clean_a, outcome.clean_b) and torch.equal(outcome.adv_a, outcome.adv_b)


def examine(
    model: Model,
    images: Tensor,
    labels: Tensor | None,
    eps: Sequence[float],
    norm: str,
    *,
    sample_id: Tensor | None = None,
    seed: int = 0,
    samples: int = 64,
    through: str = "exact",
) -> Examination:
    """Measure a model for all checks, on a few samples; it is the same for all attacks of this norm.

    Args:
        model: Any callable from images in [0,1] to logits, on the images' device; put in eval mode meanwhile.
        images: Clean images of a test set, floating point ``[N,C,H,W]`` in [0,1].
        labels: True classes, int64 ``[N]``; None where the model has other labels: its predictions stand for them.
        eps: Sizes of the grid in [0,1] pixel units; at most three of those above 0 are examined.
        norm: ``linf``, ``l2`` or ``l1``.
        sample_id: int64 ``[N]``, places in the test split; 0 to N-1 where None.
        seed: Seed of the choice of samples and of the attacks.
        samples: How many samples are examined; all where there are fewer.
        through: What gradients are taken of where the model is guarded by a defense, a name of ``attacks/through``.

    Raises:
        ConfigError: Images, labels, eps, norm or samples are not of that form.
    """
    positive = sorted(size for size in check_eps(eps, norm) if size > 0)
    last = len(positive) - 1
    sizes = [positive[index] for index in sorted({0, last // 2, last})] if positive else []
    ids = torch.arange(len(images), device=images.device) if sample_id is None else sample_id
    chosen = choose(images, labels, ids, seed, samples)
    with attackable(model):
        known = None if labels is None else labels[chosen]
        problem = attacks.get("fgsm", norm=norm).problem(
            model, images[chosen], known, ids[chosen], seed, True, None, through=through
        )
        subject = Subject(model, problem.clean, problem.label, problem.sample_id, sizes, norm, seed, through)
        probes = {name: CHECKS[name].probe for name in CHECKS.names()}
        seen = {
            f"{name}/{key}": value.detach().cpu()
            for name, probe in probes.items()
            if probe is not None and (subject.steady or not CHECKS[name].attacks)
            for key, value in probe(subject).items()
        }
    return Examination(ids[chosen].cpu(), torch.tensor(sizes, dtype=torch.float64), seen)


def judge(evidence: Evidence[Any]) -> Verdict:
    """The verdict of all checks of such records on the evidence for one result."""
    checks = [CHECKS[name] for name in CHECKS.names()]
    return worst([check.verdict(evidence) for check in checks if isinstance(evidence.outcome, check.of)])


def graded(share: float, amber: float, red: float, reason: str) -> Verdict:
    """Amber where ``share`` is over ``amber``, red where it is over ``red``, with the reason."""
    level: Level = "red" if share > red else "amber" if share > amber else "green"
    return Verdict(level, () if level == "green" else (reason,))


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The worst level of several verdicts, with all reasons once."""
    level = max((verdict.level for verdict in verdicts), key=LEVELS.index, default=LEVELS[0])
    return Verdict(level, tuple(dict.fromkeys(reason for verdict in verdicts for reason in verdict.reasons)))
