"""Timings: how many times as long a defended model takes to answer a batch as without its defense."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from math import ceil
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.data.mapped import DomainInSpace, spread
from tl_robust.nodes.clock import Clock
from tl_robust.nodes.hands import Hands, pixels, seeded
from tl_robust.nodes.kind import Kind
from tl_robust.nodes.models import Model
from tl_robust.nodes.node import Made, Node, of
from tl_robust.nodes.provenance import device_name
from tl_robust.nodes.store import Store

BATCH = 128  # images that are answered at a time
ROUNDS = 5
TURN = 0.02  # seconds that one turn of the twin lasts at least, by as many answers as are needed, but not more than
MOST = 50


@dataclass(frozen=True)
class Timed:
    """What a model and its undefended twin took for the same batch, in rounds of one after the other.

    Attributes:
        defended: Seconds of the device in each round.
        undefended: The same of the twin, in the same order.
    """

    defended: tuple[float, ...]
    undefended: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median over the rounds of how many times as long the defended model took."""
        return median(first / second for first, second in zip(self.defended, self.undefended, strict=True))


def pack_timed(timed: Timed) -> bytes:
    """Timings as JSON."""
    return json.dumps(asdict(timed)).encode()


def unpack_timed(content: bytes) -> Timed:
    """The timings of :func:`pack_timed`; raises ``ValueError`` alone."""
    try:
        read = json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    names = ("defended", "undefended")
    if not isinstance(read, dict) or set(read) != set(names):
        raise ValueError(f"expected {' and '.join(names)}")
    if not all(isinstance(read[name], list) and read[name] and all(map(_seconds, read[name])) for name in names):
        raise ValueError("expected lists of seconds above 0")
    if len(read["defended"]) != len(read["undefended"]):
        raise ValueError("expected as many rounds of both")
    return Timed(*(tuple(map(float, read[name])) for name in names))


TIMINGS = Kind("timings", "timing.json", "timing", pack_timed, unpack_timed, leaf=True)


def answers_otherwise(model: Model, twin: Model) -> bool:
    """Whether a defended model is more, or another network, than its undefended twin when it answers.

    Where it is not, as after a defense that acts in training alone, both take the same time and nothing is measured.
    """

    def shape(one: Model) -> tuple[Any, ...]:
        return one.alone, one.network, one.space, len(one.labels)

    return shape(model) != shape(twin) or not model.alone


@dataclass(frozen=True)
class Timing(Node):
    """Rounds in which a defended model and its undefended twin answer the same test images, one after the other.

    The twin has its own network with fresh weights, on which the time does not depend, so that nothing must be trained
    for a timing. What is measured is no function of the key: it is in no table, and it is not computed again where it
    is there.

    Attributes:
        model: The defended model.
        twin: The model without the defense.
        test: The domain whose test images are answered.
        batch: Images that are answered at a time; all where there are fewer.
    """

    KIND = TIMINGS
    model: Model
    twin: Model
    test: DomainInSpace
    batch: int = BATCH
    needs = of("model.addresses")

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        return {"kind": "timing", "defended": self.model.key, "undefended": self.twin.key, "batch": self.batch}

    @override
    def note(self, made: Mapping[str, Any]) -> str:
        return f"{made['ratio']:.2f} x" if "ratio" in made else ""

    @override
    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, Timed], Made]:
        whole = self.test.images("test")
        images, _ = pixels(whole.take(spread(len(whole), self.batch)))
        with hands.tester([]) as trainer, seeded(0):
            device = trainer.strategy.root_device
            networks = [model.to(device).eval() for model in (self.model.load(store), self.twin.build())]
            timed = taken(networks[0], networks[1], images.to(device))
        hands.advance(1)
        facts = {"device": device_name(device), "rounds": ROUNDS, "images": len(images), "ratio": timed.ratio}
        return {self.key: timed}, facts

    def __str__(self) -> str:
        return f"{self.model} beside {self.twin}"


@torch.no_grad()
def taken(model: nn.Module, twin: nn.Module, images: Tensor, rounds: int = ROUNDS) -> Timed:
    """The seconds of a device for a batch ``[N,C,H,W]``, of two networks that take turns.

    Both answer once before. Where the twin is quick, a turn is as many answers as take it ``TURN``, and their mean.
    """

    def seconds(network: nn.Module, answers: int = 1) -> float:
        before = Clock.read()
        for _ in range(answers):
            network(images)
        return Clock.read().since(before, images.device.type) / answers

    for network in (model, twin):  # the first answer also sets the device up
        last = seconds(network)
    answers = min(max(ceil(TURN / max(last, TURN / MOST)), 1), MOST)
    seen = [(seconds(model, answers), seconds(twin, answers)) for _ in range(rounds)]
    return Timed(tuple(first for first, _ in seen), tuple(second for _, second in seen))


def _seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
