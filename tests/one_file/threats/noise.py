"""Noise: B meets images to which random signs were added, which nobody crafted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from tl_robust.claims import claim
from tl_robust.data.mapped import DomainInSpace
from tl_robust.metrics import rate
from tl_robust.nodes.hands import pixels
from tl_robust.nodes.kind import Address, Kind
from tl_robust.nodes.models import Model
from tl_robust.nodes.node import Node
from tl_robust.nodes.payload import pack_record, unpack_record
from tl_robust.registry import Registry
from tl_robust.seeding import derive, uniform
from tl_robust.threats.base import Method, Play, Threat, threat
from tl_robust.types import Face, Record, column

METHODS = Registry("noise", "")  # what axes.attack may hold; they are all here, so that no package is walked


@METHODS.register
@dataclass(frozen=True)
class Signs:
    """Every pixel value moves up or down by a coin; fields would be settings of ``axes.attack``."""


@dataclass(frozen=True)
class Noisy(Record):
    """What is kept of every image: K strengths, N images. Classes, never rates, so that later metrics work on it."""

    AXIS = "sigma"

    sigma: Tensor = column("K", torch.float64)
    label: Tensor = column("N", torch.int64)
    noisy: Tensor = column("K N", torch.int64)


NOISES = Kind("noises", "noise.npz", "noise", pack_record, partial(unpack_record, Noisy))


@dataclass(frozen=True)
class Shower(Node):
    """The work behind a record: the loop of every engine does it once, and the store keeps it under its key."""

    KIND = NOISES
    victim: Model
    test: DomainInSpace
    sigma: tuple[float, ...]
    seed: int

    @property
    def spec(self):  # everything that can change the record, as JSON: the key is its digest
        return {
            "kind": "noise",
            "victim": self.victim.key,
            "images": self.test.images("test").fingerprint,
            "sigma": list(self.sigma),
            "seed": self.seed,
        }

    @property
    def needs(self):  # what must be in the store before
        return self.victim.addresses

    def make(self, hands, store):
        network = self.victim.load(store).eval()
        images, labels = pixels(self.test.images("test"))
        ids = torch.arange(len(labels))
        signs = uniform(derive(self.seed, "coin"), ids, images.shape[1:]).sub(0.5).sign()  # keyed by sample
        with torch.no_grad():
            noisy = [network((images + size * signs).clamp(0, 1)).argmax(1) for size in self.sigma]
        hands.advance(self.work)
        record = Noisy(ids, torch.tensor(self.sigma, dtype=torch.float64), labels, torch.stack(noisy))
        return {self.key: record}, {"device": "cpu"}

    def __str__(self):
        return f"noise on {self.victim}"


@rate(of=Noisy, name="kept_in_noise", higher_is_better=True)
def kept_in_noise(record):
    """Share of all images that B gets right under noise."""
    return record.noisy == record.label, record.label >= 0


@threat
class Noise(Threat):
    """Nobody looks at any model: a method, what a cell of it needs, and how readers meet the results."""

    METHODS = METHODS
    record = Noisy
    face = Face(
        threat="noise",
        title="Accuracy under noise",
        axis="sigma",
        baseline=0.0,
        untouched="no noise",
        headline="kept_in_noise",
        measure="Accuracy of the victim",
        word="accuracy",
        views={"black": "Noise: nobody looks at any model"},
        prefix="noise",
    )

    def method(self, component, x):
        return Method("noise", component, x)

    def play(self, method, scene):  # nodes beside the models, and where the record is
        shower = Shower(scene.victim, scene.test, method.x, scene.seed)
        return Play((shower,), (Address(NOISES, shower.key, str(shower)),), scene.surrogate)


@claim("FineTune keeps more under noise than Scratch.", "a trial", name="calm", of="noise")
def calm(comparisons, place):
    """The difference of the two accuracies."""
    return [comparisons.compare(place, "kept_in_noise", "black", more="finetune", less="scratch")]
