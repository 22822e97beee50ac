"""Pairs of domains as LightningDataModules, and the loader they share.

Small images live on the device as one tensor; an epoch is a permutation of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from lightning import LightningDataModule
from torch import Tensor

from tl_robust.data.domain import DOMAINS, DataSettings, DomainInSpace, split_validation
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.registry import Registry
from tl_robust.seeding import generator
from tl_robust.types import ImageSet, Recipe

Batch = tuple[Tensor, Tensor, Tensor]
Role = Literal["source", "target"]


class Batches:
    """Batches ``(images float32 [N,C,H,W] in [0,1], labels int64 [N], sample ids int64 [N])`` of an image set.

    Args:
        images: All images.
        batch_size: Images in a batch (on each process).
        index: Which samples, int64; None for all.
        seed: Shuffle anew in each epoch with this seed, and leave out a last batch of one sample, since BatchNorm
            cannot train on it; None keeps the order and all samples.
        device: Where images live and batches are made.
        rank: Number of this process; process r takes every ``world``-th sample from the r-th on.
        world: Number of processes.
    """

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        index: Tensor | None = None,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._pixels = images.images.to(device)
        self._labels = images.labels.to(device)
        self._index = torch.arange(len(images)) if index is None else index
        self._batch_size = batch_size
        self._seed = seed
        self._rank, self._world = rank, world
        self._epoch = 0

    def __len__(self) -> int:
        share = len(self._index) // self._world
        lone = self._seed is not None and share > 1 and share % self._batch_size == 1
        return math.ceil(share / self._batch_size) - lone

    def __iter__(self) -> Iterator[Batch]:
        order = self._index
        if self._seed is not None:
            order = order[torch.randperm(len(order), generator=generator("epoch", self._seed, self._epoch))]
            self._epoch += 1
        share = len(order) // self._world
        order = order[self._rank : share * self._world : self._world].to(self._pixels.device)
        for ids in order.split(self._batch_size)[: len(self)]:
            yield self._pixels[ids].to(torch.float32).div_(255), self._labels[ids], ids


class DomainModule(LightningDataModule):
    """One domain in a space, ready for a Trainer: a training and a validation part, and the test split.

    Args:
        data: The domain.
        recipe: Batch size and share of the validation part.
        seed: Seed of the shuffling.
    """

    def __init__(self, data: DomainInSpace, recipe: Recipe, seed: int = 0) -> None:
        super().__init__()
        self.data = data
        self.recipe = recipe
        self.seed = seed

    def train_dataloader(self) -> Batches:
        """Shuffled batches of the training part."""
        images = self.data.images("train")
        learn, _ = split_validation(images, self.recipe.val_share)
        return self._batches(images, learn, self.seed)

    def val_dataloader(self) -> Batches:
        """The held-out part of the training split."""
        images = self.data.images("train")
        _, held = split_validation(images, self.recipe.val_share)
        return self._batches(images, held)

    def test_dataloader(self) -> Batches:
        """The official test split, in order."""
        return self._batches(self.data.images("test"))

    def _batches(self, images: ImageSet, index: Tensor | None = None, seed: int | None = None) -> Batches:
        trainer = self.trainer
        if trainer is None:
            return Batches(images, self.recipe.batch_size, index, seed)
        device, rank, world = trainer.strategy.root_device, trainer.global_rank, trainer.world_size
        return Batches(images, self.recipe.batch_size, index, seed, device, rank, world)


class DomainPair(DomainModule):
    """A source and a target domain in one space. Its own loaders are the target's.

    A subclass in a file of its own names the three; it may override :meth:`side` to give other data.

    Args:
        settings: Where data lie and how much is used.
        recipe: Batch size and share of the validation part.
        seed: Seed of the shuffling.
    """

    source: ClassVar[str]
    target: ClassVar[str]
    space: ClassVar[str]

    def __init__(self, settings: DataSettings | None = None, recipe: Recipe | None = None, seed: int = 0) -> None:
        self.settings = settings or DataSettings()
        super().__init__(self.side("target"), recipe or Recipe(), seed)

    def side(self, role: Role) -> DomainInSpace:
        """The data of one role."""
        return DomainInSpace(self.source if role == "source" else self.target, self.space, self.settings)

    def module(self, role: Role) -> DomainModule:
        """A LightningDataModule of one role alone."""
        return DomainModule(self.side(role), self.recipe, self.seed)


PAIRS: Registry[type[DomainPair]] = Registry("pair", "tl_robust.data.pairs")


def get_pair(name: str, space: str) -> type[DomainPair]:
    """The pair of a name: a registered one, or ``source-target`` for any two domains.

    Args:
        name: For example ``mnist-usps``.
        space: The space of a pair that is not registered.

    Raises:
        UnknownNameError: No such pair or domain.
        ConfigError: Source and target are the same.
    """
    if name in PAIRS:
        return PAIRS[name]
    first, dash, second = name.partition("-")
    if not dash:
        raise UnknownNameError("pair (a registered one, or source-target)", name, [*PAIRS.names(), *DOMAINS.names()])
    for domain in (first, second):
        if domain not in DOMAINS:
            raise UnknownNameError("domain", domain, DOMAINS.names())
    if first == second:
        raise ConfigError(f"pair {name!r} has the same domain twice: expected two different ones.")
    return type(name, (DomainPair,), {"source": first, "target": second, "space": space})
