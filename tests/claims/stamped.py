"""Made results about backdoors: so many of the stamped images sent to class t, by victim, epoch and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tl_robust.types import Cell, Level, Result, Stamped, Verdict

EPOCHS = (0.0, 1.0, 4.0, 10.0)
OTHERS = 200  # images that are not of class t; 20 are, and the trigger sends all of them there
ALL = 220
Hits = Sequence[Sequence[int]]  # by seed, by epoch


def stamped(hits: Sequence[int], first: int = 0, epochs: Sequence[float] = EPOCHS, rate: float = 0.1) -> Stamped:
    """So many of the images of other classes are sent to class 0 after each epoch, from the ``first`` of them on."""
    label = torch.cat([torch.ones(OTHERS, dtype=torch.int64), torch.zeros(ALL - OTHERS, dtype=torch.int64)])
    place = torch.arange(ALL)
    rows = [torch.where((first <= place) & (place < first + count), 0, label) for count in hits]
    clean = label.expand(len(epochs), -1).clone()
    size = torch.full((ALL,), 0.5)
    poisoned = round(1000 * rate)
    return Stamped(
        place, torch.tensor(epochs, dtype=torch.float64), torch.tensor(epochs).long() * 1000, label, torch.tensor(0),
        clean, torch.stack(rows), size, size, torch.zeros(ALL, dtype=torch.int64), torch.tensor(0), label, label,
        torch.zeros(ALL, dtype=torch.int64), torch.tensor([poisoned, poisoned, 1000, 100 + poisoned]),
    )  # fmt: skip


def results(
    victims: Mapping[str, Hits],
    *,
    pair: str = "mnist-usps",
    attack: str = "patch",
    rate: float = 0.1,
    view: str = "source",
    defense: str = "none",
    twin: Sequence[int] = (0, 0, 0, 0),
    levels: Mapping[tuple[str, int], Level] | None = None,
    lr: float | None = 0.01,
    epochs: Sequence[float] = EPOCHS,
) -> list[Result[Any]]:
    """One result for each victim, as tables name it, and seed; its twin sends ``twin`` of the same images there."""
    source, target = pair.split("-")
    found = []
    for strategy, seeds in victims.items():
        for seed, hits in enumerate(seeds):
            cell = Cell(
                "b", source, target, "dtn", strategy, "", defense, attack, "", view, seed, 100, threat="backdoor"
            )
            made = {"victim": {"key": strategy} | ({} if lr is None else {"lr": lr})}
            record, clean = stamped(hits, epochs=epochs, rate=rate), stamped(twin, epochs=epochs, rate=rate)
            level = (levels or {}).get((strategy, seed), "green")
            key = f"{pair}{strategy}{attack}{view}{defense}{seed}"
            found.append(Result(key, cell, record, {"twin": clean}, {}, Verdict(level), made))
    return found


def around(hits: Sequence[int], seeds: int = 3) -> Hits:
    """Seeds that differ by two images; all are hit at epoch 0."""
    return [[OTHERS, *(min(OTHERS, max(0, count + off)) for count in hits)] for off in (-2, 0, 2, -1, 1)[:seeds]]
