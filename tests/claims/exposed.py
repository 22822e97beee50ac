"""Made results of membership: how far members stand apart from others (d), by strategy and epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tests.exposure_records import made_exposure
from tl_robust.types import Cell, Exposure, Level, Result, Verdict

Apart = float | Sequence[float] | Tensor  # d of the last epoch, of each, or of each epoch, model and sample


def exposed(
    victims: Mapping[str, Apart],
    *,
    attack: str = "rmia",
    view: str = "target",
    epochs: Sequence[float] = (12,),
    pairs: int = 6,
    samples: int = 150,
    seeds: Sequence[int] = (0,),
    pair: str = "mnist5k-optdigits",
    defense: str = "none",
    lineage: Apart | None = None,
    luck: int = 0,
    levels: Mapping[str, Level] | None = None,
    **made: Any,
) -> list[Result[Any]]:
    """One result for each victim and seed. All victims of a seed have the same halves, and noise of their own.

    Args:
        victims: d of each, as tables name them.
        attack: As tables name it.
        view: The side.
        epochs: The K epochs.
        pairs: Pairs of models.
        samples: N.
        seeds: Of which each has its own halves.
        pair: Source and target.
        defense: As tables name it.
        lineage: d of an attacker with shadows of the lineage, whose exposure is then beside.
        luck: Of the noise.
        levels: Verdicts that are not green, by strategy.
        made: As :func:`made_exposure` has it.
    """
    source, target = pair.split("-")
    found = []
    for place, (strategy, d) in enumerate(victims.items()):
        for seed in seeds:
            noise = 1000 * luck + 100 * seed + 10 * place + (defense != "none")
            record = apart(d, epochs, pairs, samples, seed, noise, **made)
            others = {} if lineage is None else {"lineage": apart(lineage, epochs, pairs, samples, seed, noise + 1)}
            cell = Cell(
                "b", source, target, "dtn", strategy, "", defense, attack, "", view, seed, 1197, threat="membership"
            )
            key = f"{pair}{strategy}{attack}{view}{defense}{seed}"
            verdict = Verdict((levels or {}).get(strategy, "green"))
            found.append(Result(key, cell, record, others, {}, verdict, {"victim": {"key": strategy}}))
    return found


def apart(
    d: Apart, epochs: Sequence[float], pairs: int, samples: int, halves: int, noise: int, **made: Any
) -> Exposure:
    """Scores N(d, 1) of members and N(0, 1) of others, by the coins of one draw and the noise of another."""
    coins = made_exposure(2 * pairs, samples, epochs, 0.0, 7 + halves).member
    record = made_exposure(2 * pairs, samples, epochs, 0.0, 10**6 + noise, **made)
    far = torch.as_tensor(d, dtype=torch.float64)
    far = far[:, None, None] if far.ndim == 1 else far
    return replace(record, member=coins, label=torch.arange(samples) % 10, score=record.score + far * coins)
