"""What is said of the models of the lineage bench: each is audited with its parent among the candidates and without."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import forest
import torch
from torch import Tensor, nn

from tl_robust.auditor.origin import KINDS, decisions, features, weights
from tl_robust.auditor.origin.evidence import Evidence
from tl_robust.auditor.subject import ReadModel, Subject
from tl_robust.nodes.models import Model
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training

IMAGES = 200  # test images of an audit
CHILD, UNRELATED, ALONE, LEFT_ALONE, SIBLING, ORPHAN = (
    "child",
    "unrelated",
    "child, the parent the only candidate",
    "child, another model the only candidate",
    "child, a sibling among the candidates",
    "child, a sibling in the place of the parent",
)
LEFT_OUT = "child of a model that is no candidate"


@dataclass(frozen=True)
class Judged:
    """One audit by one kind of evidence.

    Attributes:
        group: Which models were candidates.
        way: How the model was made.
        kind: Of evidence.
        right: The closest is the parent; never where there is none.
        claimed: Whether a parent is claimed.
        certainty: Of the closest.
        lead: Score of the closest less that of the next.
    """

    group: str
    way: str
    kind: str
    right: bool
    claimed: bool
    certainty: float
    lead: float


@dataclass(frozen=True)
class Pairs:
    """Of pairs of a model and one candidate: how many standard deviations of chance, and what is kept.

    Attributes:
        chance: Of models that were trained apart, by kind of evidence.
        children: Of children and their parents.
        kept: Of models and the parents they are made of or resemble, by way.
    """

    chance: dict[str, list[float]]
    children: dict[str, list[float]]
    kept: dict[str, list[float]]


@contextmanager
def asked_once(known: dict[tuple[object, ...], tuple[nn.Module, Tensor | None]]) -> Iterator[None]:
    """Ask a network once for its features and its answers to noise, which all audits of it share, to save time.

    Args:
        known: What was asked, with the networks, so that no other one gets their identity.
    """

    def once(name: str, ask: Callable[..., Tensor | None], mark: Callable[..., object]) -> Callable[..., Tensor | None]:
        def answer(network: nn.Module, asked: Any) -> Tensor | None:
            key = name, id(network), mark(asked)
            if key not in known:
                known[key] = network, ask(network, asked)
            return known[key][1]

        return answer

    with (
        patch.object(features, "units", once("units", features.units, lambda images: images.fingerprint)),
        patch.object(decisions, "answers", once("answers", decisions.answers, lambda images: tuple(images.shape))),
    ):
        yield


class Judge:
    """Audits the models of one set of seeds.

    Args:
        size: Which models.
        store: Has their weights.
    """

    def __init__(self, size: forest.Size, store: Store) -> None:
        self.store, self.samples = store, list(forest.samples(size))
        self.parents = forest.parents(size)
        self._loaded: dict[str, nn.Module] = {}
        self._known: dict[tuple[object, ...], tuple[nn.Module, Tensor | None]] = {}

    def network(self, model: Model) -> nn.Module:
        """A network with its weights, loaded once."""
        if model.key not in self._loaded:
            self._loaded[model.key] = model.load(self.store).eval()
        return self._loaded[model.key]

    def decoys(self, near: Training, net: str) -> list[Training]:
        """Four models like a parent: with its data and other seeds, then with other data."""
        same = [one for name, one in self.parents if name == net and one.key != near.key]
        return sorted(same, key=lambda one: (one.data != near.data, one.seed != near.seed))[:4]

    def judged(self, kinds: Mapping[str, Sequence[str]]) -> Iterator[Judged]:
        """All audits; of each kind of evidence those of these groups."""
        for sample in self.samples:
            images = sample.target.images("test")
            images = images.take(torch.arange(min(IMAGES, len(images))))
            model = ReadModel(sample.way, sample.load(self.store), sample.target.labels)
            decoys = self.decoys(sample.near, sample.net)
            audits: list[tuple[str, Sequence[Model]]] = [
                (CHILD if sample.child else UNRELATED, [sample.near, *decoys[:3]])
            ]
            if sample.child:
                sibling = self.sibling(sample)
                audits += [
                    (LEFT_OUT, decoys),
                    (ALONE, [sample.near]),
                    (LEFT_ALONE, decoys[:1]),
                    (SIBLING, [sibling, sample.near, *decoys[:2]]),
                    (ORPHAN, [sibling, *decoys[:3]]),
                ]
            for group, candidates in audits:
                read = [ReadModel(one.key, self.network(one), one.labels) for one in candidates]
                subject = Subject(model, read[0], tuple(read[1:]), images, sample.target.labels)
                for kind, groups in kinds.items():
                    if group in groups:
                        made = partial(Judged, group, sample.way, kind)
                        with asked_once(self._known):
                            yield _judged(KINDS[kind], subject, made, sample.near.key if sample.child else "")

    def sibling(self, sample: forest.Sample) -> Model:
        """Another child of the same parent, on the same data, fine-tuned in full."""
        way = "full, large rate" if sample.way != "full, large rate" else "full, small rate"
        return next(one.model for one in self.samples if one.near.key == sample.near.key and one.way == way)

    def pairs(self) -> Pairs:
        """What the rules of weights and features rest on."""
        found = Pairs(*({"weights": [], "features": []} for _ in range(2)), {})
        for sample in self.samples:
            network, images = sample.load(self.store), sample.target.images("test").take(torch.arange(IMAGES))
            own = features.units(network, images)
            if sample.child or sample.way == forest.SAME_START:
                compared = weights.compared(network, self.network(sample.near))
                found.kept.setdefault(sample.way, []).append(weights.kept(compared))
            if sample.way == forest.SAME_START:
                continue
            # children of one parent are no new draw of what chance gives
            others = [sample.near, *([] if sample.child else self.decoys(sample.near, sample.net))]
            into = found.children if sample.child else found.chance
            for other in others:
                into["weights"].append(weights.relation(weights.compared(network, self.network(other))).z)
                theirs = features.units(self.network(other), images)
                assert own is not None
                assert theirs is not None
                into["features"].append(features.relation(own, theirs).z)
        return found


def _judged(
    gather: Callable[[Subject], Evidence | None], subject: Subject, made: Callable[..., Judged], parent: str
) -> Judged:
    found = gather(subject)
    assert found
    scores = [one.score for one in found.candidates]
    lead = scores[0] - scores[1] if len(scores) > 1 else 0.0
    first = found.candidates[0]
    return made(first.name == parent, bool(found.claimed), first.certainty, lead)
