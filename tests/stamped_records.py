"""Records of backdoors with classes as a test wants them, or at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from tl_robust.types import Stamped

SCORES = (0.0, 0.25, 0.5, 1.0)  # few, so that many are equal


def stamped(
    label: Sequence[int], clean: Sequence[Sequence[int]], after: Sequence[Sequence[int]], target: int = 0, **more: Any
) -> Stamped:
    """A record of K epochs (0, 1, 2, 4, ...) and N images; without more no public model is poisoned."""
    n, k = len(label), len(clean)
    none = torch.zeros(0, dtype=torch.int64)
    fields: dict[str, Any] = {
        "sample_id": torch.arange(n), "label": label, "target": target, "clean": clean, "stamped": after,
        "epochs": torch.tensor([0.0, *(2.0**power for power in range(k - 1))], dtype=torch.float64),
        "seen": torch.zeros(k, dtype=torch.int64), "size_linf": torch.ones(n), "size_l2": torch.ones(n),
        "carrier": torch.full((n,), -1), "carrier_target": -1, "origin_label": none, "origin_clean": none,
        "origin_stamped": none, "poison": [0, 0, 0, 0],
    }  # fmt: skip
    columns = Stamped.columns()
    return Stamped.of({
        name: value if isinstance(value, Tensor) else torch.tensor(value, dtype=columns[name].dtype)
        for name, value in (fields | more).items()
    })  # fmt: skip


@st.composite
def pairs(draw: st.DrawFn, most: int = 12) -> tuple[Stamped, Stamped]:
    """A victim and its clean twin: up to 4 epochs, few images of three classes, with refusals, scores and a filter."""
    n, k, m, t = (draw(st.integers(1, size)) for size in (most, 4, 6, 8))
    classes, named = st.integers(-1, 2), st.integers(0, 2)

    def rows(of: st.SearchStrategy[Any], *shape: int) -> Any:
        if len(shape) == 1:
            return draw(st.lists(of, min_size=shape[0], max_size=shape[0]))
        return [rows(of, *shape[1:]) for _ in range(shape[0])]

    label, origin = rows(named, n), rows(named, m)
    target, carrier_target = draw(named), draw(named)

    def one(**more: Any) -> Stamped:
        more |= {"carrier": rows(named, n), "carrier_target": carrier_target, "origin_label": origin}
        more |= {"origin_clean": rows(named, m), "origin_stamped": rows(named, m)}
        return stamped(label, rows(classes, k, n), rows(classes, k, n), target, **more)

    scores = st.sampled_from(SCORES)
    applied, labelled, learned, asked = sorted(rows(st.integers(0, 5), 4))
    victim = one(
        poison=[asked, applied, learned, labelled],
        suspicion_clean=rows(scores, k, n), suspicion_stamped=rows(scores, k, n),
        sifted_score=rows(scores, t), sifted_label=rows(named, t), sifted_poisoned=rows(st.booleans(), t),
        sifted_kept=rows(st.booleans(), t),
    )  # fmt: skip
    return victim, one()
