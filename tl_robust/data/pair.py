"""Pairs of a source and a target domain, as LightningDataModules that any Trainer can use."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, ClassVar, Literal, Protocol

import torch
from lightning import LightningDataModule
from torch import Tensor

from tl_robust.data.batches import Batches
from tl_robust.data.domain import DOMAINS, DataSettings, get_domain
from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.names import Names
from tl_robust.data.space import SPACES, get_space
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.registry import Component, Registry, Scalar, check_settings, plugin_hint
from tl_robust.types import ImageSet, Recipe

Role = Literal["source", "target"]
LOADING = ("batch_size", "augment", "val_share", "select")  # the fields of a recipe that change what loaders yield


class _Poisoned(Protocol):
    """Training images with poison among them.

    Attributes:
        images: As many as there were, in the same order.
    """

    @property
    def images(self) -> ImageSet: ...


class DomainModule(LightningDataModule):
    """One domain in a space, ready for a Trainer: a training and a validation part, and the test split.

    Batches are ``(images float32 [N,C,H,W] in [0,1], labels int64 [N], sample ids int64 [N])``. Hyperparameters say
    what the data are: domain, space, limits, seed, and the fields of the recipe that loaders follow.

    Args:
        data: The domain.
        recipe: Batch size, augmentation, and share of the validation part.
        seed: Seed of shuffling and augmentation.
        keep: Chooses what is learned from, such as a defense's filter of training images. It is given the training part
            alone: the held-out part stays the same with and without it, so that both are measured on the same images
            and a filter cannot choose what it is judged by.
        poison: Changes what is learned from before that, such as a backdoor: it gets the training part alone and gives
            as many ``images`` in the same order.
        sampling: Training batches are Poisson samples of this rate; 0: the recipe's batches.
    """

    def __init__(
        self,
        data: DomainInSpace,
        recipe: Recipe,
        seed: int = 0,
        keep: Callable[[ImageSet], ImageSet] | None = None,
        poison: Callable[[ImageSet], _Poisoned] | None = None,
        sampling: float = 0.0,
    ) -> None:
        super().__init__()
        self.keep = keep
        self.poison = poison
        self.sampling = sampling
        self.data = data
        self.recipe = recipe
        self.seed = seed
        self.save_hyperparameters(
            {"domain": data.domain, "space": str(data.space), "seed": seed, "target_images": data.share}
            | asdict(data.settings)
            | {name: getattr(recipe, name) for name in LOADING}
        )

    @property
    def labels(self) -> Names:
        """Names of the classes in label order."""
        return self.data.labels

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``."""
        return get_space(self.data.space).image_shape

    def train_dataloader(self) -> Batches:
        """Shuffled, augmented batches of the training part; of the whole training split where ``select`` is test."""
        images = self.data.images("train")
        learn = None if self.recipe.select == "test" else self.data.parts(self.recipe.val_share)[0]
        if self.poison is not None:
            places = torch.arange(len(images)) if learn is None else learn
            poisoned = self.poison(images.take(places)).images
            images = ImageSet(  # in their places, so that sample ids and random draws are those of the clean images
                images.images.index_copy(0, places, poisoned.images),
                images.labels.index_copy(0, places, poisoned.labels),
            )
        if self.keep is not None:
            candidates = images if learn is None else images.take(learn)
            kept = self.keep(candidates)
            if kept is not candidates:  # a filter that keeps all leaves sample ids, and so random draws, as they were
                images, learn = kept, None
        return self._batches(images, learn, self.seed, self.recipe.augment, self.sampling)

    def val_dataloader(self) -> Batches:
        """The held-out part of the training split; the test split where ``select`` is test."""
        if self.recipe.select == "test":
            return self.test_dataloader()
        images = self.data.images("train")
        return self._batches(images, self.data.parts(self.recipe.val_share)[1])

    def test_dataloader(self) -> Batches:
        """The official test split, in order."""
        return self._batches(self.data.images("test"))

    def predict_dataloader(self) -> Batches:
        """The official test split, in order."""
        return self.test_dataloader()

    @classmethod
    def load_from_checkpoint(cls, *arguments: Any, **named: Any) -> Any:
        """Always an error, since a checkpoint holds no data but only the hyperparameters to make them from.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            "data are not in a checkpoint: make them by tl_robust.pair(name, space, ...), with the values that its "
            "entry 'datamodule_hyper_parameters' shows."
        )

    def _batches(
        self,
        images: ImageSet,
        index: Tensor | None = None,
        seed: int | None = None,
        augment: str = "none",
        sampling: float = 0.0,
    ) -> Batches:
        trainer = self.trainer
        device, rank, world = torch.device("cpu"), 0, 1
        if trainer is not None:
            device, rank, world = trainer.strategy.root_device, trainer.global_rank, trainer.world_size
        return Batches(images, self.recipe.batch_size, index, seed, device, rank, world, augment, None, sampling)


class DomainPair(DomainModule):
    """A source and a target domain in one space. Its own loaders are those of the target.

    A subclass in a file of its own names source, target and space; it may override :meth:`side` to give other data.

    Args:
        settings: Where data lie and how much is used.
        recipe: Batch size and share of the validation part.
        seed: Seed of the shuffling.
        target_images: How many labeled target images are used: a share up to 1, a number of images above 1.
    """

    source: ClassVar[str]
    target: ClassVar[str]
    space: ClassVar[str | Component]

    def __init__(
        self,
        settings: DataSettings | None = None,
        recipe: Recipe | None = None,
        seed: int = 0,
        target_images: float = 1.0,
    ) -> None:
        self.settings = settings or DataSettings()
        super().__init__(replace(self.side("target"), share=target_images), recipe or Recipe(), seed)
        self.save_hyperparameters({"source": self.source, "target": self.target})

    def side(self, role: Role) -> DomainInSpace:
        """The data of one role."""
        return self.in_space(self.source if role == "source" else self.target)

    def in_space(self, domain: str) -> DomainInSpace:
        """Any domain in the space of this pair, with the pair's classes if it has any of them, else its own."""
        return DomainInSpace(domain, self.component(), self.settings, self.classes())

    def component(self) -> Component:
        """The space with settings."""
        return SPACES.component(self.space) if isinstance(self.space, str) else self.space

    def classes(self) -> Names:
        """The classes of the pair, see :meth:`tl_robust.data.space.Space.pair_classes`."""
        domains = (get_domain(name, self.settings) for name in (self.source, self.target))
        names = (domain.class_names(self.settings.folder, self.settings.download) for domain in domains)
        return get_space(self.component()).pair_classes(*names)

    def module(self, role: Role) -> DomainModule:
        """The data of one role alone, as a LightningDataModule."""
        module = DomainModule(self.data if role == "target" else self.side(role), self.recipe, self.seed)
        module.save_hyperparameters({"source": self.source, "target": self.target})
        return module


