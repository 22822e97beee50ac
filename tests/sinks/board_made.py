"""Leaderboard entries made by hand: any number of rows at once, and names as strangers may write them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tl_robust.results.entry import Entry
from tl_robust.results.leaderboard import Board
from tl_robust.types import Cell, Curve, Level, Verdict

EPS = (0.0, 8 / 255, 16 / 255)
VERSIONS = {"tl_robust": "0.1.0", "torch": "2.9.0"}
HOSTILE = (
    "<script>document.title='taken'</script>",
    "\"'><img src=x onerror=document.title='taken'>",
    "</script><script>document.title='taken'</script>",
    "{{ 7 * 7 }}{% raw %}",
    "=HYPERLINK(\"javascript:document.title='taken'\")",
    "javascript:document.title='taken'",
    "&lt;b&gt; <!-- ]]> ",
    "a" * 10_000,
    "\u202etxt.exe",
)


def curve(values: Sequence[float], half: float = 0.03, n: int = 1000) -> Curve:
    value = torch.tensor(values, dtype=torch.float64)
    ends = (value - half).clamp(min=0), (value + half).clamp(max=1)
    return Curve(torch.tensor(EPS, dtype=torch.float64), value, *ends, torch.full((len(values),), n))


def entry(
    value: float = 0.5,
    seed: int = 0,
    submitter: str = "North",
    level: Level = "green",
    reasons: Sequence[str] = (),
    about: dict[str, str] | None = None,
    folder: str = "north",
    half: float = 0.03,
    protocol: str = "0" * 16,
    **where: Any,
) -> Entry:
    """An entry without samples whose robust accuracy falls from 0.9 to ``value``."""
    place = {"bench": "small", "source": "a", "target": "b", "network": "dtn", "common": "", "defense": "none"}
    place |= {"attack": "pgd", "norm": "linf", "target_images": 80, "view": "black", "strategy": "finetune"}
    cell = Cell(**place | {"seed": seed} | where)  # type: ignore[arg-type]
    robust = curve([0.9, (0.9 + value) / 2, value], half) if not math.isnan(value) else curve([value] * 3, half)
    content = {
        "key": cell.key(submitter + str(value), {}), "place": 0, "axis": "eps", "protocol": protocol, "metrics": {},
        "cell": asdict(cell), "eps": list(EPS), "submitter": {"name": submitter} | (about or {}),
        "data": {"test_images": 1000, "test_fingerprint": "f" * 64},
        "provenance": {"versions": VERSIONS, "device": "cpu (x86_64)", "commit": "c" * 40},
    }  # fmt: skip
    path = Path(folder, f"{content['key']}.json")
    return Entry(path, content, cell, {"robust_accuracy": robust}, Verdict(level, tuple(reasons)), {}, None)


def seeds(*args: Any, count: int = 3, **more: Any) -> list[Entry]:
    """The same cell at so many seeds."""
    return [entry(*args, seed=seed, **more) for seed in range(count)]


def large(rows: int) -> Board:
    """A board of so many rows (two for every cell without its seeds): of 20 pairs, 5 attacks, all levels of trust."""

    def cells() -> Iterator[Entry]:
        for place in range(rows // 2):
            level: Level = ("green", "green", "amber", "red")[place % 4]
            yield entry(
                0.2 + 0.6 * (place * 7919 % 1000) / 1000,
                submitter=f"Group {place % 9}", folder=f"folder{place % 9}", level=level, reasons=["Few steps."] * 3,
                source=f"source{place % 20}", attack=f"attack{place // 20 % 5}", strategy=f"strategy{place // 100}",
            )  # fmt: skip

    return Board(tuple(cells()))
