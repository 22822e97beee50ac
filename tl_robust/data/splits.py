"""Parts of a training split: fewer images of the same classes, a part that chooses the epoch, halves by fair coins."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tl_robust.errors import DataError
from tl_robust.seeding import generator
from tl_robust.types import ImageSet


def stratified(images: ImageSet, count: int, domain: str, split: str) -> ImageSet:
    """A fixed random subset with the same share of each class, in the order of the set.

    The subset of a smaller count lies inside that of a larger one.

    Args:
        images: A split.
        count: How many images are wanted, from 1 to all of them.
        domain: Name of the domain. The choice depends on it, on the split and on the labels alone.
        split: ``train`` or ``test``.
    """
    order = torch.randperm(len(images), generator=generator("limit", domain, split))
    rank, size = rank_in_class(images.labels, order)
    chosen = order[((rank[order] + 0.5) / size[order]).argsort(stable=True)[:count]]
    return images.take(chosen.sort().values)


def split_validation(images: ImageSet, share: float) -> tuple[Tensor, Tensor]:
    """Split training samples into a part to learn from and a part to choose the epoch with.

    Each class gives its share to the second part, and at least one image where it has two or more. The split depends
    on the images alone, so that every training on them is judged by the same samples.

    Args:
        images: A training split.
        share: Share of the validation part, in (0, 0.5].

    Returns:
        Two sorted int64 index tensors, disjoint, together all samples.

    Raises:
        DataError: A part would be empty.
    """
    order = torch.randperm(len(images), generator=generator("validation", images.fingerprint))
    rank, size = rank_in_class(images.labels, order)
    held = rank < (share * size).round().maximum((size - 1).clamp(max=1))
    if not bool(held.any()) or bool(held.all()):
        raise DataError(
            f"{len(images)} training images are too few to hold out {share:.0%} of each class for validation: "
            "raise data.train_limit, target_images or recipe.val_share."
        )
    return (~held).nonzero().squeeze(1), held.nonzero().squeeze(1)


def rank_in_class(labels: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """For each sample, its place in ``order`` among those of its class, and how many these are; float64 ``[N]``."""
    count = torch.bincount(labels)
    by_class = order[labels[order].argsort(stable=True)]
    start = count.cumsum(0) - count
    rank = torch.empty(len(labels), dtype=torch.float64)
    rank[by_class] = (torch.arange(len(labels)) - start[labels[by_class]]).double()
    return rank, count[labels].double()


@dataclass(frozen=True)
class Pool:
    """The training split that halves are drawn from.

    Attributes:
        images: The training split, with the labels of canaries.
        learn: int64 ``[N]``, ascending places of the samples that coins are flipped for.
        held: int64, ascending places of the validation part, which is the same for all halves: no member of any.
        canary: Bool ``[N]``, samples whose label was made wrong, so that only a model that memorizes can know it.
    """

    images: ImageSet
    learn: Tensor
    held: Tensor
    canary: Tensor

    @classmethod
    def of(cls, images: ImageSet, val_share: float, canaries: float = 0.0) -> Pool:
        """The pool of a training split.

        Args:
            images: The training split.
            val_share: Share of the validation part.
            canaries: Share of the samples besides whose label is replaced by another one, chosen evenly at random.

        Raises:
            DataError: A part would be empty.
        """
        learn, held = split_validation(images, val_share)
        count = round(canaries * len(learn))
        draws = generator("canaries", images.fingerprint, val_share)
        order, classes = torch.randperm(len(learn), generator=draws), int(images.labels.max()) + 1
        moved = torch.randint(1, max(classes, 2), (len(learn),), generator=draws)
        canary = torch.zeros(len(learn), dtype=torch.bool).index_fill_(0, order[:count], True)
        labels = images.labels.clone()
        labels[learn[canary]] = (labels[learn[canary]] + moved[canary]) % classes
        return cls(ImageSet(images.images, labels) if count else images, learn, held, canary)

    @cached_property
    def repeated(self) -> int:
        """Samples of which the pool has another copy, so that a half without them may still have their image."""
        counts = Counter(image.numpy().tobytes() for image in self.images.images[self.learn])
        return sum(count for count in counts.values() if count > 1)


@dataclass(frozen=True)
class Draw:
    """One half of a training split, by fair coins; the other half of a pair has the samples that this one has not.

    Attributes:
        pair: Number of the pair: each has coins of its own.
        tails: The half of the tails.
        seed: Seed of all pairs.
        val_share: Share of the validation part, which is split off before and belongs to both halves.
        canaries: Share of samples whose label is made wrong.
    """

    pair: int
    tails: bool
    seed: int
    val_share: float
    canaries: float = 0.0

    def members(self, pool: Pool) -> Tensor:
        """Bool ``[N]``, the samples of the pool that this half has."""
        coins = generator("draw", pool.images.fingerprint, self.seed, self.pair)
        return torch.randint(2, (len(pool.learn),), generator=coins).bool() != self.tails

    def of(self, images: ImageSet) -> tuple[ImageSet, Tensor, Tensor]:
        """The half with the validation part, and the places of both in it, in the order of the split."""
        pool = Pool.of(images, self.val_share, self.canaries)
        learned = torch.zeros(len(images), dtype=torch.bool).index_fill_(0, pool.learn[self.members(pool)], True)
        held = torch.zeros(len(images), dtype=torch.bool).index_fill_(0, pool.held, True)
        places = (learned | held).nonzero()[:, 0]
        return pool.images.take(places), learned[places].nonzero()[:, 0], held[places].nonzero()[:, 0]

    def __str__(self) -> str:
        side, canaries = "ab"[self.tails], f", {self.canaries:g} canaries" if self.canaries else ""
        return f"half {self.pair}{side}{canaries}"
