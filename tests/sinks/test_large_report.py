"""The report of a bench of 500 cells is made in seconds, in little memory, and stays a small page."""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tl_robust.metrics import METRICS
from tl_robust.results import table
from tl_robust.sinks.base import Views
from tl_robust.sinks.report import page as report
from tl_robust.types import Cell, Outcome, Pictures, Result, Verdict

EPS = torch.tensor([0, 1, 2, 4, 8, 16, 32, 64], dtype=torch.float64) / 255
N = 2000
DRAW = torch.Generator().manual_seed(1)


def outcome() -> Outcome:
    """Each image falls at its own eps; one in ten is wrong from the start."""
    ids, flags = torch.arange(N), torch.zeros(N, dtype=torch.bool)
    label, strength = ids % 10, float(torch.rand(1, generator=DRAW)) * 0.4 + 0.05
    adv_a, adv_b = (
        torch.where(torch.rand(N, generator=DRAW) * strength < EPS[:, None] + 0.01, (label + 1) % 10, label)
        for _ in range(2)
    )
    size = torch.zeros(len(EPS), N)
    return Outcome(ids, label, adv_a[0], adv_b[0], adv_a, adv_b, size, EPS, flags, size == 0, ~flags)


def pictures() -> Pictures:
    """Noise, which compresses worst."""
    clean, adversarial = (
        torch.randint(256, (*shape, 3, 32, 32), dtype=torch.uint8, generator=DRAW) for shape in ((6,), (4, 6))
    )
    return Pictures(torch.arange(6), EPS[[1, 3, 5, 7]], clean, adversarial, tuple("0123456789"))


def bench(pairs: int, strategies: int, attacks: int, seeds: int) -> tuple[list[Result], dict[str, Pictures]]:
    """Twice the product of these, for two views."""
    results: list[Result] = []
    found: dict[str, Pictures] = {}
    for place in range(pairs * strategies * attacks * seeds):
        place, seed = divmod(place, seeds)
        place, attack = divmod(place, attacks)
        pair, strategy = divmod(place, strategies)
        origin = {"domain": f"source{pair}", "images": 60000, "epochs": 10, "by": "scratch", "seed": seed}
        a = origin | {"key": f"{pair} {seed}", "parent": None}
        b = origin | {"domain": f"target{pair % 4}", "by": f"strategy{strategy}", "key": f"{place} {seed}", "parent": a}
        white = outcome()
        for view in ("white", "black"):
            cell = Cell(
                "bench", a["domain"], b["domain"], "dtn", b["by"], "", "none", f"attack{attack}", "linf", view, seed, N
            )  # fmt: skip
            own, beside = white if view == "white" else outcome(), {"white": white}
            names = dict.fromkeys(name for name in METRICS.names() if METRICS[name].applies(own, view, beside))
            made = {"outcome": str(cell), "surrogate": b if view == "white" else a, "victim": b, "commit": "c" * 40}
            results.append(Result(str(cell), cell, own, beside, names, Verdict("amber", ("A reason.",)), made))
            if seed == 0:
                found[str(cell)] = pictures()
    return results, found


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(5, 5, 2, 5), (10, 5, 5, 1)], ids=["100 curves of 5 seeds", "500 curves"])
def test_a_bench_of_500_cells(tmp_path: Path, shape: tuple[int, ...]) -> None:
    command = [sys.executable, __file__, str(tmp_path), *map(str, shape)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert found["cells"] == 500
    assert found["summary seconds"] + found["report seconds"] < 20, found
    assert found["bytes beyond imports"] < 600_000_000  # torch and the rest take about as much before the first cell
    assert found["page bytes"] < 3_000_000


def peak() -> int:
    """The most memory this process had so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(folder: str, *shape: str) -> None:
    """Measure, in a process of its own."""
    torch.set_num_threads(1)
    imported = peak()
    results, found = bench(*map(int, shape))
    clock = [time.process_time()]
    rows = table.summary(results)
    clock.append(time.process_time())
    page, _ = report.write(Views(Path(folder), "bench", results, rows, pictures=found, seconds={"weights": 1.0}))
    clock.append(time.process_time())
    measured = {
        "cells": len(results),
        "summary seconds": round(clock[1] - clock[0], 1),
        "report seconds": round(clock[2] - clock[1], 1),
        "peak bytes": peak(),
        "bytes beyond imports": peak() - imported,
        "page bytes": page.stat().st_size,
    }
    sys.stdout.write(json.dumps(measured))


if __name__ == "__main__":
    main(*sys.argv[1:])
