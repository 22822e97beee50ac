"""What a terminal shows while a bench runs: work done and time left, also where an epoch takes minutes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from tl_robust.bench import runner
from tl_robust.bench.plan import make_plan
from tl_robust.cli.terminal import Bars, observer
from tl_robust.config import load
from tl_robust.nodes.store import Store
from tl_robust.threats.base import THREATS


@pytest.fixture
def screen() -> tuple[Bars, list[float]]:
    """Bars of a terminal that draws nothing by itself, and the time on its clock."""
    THREATS.names()  # so that all kinds of work are known
    bars = observer(Console(file=io.StringIO(), force_terminal=True, width=140), plain=False)
    assert isinstance(bars, Bars)
    now = [0.0]
    bars._progress.get_time = lambda: now[0]
    return bars, now


def shown(bars: Bars) -> list[str]:
    console = Console(file=io.StringIO(), width=140)
    console.print(bars._progress.get_renderable())
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_epochs_and_time_left_are_shown_where_an_epoch_takes_minutes(screen: tuple[Bars, list[float]]) -> None:
    bars, now = screen
    bars.expect("training", 2, 24)
    bars.begin("training", "finetune b from a, seed 0 (pgd_at)")
    assert "0/2 0/24 epochs --:-- finetune b" in shown(bars)[0]
    for epoch in range(1, 4):
        now[0] = 400.0 * epoch
        bars.advance("training", 1)
    assert bars._progress.tasks[0].time_remaining == 21 * 400
    (line,) = shown(bars)
    assert "0/2 3/24 epochs 2:20:00 finetune b from a, seed 0 (pgd_at)" in line


def test_work_without_a_unit_is_not_counted_twice(screen: tuple[Bars, list[float]]) -> None:
    bars, now = screen
    bars.expect("timing", 3, 3)
    bars.expect("attack", 1, 600)
    bars.begin("timing", "a")
    now[0] = 1
    bars.advance("timing", 1)
    bars.end("timing", "a", 1.0, "")
    timings, attacks = shown(bars)
    assert timings.split()[0] == "timings"
    assert timings.split()[-2:] == ["1/3", "--:--"]
    assert timings.count("1/3") == 1
    assert attacks.split()[-4:] == ["0/1", "0/600", "images", "--:--"]


def test_an_adversarial_training_tells_of_each_of_its_epochs(tiny: Path) -> None:
    told: list[tuple[str, str, float]] = []

    class Hears(Bars):
        def advance(self, stage: str, work: int) -> None:
            super().advance(stage, work)
            task = self._progress.tasks[0]
            told.append((stage, str(task.description), task.completed))

    more = [
        "axes.seed=[0]",
        "axes.strategy=[scratch]",
        "axes.attack=[fgsm]",
        "recipe.epochs=3",
        "axes.defense=[pgd_at]",
    ]
    bench = load(tiny, [*more, "axes.view=[white]"]).bench
    plan = make_plan(bench)
    with Hears(Console(file=io.StringIO(), force_terminal=True, width=140)) as bars:
        assert not runner.run(plan, bench, Store(tiny.parent / "store"), bars).failures
    epochs = [(label, done) for stage, label, done in told if stage == "training"]
    assert [done for _, done in epochs] == list(range(1, 7)), "of A, which is public, and of B"
    assert sum("pgd_at" in label for label, _ in epochs) == 3