PAIRS: Registry[type[DomainPair]] = Registry("pair", "tl_robust.data.pairs")


def get_pair(name: str, space: str | Component, settings: DataSettings | None = None) -> type[DomainPair]:
    """The pair of a name: a registered one, or ``source-target`` for any two domains.

    Args:
        name: For example ``mnist-usps``, or ``npz:photos-npz:sketches``.
        space: The space of a pair that is not registered.
        settings: Holds the domains that a bench file declares.

    Raises:
        UnknownNameError: No such pair or domain.
        ConfigError: Source and target are the same.
    """
    if name in PAIRS:
        return PAIRS[name]
    settings = settings or DataSettings()
    first, second = split_pair(name, [*DOMAINS.names(), *(item.name for item in settings.domains)])
    for domain in (first, second):
        get_domain(domain, settings)
    return type(name, (DomainPair,), {"source": first, "target": second, "space": space})


def pair(
    name: str,
    space: str | Component = "digits",
    recipe: Recipe | None = None,
    seed: int = 0,
    target_images: float = 1.0,
    **settings: Scalar,
) -> DomainPair:
    """A pair of a name as a LightningDataModule; its loaders are the target's, ``module("source")`` has the source's.

    Args:
        name: For example ``mnist-usps``, or ``npz:photos-npz:sketches``.
        space: The space of a pair that is not registered: ``digits``, ``objects``, ``square``, or a component.
        recipe: Batch size, augmentation, and share of the validation part.
        seed: Seed of the shuffling.
        target_images: How many labeled target images are used: a share up to 1, a number of images above 1.
        settings: Fields of :class:`DataSettings`: ``root``, ``download``, ``train_limit``, ...; nothing is cached on
            disk unless ``cache`` names a folder.

    Raises:
        UnknownNameError: No such pair, domain, space or setting; the message shows the closest.
        ConfigError: Source and target are the same, or a setting of the wrong type or outside its range.
    """
    data = DataSettings(**({"cache": ""} | check_settings(f"pair {name!r}", DataSettings, settings)))  # type: ignore[arg-type]
    return get_pair(name, space, data)(data, recipe, seed, target_images)


def split_pair(name: str, known: list[str]) -> tuple[str, str]:
    """Source and target of ``source-target``, at the first dash that leaves two possible names.

    Args:
        name: The pair.
        known: Names of domains. A word with a colon after it may be a domain too.

    Raises:
        UnknownNameError: The name has no dash, or no domain is named so.
        ConfigError: Source and target are the same.
    """
    words = name.split("-")
    cuts = [("-".join(words[:place]), "-".join(words[place:])) for place in range(1, len(words))]
    if not cuts:
        raise UnknownNameError("pair (a registered one, or source-target)", name, [*PAIRS.names(), *known])
    domains = {side for cut in cuts for side in cut if side in known or re.match(r"\w+:", side)}
    source_target = next((cut for cut in cuts if domains.issuperset(cut)), None)
    if source_target is None:
        unknown = next(side for side in cuts[0] if side not in domains)
        raise UnknownNameError("domain", unknown, known, plugin_hint("domain"))
    if source_target[0] == source_target[1]:
        raise ConfigError(f"pair {name!r} has the same domain twice: expected two different ones.")
    return source_target
