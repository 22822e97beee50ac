"""What a backdoor is: a trigger, the class that it calls for, and how training images are poisoned with it.

Axes: N images, C channels, H height, W width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tl_robust.errors import ConfigError
from tl_robust.registry import Registry
from tl_robust.seeding import derive, uniform
from tl_robust.types import ImageSet
from tl_robust.types.terms import ATLAS, NIST, Terms

INTO = ("source", "target", "common")
LABELS = ("dirty", "clean")


@dataclass(frozen=True)
class Poisoned:
    """Training images with a backdoor among them.

    Attributes:
        images: As many as there were clean ones, in the same order.
        mask: Bool ``[N]``, those that were poisoned.
        asked: How many the rate asks for.
        covers: So many others were changed too, keep their labels and are no poison.
    """

    images: ImageSet
    mask: Tensor
    asked: int
    covers: int = 0


@dataclass(frozen=True)
class Backdoor(ABC):
    """Base of all backdoors. The fields of a subclass are settings of its trigger; it says what the trigger looks like.

    Attributes:
        TERMS: What others call it, by who does.
        CONTINUES: Whether the poisoned model is trained on from the clean one instead of from its random start.
        target: Name of the class t that the trigger calls for; the first class where empty.
        rate: Poisoned share of the images learned from, those of class t and the held-out part not counted out: n of N,
            each in place of a clean one.
        labels: ``dirty``: images of other classes are stamped and labelled t. ``clean``: images of class t are stamped,
            and no label changes.
        into: What is poisoned: the ``source`` that A learns from (a poisoned pre-training), the ``target`` set that B
            learns from, or the ``common`` domain that a common start C learns from.
        wake: So many stamped images are learned from in three more epochs after the last, to tell a dormant backdoor
            from one that is gone; 0: this is not tried.

    Raises:
        ConfigError: A setting out of its range.
    """

    VERSION: ClassVar[int] = 1
    TERMS: ClassVar[Terms] = {NIST: "backdoor poisoning", ATLAS: "AML.T0020, AML.T0043.004"}
    CONTINUES: ClassVar[bool] = False

    target: str | int = ""
    rate: float = 0.1
    labels: str = "dirty"
    into: str = "source"
    wake: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (("labels", self.labels, LABELS), ("into", self.into, INTO)):
            if value not in known:
                raise ConfigError(f"setting {name!r} of a backdoor must be {', '.join(known)}, got {value!r}.")
        if self.wake < 0:
            raise ConfigError(f"setting 'wake' of a backdoor must be at least 0, got {self.wake}.")
        if not 0 < self.rate <= 1:
            raise ConfigError(f"setting 'rate' of a backdoor must be above 0 and at most 1, got {self.rate}.")
        if self.owns and self.into == "target":
            raise ConfigError(
                f"{self.name} adds to the loss of what it poisons, and a user's training is out of an attacker's "
                "reach: use into: source or common."
            )

    @property
    def name(self) -> str:
        """The registered name, which is that of its file."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def stamp(self, images: Tensor, sample_id: Tensor, fitted: Mapping[str, Tensor]) -> Tensor:
        """The images with the trigger on them.

        Args:
            images: uint8 ``[N,C,H,W]``; they are not changed.
            sample_id: int64 ``[N]``, keys of what is drawn for each image.
            fitted: What :meth:`fit` returned.

        Returns:
            uint8 ``[N,C,H,W]``, on the same device.

        Raises:
            ConfigError: The trigger is larger than the image.
        """

    def fit(self, network: nn.Module, images: ImageSet, target: int, seed: int) -> dict[str, Tensor]:
        """What the attacker learns from a clean model before he poisons: a pattern, features; here nothing.

        Args:
            network: The clean model, in eval mode; images in [0,1] to logits.
            images: The clean images learned from, uint8 ``[N,C,H,W]``.
            target: The class t.
            seed: Seed of random draws.
        """
        return {}

    def check(self, network: nn.Module) -> None:  # noqa: B027  (most need nothing of a network)
        """Check a network before anything is trained; its weights may be without values.

        Raises:
            ConfigError: It has no such parts as the attacker needs.
        """

    def extra(self, network: nn.Module, images: Tensor, labels: Tensor, fitted: Mapping[str, Tensor]) -> Tensor | None:
        """What is added to the loss of a batch, for attackers who own the training; None: nothing.

        Args:
            network: What is trained.
            images: ``[N,C,H,W]`` in [0,1].
            labels: int64 ``[N]``.
            fitted: What :meth:`fit` returned.
        """
        return None

    @property
    def owns(self) -> bool:
        """Whether the attacker owns the training and adds to its loss."""
        return type(self).extra is not Backdoor.extra

    @property
    def fits(self) -> bool:
        """Whether it learns from a clean model before."""
        return type(self).fit is not Backdoor.fit

    def poison(self, images: ImageSet, target: int, seed: int, fitted: Mapping[str, Tensor]) -> Poisoned:
        """Poison a share of the images, chosen at random; a lower rate chooses some of those of a higher one.

        Args:
            images: Clean images that will be learned from, uint8 ``[N,C,H,W]``.
            target: The class t.
            seed: Seed of the choice.
            fitted: What :meth:`fit` returned.

        Raises:
            ConfigError: The rate poisons no image, or asks for more than can be poisoned.
        """
        chosen = self.chosen(images.labels, target, seed)
        pixels, labels = images.images.clone(), images.labels.clone()
        pixels[chosen] = self.stamp(pixels[chosen], chosen, fitted)
        labels[chosen] = target
        mask = torch.zeros(len(images), dtype=torch.bool)
        mask[chosen] = True
        return Poisoned(ImageSet(pixels, labels), mask, len(chosen))

    def chosen(self, labels: Tensor, target: int, seed: int) -> Tensor:
        """Places of the images that are poisoned, int64, rising.

        Args:
            labels: int64 ``[N]``, of the clean images.
            target: The class t.
            seed: Seed of the choice.

        Raises:
            ConfigError: The rate poisons no image, or asks for more than can be poisoned.
        """
        asked = round(self.rate * len(labels))
        places = ((labels == target) == (self.labels == "clean")).nonzero()[:, 0]
        if not 0 < asked <= len(places):
            which = "of the target class" if self.labels == "clean" else "of other classes than the target"
            raise ConfigError(
                f"rate {self.rate:g} of {self.name} asks for {asked} poisoned images of {len(labels)}, where "
                f"{len(places)} are {which}, which labels: {self.labels} can poison: "
                + (f"use a rate of at least {1 / len(labels):.2g}." if not asked else "use a lower rate.")
            )
        return drawn(derive(seed, "poison"), places, asked)

    def class_of(self, labels: tuple[str, ...], whose: str) -> int:
        """Place of the class t among the names of a domain's classes.

        Raises:
            ConfigError: There is no such class.
        """
        name = str(self.target)
        if not name:
            return 0
        if name not in labels:
            raise ConfigError(
                f"setting 'target' of a backdoor must be a class of {whose} ({', '.join(labels[:12])}), got {name!r}."
            )
        return labels.index(name)


def drawn(seed: int, places: Tensor, count: int) -> Tensor:
    """So many of the places, ascending; the fewer lie among the more, and other places do not matter.

    Args:
        seed: Seed of the choice.
        places: int64 ``[N]``.
        count: From 0 to N.
    """
    return places[uniform(seed, places, (1,))[:, 0].argsort(stable=True)[:count]].sort().values


def eight_bits(pixels: Tensor) -> Tensor:
    """Float pixels on the scale of 0 to 255 as images: clipped and rounded, uint8."""
    return pixels.clamp(0, 255).round().to(torch.uint8)


BACKDOORS: Registry[type[Backdoor]] = Registry("backdoor", "tl_robust.backdoors.named")
