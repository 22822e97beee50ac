"""How a membership inference scores every sample for every model of a cohort, each with shadows of the other pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.data.splits import Draw
from tl_robust.inference import Inference, Seen, ShadowInference, Told, build
from tl_robust.nodes.hands import Hands
from tl_robust.nodes.kind import Address, Kind
from tl_robust.nodes.node import Made, Node
from tl_robust.nodes.payload import pack_record, unpack_record
from tl_robust.nodes.provenance import device_name
from tl_robust.nodes.signaling import Halves, Signaling
from tl_robust.nodes.store import Store
from tl_robust.registry import Component
from tl_robust.seeding import generator
from tl_robust.types import Exposure, Signals

EXPOSED = Kind("exposed", "exposure.npz", "inference", pack_record, partial(unpack_record, Exposure))


@dataclass(frozen=True)
class Exposing(Node):
    """Scores of all models of a cohort.

    Attributes:
        inference: The inference with the settings that its scores depend on.
        victims: What each model says, both of a pair after each other.
        shadows: What the shadows of the same halves say; the victims themselves where the attacker makes his shadows as
            they were made; none where the inference needs none.
        parent: What the public model says; None where the inference does not ask.
        halves: The samples.
        draws: Which half each model learned, or on the side ``source`` its parent.
        claim: Epsilon and delta that a defense claims; zeros without one.
    """

    KIND = EXPOSED
    inference: Component
    victims: tuple[Signaling, ...]
    shadows: tuple[Signaling, ...]
    parent: Signaling | None
    halves: Halves
    draws: tuple[Draw, ...]
    claim: tuple[float, float] = (0.0, 0.0)

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        return {
            "kind": "exposure",
            "inference": asdict(self.inference),
            "victims": [victim.key for victim in self.victims],
            "shadows": [shadow.key for shadow in self.shadows],
            "parent": self.parent.key if self.parent else None,
            "draws": [asdict(draw) for draw in self.draws],
            "claim": list(self.claim),
        }

    @property
    def address(self) -> Address:
        """Where the store keeps the record."""
        return Address(EXPOSED, self.key, str(self))

    @property
    def _asked(self) -> tuple[Signaling, ...]:
        return tuple(dict.fromkeys((*self.victims, *self.shadows, *filter(None, [self.parent]))))

    @property
    def nodes(self) -> tuple[Node, ...]:
        """What must be computed for it, and itself."""
        return (*(node for asked in self._asked for node in asked.nodes), self)

    @property
    @override
    def needs(self) -> tuple[Address, ...]:
        return tuple(asked.address for asked in self._asked)

    @override
    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, Exposure], Made]:
        loaded = {asked.key: store.load(asked.KIND, asked.key) for asked in self._asked}
        pool = self.halves.pool
        victims, shadows = ([loaded[asked.key] for asked in group] for group in (self.victims, self.shadows))
        record = exposure(
            build(self.inference),
            victims,
            shadows,
            loaded[self.parent.key] if self.parent else None,
            torch.stack([draw.members(pool) for draw in self.draws]),
            pool.canary,
            self.claim,
        )
        hands.advance(1)
        return {self.key: record}, {"device": device_name(torch.device("cpu"))}

    def __str__(self) -> str:
        return f"{self.inference} on {len(self.victims)} of {self.victims[0].models[-1].title}"


def exposure(
    inference: Inference,
    victims: Sequence[Signals],
    shadows: Sequence[Signals],
    parent: Signals | None,
    member: Tensor,
    canary: Tensor,
    claim: tuple[float, float] = (0.0, 0.0),
) -> Exposure:
    """Score every sample for every model, and the test split with coins that are made up.

    Args:
        inference: The inference.
        victims: What each of the M models says; 2i and 2i + 1 are a pair.
        shadows: What the M shadows of the same halves say; none where the inference needs none.
        parent: What the public model says.
        member: Bool ``[M,N]``, what each learned from.
        canary: Bool ``[N]``.
        claim: Epsilon and delta of a defense.
    """
    first, models = victims[0], len(victims)
    null_member = _coins(models, len(first.test_label), first.sample_id)
    scores: list[Tensor] = []
    null_scores: list[Tensor] = []
    for k in range(len(first.x)):
        own, tested = (_told(victims, k, test) for test in (False, True))
        theirs, theirs_tested = (own, tested) if not shadows else (_told(shadows, k, test) for test in (False, True))
        public = [_told([parent], 0, test).at(torch.tensor(0)) if parent else None for test in (False, True)]
        for rows, told, shadow, members, before in (
            (scores, own, theirs, member, public[0]),
            (null_scores, tested, theirs_tested, null_member, public[1]),
        ):
            row = []
            for model in range(models):
                others = _others(inference, model, models)
                seen = Seen(
                    told.at(torch.tensor(model)), before, shadow.at(others), members[others],
                    tested.at(torch.tensor(model)), theirs_tested.at(others),
                )  # fmt: skip
                row.append(inference.score(seen))
            rows.append(torch.stack(row))
    right = torch.stack([victim.logits.argmax(-1) == victim.label for victim in victims], 1)
    test_right = _test_right(victims)
    return Exposure(
        sample_id=first.sample_id,
        epochs=first.epochs,
        label=first.label,
        canary=canary,
        member=member,
        score=torch.stack(scores).double(),
        right=right,
        null_member=null_member,
        null_score=torch.stack(null_scores).double(),
        test_right=test_right,
        shadow_right=_test_right(shadows) if shadows else test_right,
        shadows=torch.tensor(len(_others(inference, 0, models))),
        claim=torch.tensor(claim, dtype=torch.float64),
    )


def _told(signals: Sequence[Signals], place: int, test: bool) -> Told:
    """What all models say at one epoch."""
    logits = torch.stack([(one.test_logits if test else one.logits)[place] for one in signals])
    told = Told(logits, signals[0].test_label if test else signals[0].label)
    _ = told.loss, told.margin  # once for all that is taken of it
    return told


def _test_right(signals: Sequence[Signals]) -> Tensor:
    return torch.stack([one.test_logits.argmax(-1) == one.test_label for one in signals], 1)


def _coins(models: int, samples: int, sample_id: Tensor) -> Tensor:
    """Bool ``[M,Z]``, as many fair coins as there are pairs; the second of a pair has the other sides."""
    draw = generator("null", len(sample_id), samples)
    heads = torch.randint(2, (models // 2, samples), generator=draw).bool()
    return torch.stack([heads, ~heads], 1).flatten(0, 1)


def _others(inference: Inference, model: int, models: int) -> Tensor:
    """Shadows of a model: those of the next pairs, never its partner, which knows the answer; int64 ``[S]``."""
    if not isinstance(inference, ShadowInference):
        return torch.zeros(0, dtype=torch.int64)
    pairs, wanted = models // 2, inference.shadows or models - 2
    next_pairs = (model // 2 + 1 + torch.arange(wanted // 2)) % pairs
    return torch.stack([2 * next_pairs, 2 * next_pairs + 1], 1).flatten()
