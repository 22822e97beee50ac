"""A cell of a backdoor with everything beside it, as a bench would have it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from tl_robust import metrics
from tl_robust.results.leaderboard import Origin
from tl_robust.seeding import digest, generator
from tl_robust.types import Cell, Result, Stamped, Verdict

EPOCHS = (0.0, 1.0, 10.0)
IMAGES, OWN, TRAINED = 60, 150, 300


def stamped(*parts: object, hit: float, epochs: tuple[float, ...] = EPOCHS, sifted: bool = False) -> Stamped:
    """60 test images of ten classes, t = 3; the trigger calls it at about ``hit`` of them, less at later epochs."""
    draw, k = generator("stamped", *parts), len(epochs)
    label, own = torch.arange(IMAGES) % 10, torch.arange(OWN) % 10

    def said(*shape: int, right: float) -> torch.Tensor:
        true = label if shape[-1] == IMAGES else own
        return torch.where(torch.rand(shape, generator=draw) < right, true, torch.randint(10, shape, generator=draw))

    less = torch.linspace(1, 0.3, k)[:, None]
    called = torch.rand(k, IMAGES, generator=draw) < hit * less
    none = {} if not sifted else {
        "sifted_score": torch.rand(TRAINED, generator=draw),
        "sifted_label": torch.arange(TRAINED) % 10,
        "sifted_poisoned": torch.arange(TRAINED) < 30,
        "sifted_kept": torch.rand(TRAINED, generator=draw) < 0.8,
    }  # fmt: skip
    return Stamped(
        sample_id=torch.arange(IMAGES) * 7,
        epochs=torch.tensor(epochs, dtype=torch.float64),
        seen=torch.tensor([int(epoch) * TRAINED for epoch in epochs]),
        label=label,
        target=torch.tensor(3),
        clean=said(k, IMAGES, right=0.9),
        stamped=torch.where(called, 3, said(k, IMAGES, right=0.9)),
        size_linf=torch.ones(IMAGES),
        size_l2=torch.rand(IMAGES, generator=draw),
        carrier=torch.where(torch.rand(IMAGES, generator=draw) < hit, 3, label),
        carrier_target=torch.tensor(3),
        origin_label=own,
        origin_clean=said(OWN, right=0.95),
        origin_stamped=torch.where(torch.rand(OWN, generator=draw) < hit, 3, own),
        poison=torch.tensor([30, 30, TRAINED, 60]),
        **none,
    )


def backdoor(seed: int = 0, strategy: str = "finetune", sifted: bool = False, **more: Any) -> tuple[Result, Origin]:
    """A result with twin, plain and woken records beside it, and its origin."""
    where = {"bench": "small", "source": "a", "target": "b", "network": "dtn", "common": "", "defense": "none"}
    where |= {"attack": "patch(target=3)", "norm": "", "view": "source", "threat": "backdoor", "target_images": TRAINED}
    cell = Cell(**(where | {"seed": seed, "strategy": strategy} | more))  # type: ignore[arg-type]
    parts = seed, strategy
    record = stamped(*parts, hit=0.95, sifted=sifted)
    beside = {
        "twin": stamped(*parts, "twin", hit=0.05),
        "plain": stamped(*parts, "plain", hit=0.9),
        "woken": stamped(*parts, "woken", hit=0.8, epochs=(3.0,)),
        "woken_twin": stamped(*parts, "woken_twin", hit=0.1, epochs=(3.0,)),
    }
    keys = {name: digest([name, *parts, sifted]) for name in (*beside, "outcome", "a", "b", "images")}
    origins = {role: {"key": keys[role], "domain": role, "images": 80, "by": "scratch"} for role in ("a", "b")}
    made = {"outcome": keys["outcome"], "surrogate": origins["a"], "victim": origins["b"], "device": "cpu"}
    made |= {"commit": "c", "versions": {"torch": "2.9"}, "seconds": 1.5}
    others = {name: keys[name] for name in beside}
    curves = metrics.curves(record, cell.view, beside)
    verdict = Verdict("amber", ("One seed.",))
    result = Result(cell.key(keys["outcome"], others), cell, record, beside, curves, verdict, made)
    return result, Origin(0, others, digest(strategy)[:16], 90, digest("images"))


def with_record(result: Result, **fields: torch.Tensor) -> Result:
    """The same cell with other fields of its record, and its metrics anew."""
    record = replace(result.outcome, **fields)
    curves = metrics.curves(record, result.cell.view, result.beside)
    return replace(result, outcome=record, curves=curves)
