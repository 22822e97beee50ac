"""The models of the lineage bench: small parents, children of each by every way of tuning, and unrelated models.

Everything is a training of the project, so that its store keeps it: an interrupted run goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from tl_robust.data.domain import DataSettings
from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.space import SPACES
from tl_robust.models.base import NETWORKS
from tl_robust.nodes.models import Model
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training
from tl_robust.registry import Component, load_plugins
from tl_robust.seeding import generator
from tl_robust.strategies import STRATEGIES
from tl_robust.types import Recipe

load_plugins(Path(__file__).parent / "networks")
SPACE = SPACES.component("digits")
NETS = {
    "dtn": NETWORKS.component("dtn", {"width": 0.25}),
    "dtn, GroupNorm": NETWORKS.component("dtn", {"width": 0.25, "norm": "group"}),
    "residual": NETWORKS.component("residual"),
    "patches": NETWORKS.component("patches"),
}
SOURCES = ("mnist5k", "rendered_print")
TARGETS = ("optdigits", "optdigits of 6 classes", "the source of others")
SEEDS = {"fit": (10, 11, 12), "measured": (20, 21, 22)}
"""Thresholds and posteriors come from the first, every number of the page from the second."""
WAYS = {  # settings of fine-tuning
    "linear probe": {"mode": "probe"},
    "full, small rate": {"lr": 0.01},
    "full, large rate": {"lr": 0.1},
    "bitfit": {"mode": "bitfit"},
    "LoRA": {"mode": "lora"},
}
PRUNED, NOISE, COPY = "full, then pruned by 50 %", "full, then noise", "half precision"
SAME_START = "same initial weights, other data"
SCRATCH, SAME_DATA = "other seed, data of the child", "other seed, data of the parent"
IMAGES, EPOCHS = (1200, 400), (5, 6)  # of a parent, and of all else
NOISE_SIZE = 0.3  # of the standard deviation of each tensor


@dataclass(frozen=True)
class Size:
    """How large the bench is.

    Attributes:
        nets: Names of networks.
        seeds: Seeds of the parents.
        images: Training images of a source, and at most of a target.
        epochs: Of a parent, and of all else.
    """

    nets: tuple[str, ...] = tuple(NETS)
    seeds: tuple[int, ...] = SEEDS["measured"]
    images: tuple[int, int] = IMAGES
    epochs: tuple[int, int] = EPOCHS


@dataclass(frozen=True)
class Sample:
    """A model of which the parent is asked.

    Attributes:
        model: Where its weights come from.
        way: How it was made.
        net: Name of its network.
        near: The parent that it comes from, or which an unrelated model resembles most.
        child: Whether it comes from it.
        target: Its test images are those of this.
    """

    model: Model
    way: str
    net: str
    near: Training
    child: bool
    target: DomainInSpace

    def load(self, store: Store) -> nn.Module:
        """The network as it is published."""
        network = self.model.load(store).eval()
        change = {PRUNED: _pruned, NOISE: _noisy, COPY: _halved}.get(self.way)
        if change:
            draw = generator("lineage", self.model.key)
            with torch.no_grad():
                for value in network.parameters():
                    value.copy_(change(value, draw))
        return network


def _pruned(value: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """The smaller half of the entries of a weight is 0 (Han et al., NeurIPS 2015)."""
    return value if value.ndim < 2 else value * (value.abs() > value.abs().median())


def _noisy(value: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    size = NOISE_SIZE * value.std() if value.numel() > 1 else 0
    return value + size * torch.randn(value.shape, generator=draw)


def _halved(value: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    return value.half().float()


def data(domain: str, images: int, classes: tuple[str, ...] = ()) -> DomainInSpace:
    """A domain of which a part is learned from."""
    return DomainInSpace(domain, SPACE, DataSettings(train_limit=images, test_limit=500, cache=""), classes)


def parents(size: Size) -> list[tuple[str, Training]]:
    """Network and training of each parent."""
    return [
        (net, _training(net, data(source, size.images[0]), size.epochs[0], seed, SCRATCH_BY))
        for net in size.nets
        for source in SOURCES
        for seed in size.seeds
    ]


def _target(kind: int, source: str, images: int) -> DomainInSpace:
    """What a child learns: other digits, some classes of them, or what the parents of the other source know."""
    other = next(name for name in SOURCES if name != source)
    return data(other if kind == 2 else "optdigits", images, tuple("012345") if kind == 1 else ())


SCRATCH_BY = STRATEGIES.component("scratch")


def _training(
    net: str, learned: DomainInSpace, epochs: int, seed: int, by: Component, parent: Model | None = None
) -> Training:
    rate = 0.05 if net == "patches" else 0.02
    recipe = Recipe(epochs=epochs, batch_size=32, lr=rate, momentum=0.9, select="last")
    return Training(learned, NETS[net], recipe, seed, by, parent)


def samples(size: Size) -> Iterator[Sample]:
    """All models of which the parent is asked, those of a parent together."""
    for place, (net, parent) in enumerate(parents(size)):
        target = _target(place % len(TARGETS), parent.data.domain, size.images[1])
        epochs, seed = size.epochs[1], parent.seed
        made = {
            way: _training(net, target, epochs, seed, STRATEGIES.component("finetune", settings), parent)
            for way, settings in WAYS.items()
            if way != "LoRA" or net == "patches"
        }
        for way, model in made.items():
            yield Sample(model, way, net, parent, True, target)
        for way in (PRUNED, NOISE):
            yield Sample(made["full, small rate"], way, net, parent, True, target)
        yield Sample(parent, COPY, net, parent, True, target)
        fresh = _training(net, target, epochs, seed + 100, SCRATCH_BY)
        yield Sample(fresh, SCRATCH, net, parent, False, target)
        yield Sample(replace(parent, seed=seed + 100), SAME_DATA, net, parent, False, target)
        twin = _training(net, target, epochs, seed, STRATEGIES.component("finetune"), parent.at(0))
        yield Sample(twin, SAME_START, net, parent, False, target)
