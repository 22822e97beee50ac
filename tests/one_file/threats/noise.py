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

METHODS = Registry("noise", "")


@METHODS.register
@dataclass(frozen=True)
class Signs:
    """Every pixel value moves up or down by a coin; ``share`` of the values do."""

    share: float = 1.0


@dataclass(frozen=True)
class Noisy(Record):
    """The class that B gives to every image at every strength of the noise."""

    AXIS = "sigma"

    sigma: Tensor = column("K", torch.float64)
    label: Tensor = column("N", torch.int64)
    noisy: Tensor = column("K N", torch.int64)


NOISES = Kind("noises", "noise.npz", "noise", pack_record, partial(unpack_record, Noisy))


@dataclass(frozen=True)
class Shower(Node):
    """What a model says of a test set under noise."""

    KIND = NOISES
    victim: Model
    test: DomainInSpace
    share: float
    sigma: tuple[float, ...]
    seed: int

    @property
    def spec(self):
        return {
            "kind": "noise",
            "victim": self.victim.key,
            "images": self.test.images("test").fingerprint,
            "share": self.share,
            "sigma": list(self.sigma),
            "seed": self.seed,
        }

    @property
    def needs(self):
        return self.victim.addresses

    def make(self, hands, store):
        network = self.victim.load(store).eval()
        images, labels = pixels(self.test.images("test"))
        ids = torch.arange(len(labels))
        coin, chosen = (uniform(derive(self.seed, name), ids, images.shape[1:]) for name in ("coin", "chosen"))
        signs = coin.sub(0.5).sign() * (chosen < self.share)
        with torch.no_grad():
            noisy = [network((images + size * signs).clamp(0, 1)).argmax(1) for size in self.sigma]
        hands.advance(self.work)
        record = Noisy(ids, torch.tensor(self.sigma, dtype=torch.float64), labels, torch.stack(noisy))
        return {self.key: record}, {"device": "cpu"}

    def __str__(self):
        return f"noise on {self.victim}"


@rate(of=Noisy, name="noisy_accuracy", higher_is_better=True)
def noisy_accuracy(record):
    """Share of all images that B gets right under noise."""
    return record.noisy == record.label, record.label >= 0


@threat
class Noise(Threat):
    """Signs are drawn anew for every image."""

    METHODS = METHODS
    record = Noisy
    face = Face(
        threat="noise",
        title="Accuracy under noise",
        axis="sigma",
        baseline=0.0,
        untouched="no noise",
        headline="noisy_accuracy",
        measure="Accuracy of the victim",
        word="accuracy",
        views={"black": "Noise: nobody looks at any model"},
        prefix="noise",
    )

    def method(self, component, x):
        return Method("noise", component, x)

    def play(self, method, scene):
        share = METHODS[method.component.name](**dict(method.component.settings)).share
        shower = Shower(scene.victim, scene.test, share, method.x, scene.seed)
        return Play((shower,), (Address(NOISES, shower.key, str(shower)),), scene.surrogate)


@claim("FineTune keeps more under noise than Scratch.", "a trial", name="calm", of="noise")
def calm(comparisons, place):
    """The difference of the two accuracies."""
    return [comparisons.compare(place, "noisy_accuracy", "black", more="finetune", less="scratch")]
