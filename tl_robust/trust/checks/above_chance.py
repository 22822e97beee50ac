"""A network that knows nothing cannot be robust or weak."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from tl_robust.seeding import generator
from tl_robust.trust.base import check, white_box, worst
from tl_robust.trust.exact import at_least
from tl_robust.types import Evidence, Verdict

LEVEL = 0.01  # a network without knowledge passes as often at most
DRAWS = 1999
FEWEST = 5  # classes: the names of four can be exchanged in 24 ways, too few for a p-value of 1 %
ALL = 6  # classes up to which all ways are counted, 720: of 120 ways 1,999 draws hold the right one too often by luck


@check()
def above_chance(evidence: Evidence) -> Verdict:
    """Red where the victim's clean accuracy is not better than chance, and where the surrogate's is not.

    The surrogate counts where it names classes as the test set does: images crafted on a model that knows nothing make
    every victim look robust. Chance is the share of the most frequent class of the test set, which always naming that
    class reaches (at least one over the number of classes): the one-sided exact binomial test against this "no
    information rate" (Kuhn and Johnson, "Applied Predictive Modeling", 2013, section 11.2), at 1 %. With five classes
    or more the names that the network gives must also fit better than exchanged ones, at 1 %: an untrained network
    gives like images like names and may then hit more than the most frequent class by luck (a permutation test, after
    Ojala and Garriga, JMLR 2010, of class names). Silent where even a network without mistakes could not pass: one
    class, or too few samples.
    """
    outcome, verdicts = (
        evidence.outcome,
        [against_chance("The victim", evidence.outcome.clean_b, evidence.outcome.label)],
    )
    if bool(outcome.same_labels.all()) and not white_box(outcome):
        verdicts.append(against_chance("The surrogate", outcome.clean_a, outcome.label))
    return worst(verdicts)


def against_chance(who: str, predicted: Tensor, label: Tensor) -> Verdict:
    """Red where predictions (int64 ``[N]``) of labels (int64 ``[N]``) are no better than chance; ``who`` made them."""
    count, right = len(label), int((predicted == label).sum())
    classes = label.bincount()
    chance = float(classes.max()) / count
    if chance**count > LEVEL:  # also where there is one class
        return Verdict()
    says = f"{who} is right on {right / count:.1%} of {count} clean images, and"
    if at_least(right, count, chance) > LEVEL:
        return Verdict("red", (
            f"{says} always naming the most frequent of {int((classes > 0).sum())} classes is on {chance:.1%}: no "
            "better than chance, so its robustness says nothing.",
        ))  # fmt: skip
    if (p := exchanged(predicted, label)) > LEVEL:
        return Verdict("red", (
            f"{says} with the names of its classes exchanged at random it is as often in {p:.1%} of cases: no better "
            "than chance, so its robustness says nothing.",
        ))  # fmt: skip
    return Verdict()


def exchanged(predicted: Tensor, label: Tensor) -> float:
    """How probable as many hits are when the names of the classes are exchanged; 0 where there are too few classes."""
    named = predicted >= 0  # no prediction is no hit under any name
    names, codes = torch.cat([label, predicted[named]]).unique(return_inverse=True)
    if len(names) < FEWEST:
        return 0.0
    table = torch.zeros(len(names), len(names), dtype=torch.int64)
    at = (codes[: len(label)][named], codes[len(label) :])
    table.index_put_(at, torch.ones_like(at[0]), accumulate=True)
    exact = len(names) <= ALL
    if exact:
        orders = torch.tensor(list(itertools.permutations(range(len(names)))))
    else:
        orders = torch.rand(DRAWS, len(names), generator=generator("exchanged names")).argsort(1)
    as_often = int((table[torch.arange(len(names)), orders].sum(1) >= table.diagonal().sum()).sum())
    return as_often / len(orders) if exact else (1 + as_often) / (1 + DRAWS)
