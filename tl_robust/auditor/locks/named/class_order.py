"""Classes in another order than the model's turn right answers into wrong ones."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from tl_robust.auditor.locks.base import Answer, lock
from tl_robust.auditor.locks.chance import named, percent
from tl_robust.auditor.subject import Subject
from tl_robust.seeding import generator
from tl_robust.trust.exact import at_least

LEVEL = 0.01
MAJORITY = 0.5  # of the images of classes in another order are given the new names
SHOWN = 3  # classes that a reason names


@lock(20, unless=("head_is_trained",))
def class_order(subject: Subject) -> Answer:
    """Fails where another order of the classes is right on significantly more images.

    The order that is right most often is an assignment problem (Kuhn, "The Hungarian method", Naval Research Logistics
    Quarterly 1955). So that it is not fitted to noise, it is found on one half of the images and judged on the other,
    and the other way around, by the exact sign test at 1 %; and only classes count whose images get each other's names,
    by a majority.
    """
    said, labels = subject.logits(subject.model), subject.images.labels
    keep = said.isfinite().all(1)
    given, labels = said.argmax(1)[keep], labels[keep]
    if len(labels.unique()) < 2 or len(given.unique()) < 2:
        return Answer(None, "It names, or the images are of, a single class: no order can be compared.")
    size = 1 + int(torch.cat([given, labels]).max())
    first = _half(labels, subject.seed)
    won = lost = 0
    for half in (first, ~first):
        order = _order(_confusion(given[half], labels[half], size))
        right = order[labels[~half]] == given[~half]
        before = labels[~half] == given[~half]
        won, lost = won + int((right & ~before).sum()), lost + int((~right & before).sum())
    table = _confusion(given, labels, size)
    order = _order(table)
    moved = (order != torch.arange(size)).nonzero()[:, 0].tolist()
    own = percent(int(table.diagonal().sum()) / len(labels))
    if not moved or at_least(won, won + lost, 0.5) > LEVEL:
        return Answer(True, f"No other order of the classes is right on surely more than {own} of the images.")
    better = percent(int(table[torch.arange(size), order].sum()) / len(labels))
    shown = ", ".join(
        f"{named(subject, label)} called {named(subject, int(order[label]))} "
        f"({int(table[label, order[label]])} of {int(table[label].sum())})"
        for label in moved[:SHOWN]
    )
    more = f" and {len(moved) - SHOWN} more classes" if len(moved) > SHOWN else ""
    return Answer(
        False,
        f"With {len(moved)} classes in another order it is right on {better} of {len(labels)} images instead of {own}: "
        f"{shown}{more}; put its class names into the order of its logits.",
    )


def _half(labels: Tensor, seed: int) -> Tensor:
    """Bool ``[N]``: every other image of each class, in a drawn order."""
    mixed = torch.randperm(len(labels), generator=generator("halves for class order", seed))
    by_class = mixed[labels[mixed].argsort(stable=True)]
    return torch.zeros(len(labels), dtype=torch.bool).index_fill_(0, by_class[::2], True)


def _confusion(given: Tensor, labels: Tensor, size: int) -> Tensor:
    """How often each label ``[L]`` is called each class ``[L]``."""
    return (labels * size + given).bincount(minlength=size * size).view(size, size)


def _order(table: Tensor) -> Tensor:
    """What each label is called, int64 ``[L]``: itself, but in cycles of classes that get each other's names."""
    size = len(table)
    best = torch.from_numpy(linear_sum_assignment((table + 0.5 * torch.eye(size)).numpy(), maximize=True)[1]).long()
    share = table.double() / table.sum(1, keepdim=True).clamp(min=1)
    order, left = torch.arange(size), set(range(size))
    while left:
        cycle = [left.pop()]
        while (following := int(best[cycle[-1]])) in left:
            left.discard(following)
            cycle.append(following)
        at = torch.tensor(cycle)
        new, own = share[at, best[at]], share[at, at]
        if len(cycle) > 1 and bool((new > own).all()) and float(new.mean()) > MAJORITY:
            order[at] = best[at]
    return order
