"""Results of backdoors, made by hand: of 100 images, labels 0 to 3, 75 are of other classes than class 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tl_robust import metrics
from tl_robust.types import Cell, Result, Stamped, Verdict

EPOCHS = (0.0, 1.0, 4.0)
LABEL = torch.arange(100) % 4
FEW = (3, 2, 1)  # hits of a clean twin


def record(hits: Sequence[int], right: Sequence[int], target: int = 0, **fields: Any) -> Stamped:
    """After each epoch so many images of other classes are sent to class t, and so many clean ones are right."""
    others = (target != LABEL).nonzero()[:, 0]
    stamped, clean = LABEL.repeat(len(hits), 1), LABEL.repeat(len(hits), 1)
    for row, (hit, known) in enumerate(zip(hits, right, strict=True)):
        stamped[row, others[:hit]] = target
        clean[row, known:] = (LABEL[known:] + 1) % 4
    origin = torch.arange(40) % 4
    known = {
        "sample_id": torch.arange(100),
        "epochs": torch.tensor(EPOCHS, dtype=torch.float64),
        "seen": torch.tensor([round(50 * epoch) for epoch in EPOCHS]),
        "label": LABEL,
        "target": torch.tensor(target),
        "clean": clean,
        "stamped": stamped,
        "size_linf": torch.ones(100),
        "size_l2": torch.ones(100),
        "carrier": torch.full((100,), target),
        "carrier_target": torch.tensor(target),
        "origin_label": origin,
        "origin_clean": origin,
        "origin_stamped": torch.full((40,), target),
        "poison": torch.tensor([10, 9, 100, 30]),
    }
    return Stamped(**(known | fields))


def result(
    hits: Sequence[int] = (75, 40, 15),
    right: Sequence[int] = (60, 90, 98),
    twin_right: Sequence[int] = (50, 92, 99),
    *,
    floor: Sequence[int] | None = FEW,
    target: int = 0,
    index: tuple[float, float] | None = None,
    own: dict[str, Tensor] | None = None,
    **cell: Any,
) -> Result[Stamped]:
    """A cell.

    Args:
        hits: Images that B sends to class t.
        right: Clean images that B gets right.
        twin_right: Clean images that the twin gets right.
        floor: Images that the twin sends to class t; None where there is no twin.
        target: Class t.
        index: What an alarm says of all images of B, and of the twin.
        own: More fields of the record of B.
        cell: Coordinates.
    """

    def said(place: int) -> dict[str, Tensor]:
        alike = torch.full((len(EPOCHS), 100), index[place]) if index else torch.zeros(0)
        return {"suspicion_clean": alike, "suspicion_stamped": alike} if index else {}

    outcome = record(hits, right, target, **(said(0) | (own or {})))
    clean = torch.arange(40) % 4
    beside = {} if floor is None else {
        "twin": record(floor, twin_right, target, origin_stamped=clean, carrier=LABEL,
                       poison=torch.zeros(4, dtype=torch.int64), **said(1)),
    }  # fmt: skip
    place = Cell(**({
        "bench": "bench", "source": "src", "target": "tgt", "network": "dtn", "strategy": "finetune", "common": "",
        "defense": "none", "attack": f"patch(target={target})", "norm": "", "view": "source", "seed": 0,
        "target_images": 500, "threat": "backdoor",
    } | cell))  # fmt: skip
    curves = metrics.curves(outcome, place.view, beside)
    key = "-".join(map(str, (place.strategy, place.defense, place.attack, place.view, place.seed)))
    return Result(key, place, outcome, beside, curves, Verdict(), {"device": "cpu", "outcome": key})
